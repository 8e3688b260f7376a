//! Exact ranking over all items, with the item table sharded: every owner scores all users of a round against its
//! shards and keeps the best; counts and lists go back to the users' ranks. No matrix of users by items exists.

use muster_collective::{Collective, CollectiveExt};
use muster_kernels::softmax::TableShard;
use muster_kernels::softmax::score::{
    Exclude, GlobalIds, Queries, RankCount, RankTargets, ScoreBuffers, Scored, TopK, rank_above,
    score_targets, score_topk,
};
use rayon::prelude::*;

use super::Error;
use crate::embedding::Table;
use crate::model::{isa, with_scratch};

/// Users to rank: states, targets, and what may not be in a list.
#[derive(Debug, Clone, Default)]
pub struct Users {
    /// `[users, dim]`.
    pub hidden: Vec<f32>,
    /// The target of each user.
    pub targets: Vec<u32>,
    /// Items left out of each user's ranking, ascending; the target is never among them.
    pub exclude: Vec<Vec<u32>>,
}

/// The outcome for one user.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ranked {
    /// Items that beat the target.
    pub above: u64,
    /// Other items with exactly the target's score.
    pub ties: u64,
    /// The best items with their scores, best first; empty unless lists were asked for.
    pub list: Vec<(u32, f32)>,
}

/// Ranks the users of all ranks against the whole table; `k` is the length of the lists, 0 for none. Collective.
///
/// # Errors
/// The collective's.
pub fn rank_users(
    table: &Table,
    users: &Users,
    k: usize,
    pool: &rayon::ThreadPool,
    collective: &mut dyn Collective,
) -> Result<Vec<Ranked>, Error> {
    let everyone = gather(users, table.dim(), collective)?;
    let rank = collective.rank();
    let scored = table.scored_by(rank as u32);
    let all = &everyone.users;
    let mut target_scores = vec![0.0_f32; all.targets.len()];
    for block in &scored {
        let targets: Vec<Option<u32>> = all.targets.iter().map(|t| local(table, *block, *t)).collect();
        score_targets(view(table, *block), &all.hidden, &targets, &mut target_scores, isa())?;
    }
    share_target_scores(table, all, &mut target_scores, collective)?;
    let targets: Vec<Scored> =
        all.targets.iter().zip(&target_scores).map(|(id, score)| Scored { score: *score, id: *id }).collect();
    let per_shard = |block: &u32| score_shard(table, *block, all, &targets, k);
    let results: Result<Vec<(Vec<RankCount>, TopK)>, muster_kernels::Error> =
        pool.install(|| scored.par_iter().map(per_shard).collect());
    let ranked = merge(results?, all.targets.len(), k)?;
    give_back(ranked, &everyone.counts, k, collective)
}

struct Everyone {
    users: Users,
    counts: Vec<usize>,
}

/// All ranks' users, in rank order.
fn gather(users: &Users, dim: usize, collective: &mut dyn Collective) -> Result<Everyone, Error> {
    if collective.world_size() == 1 {
        return Ok(Everyone { counts: vec![users.targets.len()], users: users.clone() });
    }
    let (mut hidden, mut words) = (Vec::new(), Vec::new());
    collective.all_gather::<f32>(&users.hidden, &mut hidden)?;
    let mut mine = Vec::new();
    for (target, exclude) in users.targets.iter().zip(&users.exclude) {
        mine.extend([*target, exclude.len() as u32]);
        mine.extend_from_slice(exclude);
    }
    collective.all_gather::<u32>(&mine, &mut words)?;
    let mut all = Users { hidden: hidden.concat(), ..Users::default() };
    for words in &words {
        let mut left = words.as_slice();
        while let [target, length, rest @ ..] = left {
            let (exclude, rest) = rest.split_at((*length as usize).min(rest.len()));
            all.targets.push(*target);
            all.exclude.push(exclude.to_vec());
            left = rest;
        }
    }
    Ok(Everyone { users: all, counts: hidden.iter().map(|h| h.len() / dim).collect() })
}

/// Every rank learns each target's score from the rank that has the target's row.
fn share_target_scores(
    table: &Table,
    all: &Users,
    scores: &mut [f32],
    collective: &mut dyn Collective,
) -> Result<(), Error> {
    if collective.world_size() == 1 {
        return Ok(());
    }
    let mut received = Vec::new();
    collective.all_gather::<f32>(scores, &mut received)?;
    for (place, target) in all.targets.iter().enumerate() {
        scores[place] = received[table.owner(*target) as usize][place];
    }
    Ok(())
}

fn score_shard(
    table: &Table,
    block: u32,
    all: &Users,
    targets: &[Scored],
    k: usize,
) -> Result<(Vec<RankCount>, TopK), muster_kernels::Error> {
    let (mut offsets, mut rows) = (vec![0_usize], Vec::new());
    for exclude in &all.exclude {
        rows.extend(exclude.iter().filter_map(|item| local(table, block, *item)));
        offsets.push(rows.len());
    }
    let ids = GlobalIds { base: block, stride: table.decl.row_blocks };
    let queries = Queries { hidden: &all.hidden, exclude: Exclude { offsets: &offsets, rows: &rows }, ids };
    let mut buffers = ScoreBuffers::default();
    let mut counts = vec![RankCount::default(); targets.len()];
    let mut best = TopK::new(k);
    best.reset(targets.len());
    with_scratch(|scratch| {
        let ranks = RankTargets { targets, counts: &mut counts };
        rank_above(view(table, block), queries, ranks, &mut buffers, scratch)?;
        if k > 0 {
            score_topk(view(table, block), queries, &mut best, &mut buffers, scratch)?;
        }
        Ok((counts, best))
    })
}

fn merge(
    results: Vec<(Vec<RankCount>, TopK)>,
    users: usize,
    k: usize,
) -> Result<Vec<Ranked>, muster_kernels::Error> {
    let mut ranked = vec![Ranked::default(); users];
    let mut best = TopK::new(k);
    best.reset(users);
    for (counts, list) in results {
        for (user, count) in ranked.iter_mut().zip(counts) {
            user.above += u64::from(count.above);
            user.ties += u64::from(count.ties);
        }
        best.merge(&list)?;
    }
    for (place, user) in ranked.iter_mut().enumerate() {
        user.list = best.query(place).iter().map(|s| (s.id, s.score)).collect();
    }
    Ok(ranked)
}

/// Brings the users' outcomes to their ranks and merges what each owner found.
fn give_back(
    ranked: Vec<Ranked>,
    counts: &[usize],
    k: usize,
    collective: &mut dyn Collective,
) -> Result<Vec<Ranked>, Error> {
    if collective.world_size() == 1 {
        return Ok(ranked);
    }
    let mut left = ranked.as_slice();
    let messages: Vec<Vec<u32>> = counts
        .iter()
        .map(|count| {
            let (theirs, rest) = left.split_at(*count);
            left = rest;
            theirs.iter().flat_map(encode).collect()
        })
        .collect();
    let send: Vec<&[u32]> = messages.iter().map(Vec::as_slice).collect();
    let mut received = Vec::new();
    collective.all_to_all::<u32>(&send, &mut received)?;
    let mut mine = vec![Ranked::default(); counts[collective.rank()]];
    for words in &received {
        let mut left = words.as_slice();
        for user in &mut mine {
            let [above, ties, length, rest @ ..] = left else { break };
            user.above += u64::from(*above);
            user.ties += u64::from(*ties);
            let (list, rest) = rest.split_at((2 * *length as usize).min(rest.len()));
            user.list.extend(list.chunks_exact(2).map(|pair| (pair[0], f32::from_bits(pair[1]))));
            left = rest;
        }
    }
    for user in &mut mine {
        user.list.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        user.list.truncate(k);
    }
    Ok(mine)
}

fn encode(user: &Ranked) -> Vec<u32> {
    let mut words = vec![user.above as u32, user.ties as u32, user.list.len() as u32];
    words.extend(user.list.iter().flat_map(|(id, score)| [*id, score.to_bits()]));
    words
}

fn local(table: &Table, block: u32, item: u32) -> Option<u32> {
    let item = u64::from(item);
    (table.decl.block_of(item) == block).then(|| table.decl.local_row(item) as u32)
}

fn view(table: &Table, block: u32) -> TableShard<'_> {
    let shard = &table.shards[&block];
    let bias = (!shard.bias.is_empty()).then_some(&shard.bias[..]);
    TableShard { rows: &shard.weight, bias, dim: shard.dim }
}

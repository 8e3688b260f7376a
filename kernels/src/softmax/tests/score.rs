//! Top-k and ranks against a full sort.

use super::{levels, normals};
use crate::scratch::Scratch;
use crate::softmax::TableShard;
use crate::softmax::score::{
    Exclude, GlobalIds, Queries, RankCount, RankTargets, ScoreBuffers, Scored, TopK, rank_above,
    score_targets, score_topk,
};

const DIM: usize = 6;
const SHARDS: usize = 3;
const ROWS: usize = 1000;
const QUERIES: usize = 4;

/// Rows on a coarse grid, so that exact ties are common; row r of the table is local row r / 3 of shard r % 3.
struct Case {
    shards: Vec<Vec<f32>>,
    hidden: Vec<f32>,
    /// Global ids that each query excludes.
    excluded: Vec<Vec<u32>>,
}

fn case() -> Case {
    let grid = |values: Vec<f32>| values.into_iter().map(|x| (x * 2.0).round() / 2.0).collect::<Vec<_>>();
    let rows = grid(normals(1, ROWS * DIM, 1.0));
    let mut shards = vec![Vec::new(); SHARDS];
    for (r, row) in rows.chunks(DIM).enumerate() {
        shards[r % SHARDS].extend_from_slice(row);
    }
    let excluded =
        (0..QUERIES as u32).map(|q| (0..ROWS as u32).filter(|r| q > 0 && r % (q + 3) == 1).collect());
    Case { shards, hidden: grid(normals(2, QUERIES * DIM, 1.0)), excluded: excluded.collect() }
}

impl Case {
    /// All rows of query `q` that count, best first.
    fn ranking(&self, q: usize) -> Vec<Scored> {
        let score = |r: usize| {
            let row = &self.shards[r % SHARDS][r / SHARDS * DIM..][..DIM];
            (0..DIM).fold(0.0_f32, |sum, j| self.hidden[q * DIM + j].mul_add(row[j], sum))
        };
        let counts = (0..ROWS).filter(|r| !self.excluded[q].contains(&(*r as u32)));
        let mut all: Vec<_> = counts.map(|r| Scored { score: score(r), id: r as u32 }).collect();
        all.sort_by(|a, b| if a.beats(b) { std::cmp::Ordering::Less } else { std::cmp::Ordering::Greater });
        all
    }

    fn each_shard(&self, mut visit: impl FnMut(TableShard<'_>, Queries<'_>)) {
        for (s, rows) in self.shards.iter().enumerate() {
            let ids = GlobalIds { base: s as u32, stride: SHARDS as u32 };
            let (mut offsets, mut local) = (vec![0], Vec::new());
            for excluded in &self.excluded {
                local.extend(excluded.iter().filter_map(|&id| ids.local(id)).map(|row| row as u32));
                offsets.push(local.len());
            }
            let exclude = Exclude { offsets: &offsets, rows: &local };
            visit(TableShard { rows, bias: None, dim: DIM }, Queries { hidden: &self.hidden, exclude, ids });
        }
    }
}

#[test]
fn the_best_rows_are_those_of_a_full_sort_in_any_order_of_shards() {
    let case = case();
    for isa in levels() {
        let (mut scratch, mut buffers) = (Scratch::new(isa), ScoreBuffers::default());
        for k in [0, 1, 10, 900] {
            let (mut in_order, mut lists) = (TopK::new(k), Vec::new());
            in_order.reset(QUERIES);
            case.each_shard(|table, queries| {
                score_topk(table, queries, &mut in_order, &mut buffers, &mut scratch).unwrap();
                let mut own = TopK::new(k);
                own.reset(QUERIES);
                score_topk(table, queries, &mut own, &mut buffers, &mut scratch).unwrap();
                lists.push(own);
            });
            let mut merged = TopK::new(k);
            merged.reset(QUERIES);
            lists.iter().rev().for_each(|list| merged.merge(list).unwrap());
            for q in 0..QUERIES {
                let mut expected = case.ranking(q);
                expected.truncate(k);
                assert_eq!(in_order.query(q), expected, "query {q}, k {k}");
                assert_eq!(merged.query(q), expected, "query {q}, k {k}, merged");
            }
        }
    }
}

#[test]
fn ranks_and_ties_are_those_of_a_full_sort() {
    let case = case();
    let mut scratch = Scratch::new(*levels().last().unwrap());
    for place in [0, 1, 17, 300, 500] {
        let targets: Vec<_> = (0..QUERIES).map(|q| case.ranking(q)[place]).collect();
        let mut counts = vec![RankCount::default(); QUERIES];
        case.each_shard(|table, queries| {
            let ranks = RankTargets { targets: &targets, counts: &mut counts };
            rank_above(table, queries, ranks, &mut ScoreBuffers::default(), &mut scratch).unwrap();
        });
        for (q, count) in counts.iter().enumerate() {
            let same = case.ranking(q).iter().filter(|row| row.score == targets[q].score).count() as u32 - 1;
            assert_eq!(*count, RankCount { above: place as u32, ties: same }, "query {q}, place {place}");
        }
    }
}

#[test]
fn a_target_that_is_excluded_is_ranked_among_the_others() {
    let table = TableShard { rows: &[3.0, 2.0, 1.0], bias: None, dim: 1 };
    let exclude = Exclude { offsets: &[0, 1], rows: &[1] };
    let queries = Queries { hidden: &[1.0], exclude, ids: GlobalIds { base: 0, stride: 1 } };
    let mut counts = [RankCount::default()];
    let ranks = RankTargets { targets: &[Scored { score: 2.0, id: 1 }], counts: &mut counts };
    let mut scratch = Scratch::new(levels()[0]);
    rank_above(table, queries, ranks, &mut ScoreBuffers::default(), &mut scratch).unwrap();
    assert_eq!(counts, [RankCount { above: 1, ties: 0 }]);
}

#[test]
fn single_scores_have_the_bits_of_blocked_ones() {
    let dim = 300;
    let (rows, hidden, bias) = (normals(1, 9 * dim, 1.0), normals(2, 9 * dim, 1.0), normals(3, 9, 1.0));
    let table = TableShard { rows: &rows, bias: Some(&bias), dim };
    let queries =
        Queries { hidden: &hidden, exclude: Exclude::default(), ids: GlobalIds { base: 0, stride: 1 } };
    for isa in levels() {
        let mut topk = TopK::new(9);
        topk.reset(9);
        score_topk(table, queries, &mut topk, &mut ScoreBuffers::default(), &mut Scratch::new(isa)).unwrap();
        let targets: Vec<_> = (0..9).map(Some).collect();
        let mut scores = [0.0; 9];
        score_targets(table, &hidden, &targets, &mut scores, isa).unwrap();
        for (i, score) in scores.iter().enumerate() {
            let blocked = topk.query(i).iter().find(|row| row.id == i as u32).unwrap();
            assert_eq!(score.to_bits(), blocked.score.to_bits());
        }
    }
}

//! Planning: the pieces of the job are assigned to the ranks of a new generation.
//!
//! Takes no time as long as the plan is a simple rule, so a job passes through within one step of the core.

use std::collections::BTreeMap;

use muster_proto::control::Submission;
use muster_proto::ids::{Generation, JobId, Rank, WorkerId};
use muster_proto::sharding::{self, Placement, ShardingPlan};

use crate::assignment::{Assignment, Member};

/// What a plan is made from.
#[derive(Debug)]
pub(crate) struct Planning<'a> {
    pub(crate) job: JobId,
    pub(crate) submission: &'a Submission,
    pub(crate) generation: Generation,
    /// In rank order.
    pub(crate) members: Vec<Member>,
    /// The plan of the generation before, with the ranks whose workers stay: old rank to new rank.
    pub(crate) before: Option<(ShardingPlan, BTreeMap<u32, u32>)>,
    /// From which the peers' shared secret is made.
    pub(crate) seed: &'a [u8; 32],
}

/// Assigns each piece of the job to a rank.
///
/// # Errors
/// If the pieces cannot be placed as the job declares them.
pub(crate) fn plan(planning: Planning<'_>) -> Result<Assignment, sharding::Error> {
    let Planning { job, submission, generation, members, before, seed } = planning;
    let (tables, world_size) = (&submission.tables, members.len() as u32);
    let plan = match before {
        Some((plan, kept)) => plan.repaired(tables, &kept, world_size)?,
        None => ShardingPlan::simple(tables, submission.micro_batches, world_size)?,
    };
    plan.check(&submission.tables)?;
    let mut hasher = blake3::Hasher::new_keyed(seed);
    hasher.update(&job.0.to_le_bytes()).update(&generation.0.to_le_bytes());
    let collective_token = *hasher.finalize().as_bytes();
    Ok(Assignment { job, generation, members, plan, collective_token, ended: Default::default() })
}

/// Who sits where in the next generation.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Seats {
    /// The workers, in rank order.
    pub(crate) workers: Vec<WorkerId>,
    /// Old ranks of those that stay, with their new ones.
    pub(crate) kept: BTreeMap<u32, u32>,
}

/// Seats those that stay and as many of the `others` as are wanted. Whoever can keeps its rank, and with it its
/// micro-batches; the rest fill the holes in order.
pub(crate) fn seat(
    survivors: &[(Rank, WorkerId)],
    others: impl Iterator<Item = WorkerId>,
    wanted: usize,
) -> Seats {
    let survivors = &survivors[..survivors.len().min(wanted)];
    let others: Vec<WorkerId> = others.take(wanted - survivors.len()).collect();
    let mut seats: Vec<Option<WorkerId>> = vec![None; survivors.len() + others.len()];
    let mut kept = BTreeMap::new();
    let (stay, move_up): (Vec<_>, Vec<_>) =
        survivors.iter().partition(|(rank, _)| (rank.0 as usize) < seats.len());
    for (rank, worker) in stay {
        seats[rank.0 as usize] = Some(worker);
        kept.insert(rank.0, rank.0);
    }
    let mut movers = move_up.into_iter();
    let mut others = others.into_iter();
    let workers = (0..).zip(seats).filter_map(|(seat, taken)| {
        taken.or_else(|| match movers.next() {
            Some((rank, worker)) => {
                kept.insert(rank.0, seat);
                Some(worker)
            }
            None => others.next(),
        })
    });
    let workers = workers.collect();
    Seats { workers, kept }
}

impl Assignment {
    /// The plan in a line, for people.
    pub(crate) fn summary(&self) -> String {
        let table = |(name, plan): (&String, &sharding::TablePlan)| {
            let placement = match plan.placement {
                Placement::RowWise => "row-wise",
                Placement::TableWise => "table-wise",
                Placement::DataParallel => "data-parallel",
            };
            format!("{name} {placement}")
        };
        let tables: Vec<String> = self.plan.tables.iter().map(table).collect();
        let workers: Vec<String> = self.members.iter().map(|member| member.worker.to_string()).collect();
        let tables = if tables.is_empty() { "no tables".to_owned() } else { tables.join(", ") };
        format!("generation {}: {} on {}", self.generation, tables, workers.join(", "))
    }
}

//! Planning: the pieces of the job are assigned to the ranks of a new generation.
//!
//! The planner decides by the cost model and what the workers report; it counts its work, so a job passes through within one
//! step of the core. After a change of workers the plan before is repaired, so that few pieces move, unless a new one is
//! cheaper by far.

use std::collections::BTreeMap;

use muster_proto::control::{Capabilities, Submission};
use muster_proto::ids::{Generation, JobId, Rank, WorkerId};
use muster_proto::sharding::{self, Placement, ShardingPlan};

use super::pieces::Pieces;
use crate::assignment::{Assignment, Forecast, Member};
use crate::planner;

/// How much more than a new plan a repaired one may cost: moving pieces takes a moment, a step is made again and again.
const TOLERANCE: f64 = 0.25;

/// Why a job has no plan.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlanError {
    /// The pieces cannot be placed as the job declares them.
    #[error(transparent)]
    Sharding(#[from] sharding::Error),
    /// They fit on no worker, or not on all of them together.
    #[error("{0}; a worker's memory is what `muster workers list` shows of it")]
    Planner(#[from] planner::Error),
}

/// The plan that a job gets in its first generation on such workers, in rank order.
///
/// # Errors
/// Pieces that fit on no worker, or not on all of them together.
pub fn plan_of(submission: &Submission, workers: &[&Capabilities]) -> Result<ShardingPlan, planner::Error> {
    if workers.is_empty() {
        return Err(planner::Error::NoDevices);
    }
    Pieces::new(submission, workers)?.solve(submission.micro_batches).map(|(plan, ..)| plan)
}

/// What a plan is made from.
#[derive(Debug)]
pub(crate) struct Planning<'a> {
    pub(crate) job: JobId,
    pub(crate) submission: &'a Submission,
    pub(crate) generation: Generation,
    /// In rank order.
    pub(crate) members: Vec<Member>,
    /// What each of them is and has.
    pub(crate) capabilities: Vec<&'a Capabilities>,
    /// The plan of the generation before, with the ranks whose workers stay: old rank to new rank.
    pub(crate) before: Option<(ShardingPlan, BTreeMap<u32, u32>)>,
    /// From which the peers' shared secret is made.
    pub(crate) seed: &'a [u8; 32],
}

/// Assigns each piece of the job to a rank.
///
/// # Errors
/// If the pieces cannot be placed as the job declares them, or do not fit.
pub(crate) fn plan(planning: Planning<'_>) -> Result<Assignment, PlanError> {
    let Planning { job, submission, generation, members, capabilities, before, seed } = planning;
    let (tables, world_size) = (&submission.tables, members.len() as u32);
    if world_size == 0 {
        return Err(sharding::Error::NoRanks.into());
    }
    let pieces = Pieces::new(submission, &capabilities)?;
    let (fresh, cost, bound) = pieces.solve(submission.micro_batches)?;
    let repaired = before.map(|(plan, kept)| plan.repaired(tables, &kept, world_size)).transpose()?;
    let kept = repaired.and_then(|plan| {
        let repaired = pieces.cost(&plan)?;
        (repaired <= cost * (1.0 + TOLERANCE)).then_some((plan, repaired))
    });
    let (plan, cost) = kept.unwrap_or((fresh, cost));
    let forecast = Forecast { cost, bound: bound.min(cost) };
    plan.check(&submission.tables)?;
    let mut hasher = blake3::Hasher::new_keyed(seed);
    hasher.update(&job.0.to_le_bytes()).update(&generation.0.to_le_bytes());
    let collective_token = *hasher.finalize().as_bytes();
    Ok(Assignment {
        job,
        generation,
        members,
        plan,
        forecast: Some(forecast),
        collective_token,
        ended: Default::default(),
    })
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
        let forecast = self
            .forecast
            .filter(|forecast| forecast.cost > 0.0)
            .map_or_else(String::new, |f| format!("; {f}"));
        format!("generation {}: {tables} on {}{forecast}", self.generation, workers.join(", "))
    }
}

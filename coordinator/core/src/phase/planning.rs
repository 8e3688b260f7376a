//! Planning: the pieces of the job are assigned to the ranks of a new generation.
//!
//! The planner decides by the cost model and what the workers report; it counts its work, so a job passes through within one
//! step of the core. After a change of workers the plan before is repaired, so that few pieces move, unless a new one is
//! cheaper by far.

use std::collections::BTreeMap;

use muster_proto::control::{Capabilities, Submission};
use muster_proto::ids::{Generation, JobId, Rank, WorkerId};
use muster_proto::sharding::{self, Nodes, ShardingPlan, TableDecl};

use super::layout;
use super::pieces::{Pieces, Shortage};
use crate::assignment::{Assignment, Forecast, Member};
use crate::planner;

/// How much more than a new plan a repaired one may cost: moving pieces takes a moment, a step is made again and again.
const TOLERANCE: f64 = 0.25;

/// Workers that an event names.
const NAMED: usize = 16;

/// Why a job has no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The pieces cannot be placed as the job declares them.
    #[error(transparent)]
    Sharding(#[from] sharding::Error),
    /// They fit on no worker, or not on all of them together.
    #[error(
        "{0}; a worker's memory is what `muster workers list` shows of it, shared by the workers of its host that have work, \
         and holds its pieces, and their copies unless checkpoint.memory_copies is false"
    )]
    Planner(#[from] planner::Error),
    /// Pieces fit, but not the copies of a neighbour's.
    #[error(
        "rank {rank} misses {bytes} bytes for the copies in memory that it keeps for the rank before it; give its host more memory, or \
         set checkpoint.memory_copies = false"
    )]
    Copies {
        /// The rank.
        rank: u32,
        /// What it lacks.
        bytes: u64,
    },
}

/// How often a plan is looked for with more room for copies than the one before left.
const TRIES: usize = 3;

/// The worker of a member, as a plan sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Worker<'a> {
    pub(crate) capabilities: &'a Capabilities,
    /// How many workers of its host have a rank, of this job or of another one; itself is one of them.
    pub(crate) sharers: u32,
}

impl From<Shortage> for PlanError {
    fn from(Shortage { rank, bytes }: Shortage) -> Self {
        Self::Copies { rank, bytes }
    }
}

impl PlanError {
    /// Whether more workers would mend it.
    pub(crate) fn is_of_memory(&self) -> bool {
        match self {
            Self::Planner(error) => error.is_of_memory(),
            Self::Copies { .. } => true,
            Self::Sharding(_) => false,
        }
    }
}

/// The plan that a job gets in its first generation on such workers, in rank order.
///
/// # Errors
/// Pieces that fit on no worker, or not on all of them together.
pub fn plan_of(submission: &Submission, workers: &[&Capabilities]) -> Result<ShardingPlan, PlanError> {
    let of_host = |host: &str| workers.iter().filter(|worker| worker.host == host).count() as u32;
    let known: Vec<Worker<'_>> = workers
        .iter()
        .map(|capabilities| Worker { capabilities, sharers: of_host(&capabilities.host) })
        .collect();
    let nodes = Nodes::by_host(workers.iter().map(|worker| worker.host.as_str()));
    if nodes.is_empty() {
        return Err(sharding::Error::NoRanks.into());
    }
    fresh(submission, &known, &nodes).map(|(_, (plan, ..))| plan)
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
    pub(crate) workers: Vec<Worker<'a>>,
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
    let Planning { job, submission, generation, members, workers, before, seed } = planning;
    let tables = &submission.tables;
    let nodes = Nodes::by_host(workers.iter().map(|worker| worker.capabilities.host.as_str()));
    if nodes.is_empty() {
        return Err(sharding::Error::NoRanks.into());
    }
    let (pieces, (fresh, cost, bound)) = fresh(submission, &workers, &nodes)?;
    let repaired = before.map(|(plan, kept)| plan.repaired(tables, &kept, &nodes)).transpose()?;
    let kept = repaired.and_then(|plan| {
        let repaired = pieces.cost(&plan)?;
        (repaired <= cost * (1.0 + TOLERANCE)).then_some((plan, repaired))
    });
    let (plan, cost) = kept.unwrap_or((fresh, cost));
    let forecast = Forecast { cost, bound: bound.min(cost) };
    plan.check(tables)?;
    plan.check_nodes(tables, &nodes)?;
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

/// A new plan with what it costs and what any costs at least, and the problem that it solves.
fn fresh<'a>(
    submission: &'a Submission,
    workers: &[Worker<'_>],
    nodes: &'a Nodes,
) -> Result<(Pieces<'a>, (ShardingPlan, f64, f64)), PlanError> {
    let mut pieces = Pieces::new(submission, workers, nodes, None)?;
    let mut found = pieces.solve(submission.micro_batches)?;
    for _ in 0..TRIES {
        let Some(shortage) = pieces.shortage(&found.0) else { return Ok((pieces, found)) };
        // Where the pieces of a rank are more than the mean, the next one has to keep more copies.
        let largest = pieces.copies(&found.0).into_iter().fold(0.0, f64::max);
        pieces = Pieces::new(submission, workers, nodes, Some(largest))?;
        found = pieces.solve(submission.micro_batches).map_err(|_| PlanError::from(shortage))?;
    }
    match pieces.shortage(&found.0) {
        None => Ok((pieces, found)),
        Some(shortage) => Err(shortage.into()),
    }
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
    pub(crate) fn summary(&self, tables: &[TableDecl]) -> String {
        // The event is kept with the job, and written with each of its changes: it names a few of thousands.
        let named = self.members.iter().take(NAMED);
        let mut workers: Vec<String> = named.map(|member| member.worker.to_string()).collect();
        if self.members.len() > NAMED {
            workers.push(format!("{} more", self.members.len() - NAMED));
        }
        let tables = layout::in_words(&self.plan, tables);
        format!("generation {}: {tables} on {}{}", self.generation, workers.join(", "), self.forecast_told())
    }

    /// Layouts of the tables, and what they cost.
    pub(crate) fn layout(&self, tables: &[TableDecl]) -> String {
        format!("{}{}", layout::in_words(&self.plan, tables), self.forecast_told())
    }

    fn forecast_told(&self) -> String {
        let forecast = self.forecast.filter(|forecast| forecast.cost > 0.0);
        forecast.map_or_else(String::new, |forecast| format!("; {forecast}"))
    }
}

//! A fleet of scheduled retrainings on one pool: how full it is, who is late, the smallest pool that will do.
//!
//! Retrainings start on their schedule, wait in the order of their starts for as many nodes as they need, and take a time that
//! varies by a lognormal law. Nothing overtakes: a large one is not starved by small ones.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use muster_proto::capacity::{CapacitySpec, PoolSpec, RetrainingSpec};

use super::answer::{Unanswered, answer};
use super::random::Stream;

/// Periods of the slowest schedule that are simulated.
const PERIODS: f64 = 200.0;
/// Starts after which no more periods are simulated; those of the slowest schedule's first period always are, and a question has
/// at most [`muster_proto::capacity::fleet::MOST_STARTS`] of them.
const MANY_STARTS: f64 = 200_000.0;

/// A retraining with the time it needs.
#[derive(Debug, Clone, PartialEq)]
pub struct Retraining {
    /// The schedule.
    pub spec: RetrainingSpec,
    /// Expected seconds of one.
    pub seconds: f64,
}

/// What a pool of some size does for a fleet.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    /// Nodes of the pool.
    pub nodes: u32,
    /// Share of the nodes' time that is asked for; above 1 the queue never ends.
    pub utilization: f64,
    /// Share of retrainings that end after their deadline.
    pub late: f64,
    /// Mean wait for nodes, s.
    pub wait: f64,
    /// The worst lateness, s.
    pub worst: f64,
}

/// How long each retraining takes on its nodes of `pool`.
///
/// # Errors
/// A model that does not fit into a retraining's nodes, with the retraining's index.
pub fn retrainings(spec: &CapacitySpec, pool: &PoolSpec) -> Result<Vec<Retraining>, (usize, Unanswered)> {
    let timed = |(index, retraining): (usize, &RetrainingSpec)| {
        let mut spec = spec.clone();
        spec.run.samples = retraining.samples;
        spec.run.epochs = 1.0;
        let seconds = answer(&spec, pool, retraining.nodes).map_err(|error| (index, error))?.seconds;
        Ok(Retraining { spec: retraining.clone(), seconds })
    };
    spec.fleet.iter().enumerate().map(timed).collect()
}

/// One retraining that starts.
#[derive(Debug, Clone, Copy)]
struct Start {
    /// When it starts, s.
    at: f64,
    /// Nodes that it needs.
    nodes: u32,
    /// How long it has them, s.
    seconds: f64,
    /// When it has to be done, s.
    deadline: f64,
}

/// Simulated seconds: periods of the slowest schedule, fewer where all schedules together start too often, but always one.
fn horizon(fleet: &[Retraining]) -> f64 {
    let slowest = fleet.iter().map(|r| r.spec.period.as_secs_f64()).fold(0.0, f64::max);
    let rate: f64 = fleet.iter().map(|r| f64::from(r.spec.count) / r.spec.period.as_secs_f64()).sum();
    (slowest * PERIODS).min(MANY_STARTS / rate).max(slowest)
}

/// All starts before the horizon, in their order.
fn starts(fleet: &[Retraining], seed: u64) -> Vec<Start> {
    let horizon = horizon(fleet);
    let mut starts = Vec::new();
    for (kind, retraining) in fleet.iter().enumerate() {
        let period = retraining.spec.period.as_secs_f64();
        // A lognormal of mean 1 with this coefficient of variation.
        let sigma = (retraining.spec.spread.powi(2)).ln_1p().sqrt();
        for member in 0..retraining.spec.count {
            let mut stream = Stream::new(seed, ((kind as u64) << 32) | u64::from(member));
            let mut at = period * f64::from(member) / f64::from(retraining.spec.count);
            while at < horizon {
                let factor = (sigma * stream.normal() - sigma * sigma / 2.0).exp();
                let deadline = at + retraining.spec.deadline.as_secs_f64();
                let seconds = retraining.seconds * factor;
                starts.push(Start { at, nodes: retraining.spec.nodes, seconds, deadline });
                at += period;
            }
        }
    }
    starts.sort_by(|a, b| a.at.total_cmp(&b.at));
    starts
}

/// A time that can be ordered.
#[derive(Debug, Clone, Copy, PartialEq)]
struct At(f64);

impl Eq for At {}

impl PartialOrd for At {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for At {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// Simulates the fleet on `nodes` nodes; none where a retraining needs more nodes than there are.
#[must_use]
pub fn load(fleet: &[Retraining], nodes: u32, seed: u64) -> Option<Load> {
    load_of(fleet, &starts(fleet, seed), nodes, 1.0)
}

/// The load, if no more than `most` of all are late and no retraining needs more nodes.
fn load_of(fleet: &[Retraining], starts: &[Start], nodes: u32, most: f64) -> Option<Load> {
    let largest = fleet.iter().map(|retraining| retraining.spec.nodes).max()?;
    if largest > nodes {
        return None;
    }
    let n = starts.len() as f64;
    let mut running: BinaryHeap<Reverse<(At, u32)>> = BinaryHeap::new();
    let (mut free, mut clock) = (nodes, 0.0_f64);
    let (mut late, mut waited, mut worst) = (0.0, 0.0, 0.0_f64);
    for start in starts {
        clock = clock.max(start.at);
        while let Some(Reverse((end, held))) = running.peek().copied() {
            if end.0 > clock && free >= start.nodes {
                break;
            }
            clock = clock.max(end.0);
            free += held;
            running.pop();
        }
        free -= start.nodes;
        let end = clock + start.seconds;
        running.push(Reverse((At(end), start.nodes)));
        waited += clock - start.at;
        late += f64::from(u8::from(end > start.deadline));
        worst = worst.max(end - start.deadline);
        if late > most * n {
            return None;
        }
    }
    let utilization = asked(fleet) / f64::from(nodes);
    Some(Load { nodes, utilization, late: late / n, wait: waited / n, worst: worst.max(0.0) })
}

/// Nodes that the fleet keeps busy on average.
fn asked(fleet: &[Retraining]) -> f64 {
    let of = |r: &Retraining| {
        f64::from(r.spec.count) * f64::from(r.spec.nodes) * r.seconds / r.spec.period.as_secs_f64()
    };
    fleet.iter().map(of).sum()
}

/// The smallest pool on which at most a share `late` of the retrainings is late; none where waiting is not the reason.
///
/// Sizes are doubled and then halved between one that will not do and one that does, since all but rare accidents of the queue
/// are late less often with more nodes: of the size found, one node less will not do.
#[must_use]
pub fn smallest(fleet: &[Retraining], late: f64, seed: u64) -> Option<Load> {
    let least = fleet.iter().map(|r| r.spec.nodes).max()?;
    let starts = starts(fleet, seed);
    // With all of the time asked for, the queue grows for ever, however few were late in the simulated time.
    let asked = asked(fleet);
    let does = |nodes: u32| {
        if asked >= f64::from(nodes) { None } else { load_of(fleet, &starts, nodes, late) }
    };
    does(u32::MAX)?;
    // Of `low` it is known that it will not do, of `found` that it does.
    let mut low = least.max(asked.floor() as u32).saturating_sub(1);
    let mut step = 1_u32;
    let mut found = loop {
        let nodes = low.saturating_add(step);
        match does(nodes) {
            Some(load) => break load,
            None => (low, step) = (nodes, step.saturating_mul(2)),
        }
    };
    while found.nodes - low > 1 {
        let middle = low + (found.nodes - low) / 2;
        match does(middle) {
            Some(load) => found = load,
            None => low = middle,
        }
    }
    Some(found)
}

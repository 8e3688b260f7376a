//! A fleet of scheduled retrainings on one pool: how full it is, who is late, the smallest pool that will do.
//!
//! Retrainings start on their schedule, wait in the order of their starts for as many nodes as they need, and take a time that
//! varies by a lognormal law. Nothing overtakes: a large one is not starved by small ones.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use muster_proto::capacity::{CapacitySpec, PoolSpec, RetrainingSpec};

use super::answer::answer;
use super::place::Unplaced;
use super::random::Stream;

/// Periods of the slowest schedule that are simulated.
const PERIODS: f64 = 200.0;
/// The most starts that are simulated.
const MOST_STARTS: usize = 200_000;

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
/// A model that does not fit into a retraining's nodes.
pub fn retrainings(spec: &CapacitySpec, pool: &PoolSpec) -> Result<Vec<Retraining>, Unplaced> {
    let timed = |retraining: &RetrainingSpec| {
        let mut spec = spec.clone();
        spec.run.samples = retraining.samples;
        spec.run.epochs = 1.0;
        let seconds = answer(&spec, pool, retraining.nodes)?.seconds;
        Ok(Retraining { spec: retraining.clone(), seconds })
    };
    spec.fleet.iter().map(timed).collect()
}

/// Start, nodes, duration and deadline of each retraining, in the order of the starts.
fn starts(fleet: &[Retraining], seed: u64) -> Vec<(f64, u32, f64, f64)> {
    let horizon = fleet.iter().map(|r| r.spec.period.as_secs_f64()).fold(0.0, f64::max) * PERIODS;
    let mut starts = Vec::new();
    for (kind, retraining) in fleet.iter().enumerate() {
        let period = retraining.spec.period.as_secs_f64();
        // A lognormal of mean 1 with this coefficient of variation.
        let sigma = (retraining.spec.spread.powi(2)).ln_1p().sqrt();
        for member in 0..retraining.spec.count {
            let mut stream = Stream::new(seed, ((kind as u64) << 32) | u64::from(member));
            let mut at = period * f64::from(member) / f64::from(retraining.spec.count);
            while at < horizon && starts.len() < MOST_STARTS {
                let factor = (sigma * stream.normal() - sigma * sigma / 2.0).exp();
                let deadline = at + retraining.spec.deadline.as_secs_f64();
                starts.push((at, retraining.spec.nodes, retraining.seconds * factor, deadline));
                at += period;
            }
        }
    }
    starts.sort_by(|a, b| a.0.total_cmp(&b.0));
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
    let largest = fleet.iter().map(|retraining| retraining.spec.nodes).max()?;
    if largest > nodes {
        return None;
    }
    let rate = |r: &Retraining| {
        f64::from(r.spec.count) * f64::from(r.spec.nodes) * r.seconds / r.spec.period.as_secs_f64()
    };
    let utilization = fleet.iter().map(rate).sum::<f64>() / f64::from(nodes);
    let mut running: BinaryHeap<Reverse<(At, u32)>> = BinaryHeap::new();
    let (mut free, mut clock) = (nodes, 0.0_f64);
    let (mut late, mut waited, mut worst) = (0.0, 0.0, 0.0_f64);
    let starts = starts(fleet, seed);
    for (at, needed, seconds, deadline) in &starts {
        clock = clock.max(*at);
        while let Some(Reverse((end, held))) = running.peek().copied() {
            if end.0 > clock && free >= *needed {
                break;
            }
            clock = clock.max(end.0);
            free += held;
            running.pop();
        }
        free -= needed;
        let end = clock + seconds;
        running.push(Reverse((At(end), *needed)));
        waited += clock - at;
        late += f64::from(u8::from(end > *deadline));
        worst = worst.max(end - deadline);
    }
    let n = starts.len() as f64;
    Some(Load { nodes, utilization, late: late / n, wait: waited / n, worst: worst.max(0.0) })
}

/// The smallest pool on which at most a share `late` of the retrainings is late; none where waiting is not the reason.
#[must_use]
pub fn smallest(fleet: &[Retraining], late: f64, seed: u64) -> Option<Load> {
    let most: u32 = fleet.iter().map(|r| r.spec.count.saturating_mul(r.spec.nodes)).sum();
    let least = fleet.iter().map(|r| r.spec.nodes).max()?;
    // With all of the time asked for, the queue grows for ever, however few were late in the simulated time.
    let asked = load(fleet, least, seed)?.utilization * f64::from(least);
    let first = least.max(asked.floor() as u32);
    let loads = (first..=most.max(first) + 1).filter_map(|nodes| load(fleet, nodes, seed));
    loads.into_iter().find(|load| load.utilization < 1.0 && load.late <= late)
}

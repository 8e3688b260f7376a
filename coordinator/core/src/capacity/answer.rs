//! One pool, one answer: step, time, cost, energy, memory, what binds.

use muster_proto::capacity::{CapacitySpec, Device, PoolSpec};

use super::goodput::{Failures, Simulated};
use super::place::{Unplaced, place};
use crate::cost::{Cluster, Phase, StepTime, Workload, memory};

/// Runs of a simulation: P99 then rests on 20 runs.
const RUNS: u32 = 2000;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Unanswered {
    /// The model has no place.
    #[error(transparent)]
    Unplaced(#[from] Unplaced),
    /// Failures come before work is kept.
    #[error(
        "the run makes no progress: {devices} devices fail every {:.0} s, but a checkpoint takes {:.0} s and a restart {:.0} s; raise \
         mtbf_per_device, or lower checkpoint, restart or the number of nodes",
        failures.mtbf,
        failures.checkpoint,
        failures.restart
    )]
    NoProgress {
        /// Devices.
        devices: u32,
        /// How they fail.
        failures: Failures,
    },
    /// Neither tables nor a dense part.
    #[error("a step has nothing to do; give [[tables]], a table_list or a [dense] part")]
    Nothing,
    /// A time that no number holds.
    #[error(
        "the run would never end: a step takes {step:.3e} s and there are {steps:.3e}; lower the dense part, run.samples or run.epochs"
    )]
    Endless {
        /// Seconds of a step.
        step: f64,
        /// Steps.
        steps: f64,
    },
}

/// Seconds; whoever gives a checkpoint or a restart of a day meant something else.
const DAY: f64 = 86_400.0;

impl Unanswered {
    /// The table, or `dense part`, that has no room, and the bytes that are missing; none where memory is not at fault.
    #[must_use]
    pub fn no_room(&self) -> Option<(&str, f64)> {
        match self {
            Self::Unplaced(error) => {
                Some((error.table(), error.missing())).filter(|(_, missing)| *missing > 0.0)
            }
            _ => None,
        }
    }

    /// The field at fault, for the pool of this index; none where it is a table or the dense part.
    #[must_use]
    pub fn field(&self, pool: usize) -> Option<String> {
        match self {
            Self::Unplaced(_) => None,
            Self::NoProgress { failures, .. } => Some(match failures {
                f if f.checkpoint >= DAY => "run.checkpoint".to_owned(),
                f if f.restart >= DAY => format!("pools.{pool}.restart"),
                _ => format!("pools.{pool}.mtbf_per_device"),
            }),
            Self::Nothing => Some("tables".to_owned()),
            Self::Endless { .. } => Some("run".to_owned()),
        }
    }
}

/// What a pool does for a workload.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Name of the pool.
    pub pool: String,
    /// Name of the device.
    pub device: &'static str,
    /// Devices.
    pub devices: u32,
    /// Nodes.
    pub nodes: u32,
    /// The step.
    pub step: StepTime,
    /// Steps of the run.
    pub steps: f64,
    /// Seconds of the steps alone.
    pub ideal: f64,
    /// Seconds of work between two checkpoints.
    pub interval: f64,
    /// Share of the time in which steps count.
    pub goodput: f64,
    /// Expected seconds of the run, with checkpoints and failures.
    pub seconds: f64,
    /// The same, simulated.
    pub simulated: Simulated,
    /// Price of the run, without energy; none where the pool has no price.
    pub cost: Option<f64>,
    /// Energy of the run at full load, kWh.
    pub energy: f64,
    /// Price of the energy, where the pool has one.
    pub energy_cost: Option<f64>,
    /// Bytes of the fullest device.
    pub memory: f64,
    /// Bytes of tables in the memory of the fullest host.
    pub host: f64,
    /// Bytes of a device that can be used.
    pub usable: f64,
    /// Whether P90 of the run's time keeps the deadline; none without a deadline.
    pub in_time: Option<bool>,
    /// Whether the cost, with that of energy, keeps the budget; none without a budget or a price.
    pub in_budget: Option<bool>,
    /// Seconds that no placement's step is shorter than, where the planner placed the tables.
    pub bound: Option<f64>,
    /// Tables of each layout, by the layout's name.
    pub layouts: Vec<(String, usize)>,
}

impl Answer {
    /// The phase that takes the largest share of a step, and the share.
    #[must_use]
    pub fn bottleneck(&self) -> (Phase, f64) {
        let longer = |a: &&Phase, b: &&Phase| self.step.phases.get(**a).total_cmp(&self.step.phases.get(**b));
        let phase = Phase::ALL.iter().max_by(longer).copied().unwrap_or(Phase::Dense);
        (phase, self.step.phases.get(phase) / self.step.seconds)
    }
}

/// The answer for `nodes` nodes of a pool.
///
/// # Errors
/// A table that fits nowhere, failures that leave no progress.
///
/// # Panics
/// A device that is not in the catalogue; such specs are refused when they are read.
pub fn answer(spec: &CapacitySpec, pool: &PoolSpec, nodes: u32) -> Result<Answer, Unanswered> {
    let device = pool.device().expect("a validated pool names a device of the catalogue");
    let cluster = cluster(pool, device, nodes);
    let workload = Workload::from_spec(spec);
    let placed = place(&workload, &cluster)?;
    let run = &spec.run;
    let steps = (run.samples as f64 * run.epochs / run.batch as f64).ceil();
    let ideal = steps * placed.step.seconds;
    let failures = Failures {
        mtbf: pool.mtbf_per_device.as_secs_f64() / cluster.n(),
        checkpoint: run.checkpoint.as_secs_f64(),
        restart: pool.restart.as_secs_f64(),
    };
    if ideal == 0.0 {
        return Err(Unanswered::Nothing);
    }
    if !ideal.is_finite() {
        return Err(Unanswered::Endless { step: placed.step.seconds, steps });
    }
    let interval = failures.interval_of(ideal);
    let seconds = failures.expected(ideal, interval);
    if !failures.make_progress(ideal, interval) {
        return Err(Unanswered::NoProgress { devices: cluster.world_size, failures });
    }
    let simulated = failures.simulate(ideal, interval, RUNS, spec.seed);
    let hours = seconds / 3600.0;
    let cost = pool.price_per_device_hour.map(|price| price * cluster.n() * hours);
    let energy = device.power / 1000.0 * cluster.n() * hours;
    let energy_cost = pool.price_per_kwh.map(|price| price * energy);
    let mut layouts: Vec<(String, usize)> = Vec::new();
    for (layout, _) in &placed.tables {
        match layouts.iter_mut().find(|(name, _)| *name == layout.name()) {
            Some(known) => known.1 += 1,
            None => layouts.push((layout.name(), 1)),
        }
    }
    Ok(Answer {
        pool: pool.name.clone(),
        device: device.name,
        devices: cluster.world_size,
        nodes,
        step: placed.step,
        steps,
        ideal,
        interval,
        goodput: ideal / seconds,
        seconds,
        simulated,
        cost,
        energy,
        energy_cost,
        memory: placed.memory.iter().copied().fold(0.0, f64::max),
        host: placed.fullest_host(&cluster),
        usable: memory::usable(&cluster),
        in_time: run.deadline.map(|deadline| simulated.p90 <= deadline.0.as_secs_f64()),
        in_budget: cost.zip(run.budget).map(|(cost, budget)| cost + energy_cost.unwrap_or(0.0) <= budget),
        bound: placed.bound.map(|(seconds, _)| seconds),
        layouts,
    })
}

/// `nodes` nodes of a pool, with `device` in them.
#[must_use]
pub fn cluster(pool: &PoolSpec, device: Device, nodes: u32) -> Cluster {
    let mut cluster = Cluster::new(device, nodes, device.per_node);
    cluster.table_memory = pool.table_memory.map(|size| size.bytes() as f64);
    cluster.host_memory = pool.host_memory.map(|size| size.bytes() as f64);
    cluster
}

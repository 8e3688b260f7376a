//! A step's time from the loads of its ranks.

use muster_proto::capacity::{
    CalibrationSpec, CapacitySpec, Curve, DenseSpec, Precision, RunSpec, Software, TableSpec,
};

use super::dense::Dense;
use super::layout::all_reduce_seconds;
use super::{Calibration, Cluster, Constants, Phase, Phases, Setting, Table, memory};

/// What is trained, ready to be placed.
#[derive(Debug, Clone, PartialEq)]
pub struct Workload {
    /// The tables.
    pub tables: Vec<Table>,
    /// The dense part.
    pub dense: Dense,
    /// Its type.
    pub precision: Precision,
    /// What all pieces share.
    pub setting: Setting,
    /// Measured curves of phases: from seconds by formula to measured seconds.
    pub calibrations: Vec<(Phase, Calibration)>,
}

impl Workload {
    /// From the parts of a spec.
    #[must_use]
    pub fn new(tables: &[TableSpec], dense: &DenseSpec, run: &RunSpec, constants: Constants) -> Self {
        Self {
            tables: tables.iter().map(Table::from).collect(),
            dense: Dense::from(dense),
            precision: dense.precision,
            setting: Setting {
                batch: run.batch as f64,
                wire: dense.precision,
                software: run.software,
                constants,
            },
            calibrations: Vec::new(),
        }
    }

    /// From a spec, with the constants as they are set.
    #[must_use]
    pub fn from_spec(spec: &CapacitySpec) -> Self {
        let mut workload = Self::new(&spec.tables, &spec.dense, &spec.run, Constants::default());
        let curve =
            |points: &CalibrationSpec| Some((points.phase, Calibration::new(&points.seconds()).ok()?));
        workload.calibrations = spec.calibration.iter().filter_map(curve).collect();
        workload
    }

    /// Bytes of a rank beside its tables.
    #[must_use]
    pub fn beside_tables(&self, cluster: &Cluster) -> f64 {
        memory::beside_tables(&self.dense, self.setting.batch / cluster.n(), self.precision, cluster)
    }

    /// Bytes of a rank that may be taken, by tables and what is beside them.
    #[must_use]
    pub fn usable(&self, cluster: &Cluster) -> f64 {
        let most = cluster.table_memory.map_or(f64::INFINITY, |most| self.beside_tables(cluster) + most);
        memory::usable(cluster).min(most)
    }

    /// Seconds that every rank spends beside its tables, without latencies.
    #[must_use]
    pub fn dense_phases(&self, cluster: &Cluster) -> Phases {
        let peak = match self.precision {
            Precision::F32 => cluster.device.flops_f32,
            Precision::F16 | Precision::Bf16 => cluster.device.flops_f16,
        };
        let rate = peak * self.setting.constants.dense_share;
        // A backward pass has two products for each of the forward pass.
        let samples = 3.0 * self.setting.batch / cluster.n();
        let gradients = self.dense.parameters * self.precision.bytes();
        // What is moved are rows as narrow as those of tables, at their rate.
        let moved = self.setting.batch / cluster.n() * self.dense.moved_bytes
            / (cluster.device.memory_rate * self.setting.constants.row_share);
        let step = match self.setting.software {
            Software::Muster | Software::HugeCtr => self.setting.constants.fused_step,
            Software::TensorFlow if cluster.world_size > 1 => self.setting.constants.coordination,
            Software::TensorFlow => 0.0,
        };
        Phases::default()
            .with(Phase::Dense, samples * self.dense.flops / rate + step + moved)
            .with(Phase::Loss, samples * self.dense.loss_flops / rate)
            .with(Phase::AllReduce, all_reduce_seconds(gradients, cluster, &self.setting))
    }
}

/// The forecast of a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepTime {
    /// The slowest rank's seconds of each phase, with latencies and what is hidden taken off.
    pub phases: Phases,
    /// Seconds of the step: the sum of `phases`.
    pub seconds: f64,
    /// Whether a calibrated phase lies outside of its measured points.
    pub extrapolated: bool,
    /// TorchRec's figure: the largest sum over phases of one rank, a lower bound of the above.
    pub max_of_sums: f64,
}

/// The time of a step in which rank r has `loads[r]` of the tables.
#[must_use]
pub fn step_time(workload: &Workload, loads: &[Phases], cluster: &Cluster) -> StepTime {
    let dense = workload.dense_phases(cluster);
    let finished = |phases: Phases| {
        let (phases, extrapolated) = calibrated(with_latencies(phases, cluster), &workload.calibrations);
        (hidden(phases, workload.setting.software), extrapolated)
    };
    let slowest = loads.iter().fold(Phases::default(), |slowest, load| slowest.max(load));
    let (phases, extrapolated) = finished(slowest + dense);
    let sums = loads.iter().map(|load| finished(*load + dense).0.sum());
    let max_of_sums = sums.fold(finished(dense).0.sum(), f64::max);
    StepTime { phases, seconds: phases.sum(), extrapolated, max_of_sums }
}

/// What a rank with this load of the tables takes in each phase, with latencies and what is hidden taken off.
#[must_use]
pub fn rank_phases(workload: &Workload, load: &Phases, cluster: &Cluster) -> Phases {
    let phases = with_latencies(*load + workload.dense_phases(cluster), cluster);
    hidden(calibrated(phases, &workload.calibrations).0, workload.setting.software)
}

/// What a phase takes whose slowest rank has `seconds` of it by the rates: with latencies, through measured points.
///
/// Rises with `seconds`; concave but for measured points, since no knee of the catalogue is above 1.
#[must_use]
pub fn phase_seconds(workload: &Workload, phase: Phase, seconds: f64, cluster: &Cluster) -> f64 {
    let phases = with_latencies(Phases::default().with(phase, seconds), cluster);
    calibrated(phases, &workload.calibrations).0.get(phase)
}

/// Puts measured times in the place of the formula's.
fn calibrated(mut phases: Phases, calibrations: &[(Phase, Calibration)]) -> (Phases, bool) {
    let mut extrapolated = false;
    for (phase, curve) in calibrations {
        let formula = phases.get(*phase);
        if formula == 0.0 {
            continue;
        }
        let prediction = curve.predict(formula);
        phases.set(*phase, prediction.seconds);
        extrapolated |= prediction.extrapolated;
    }
    (phases, extrapolated)
}

/// Turns rates into times of messages: a phase that exchanges anything has its collective's latency, once.
fn with_latencies(mut phases: Phases, cluster: &Cluster) -> Phases {
    if cluster.world_size < 2 {
        return phases;
    }
    let links = &cluster.device.links;
    for (phase, curve) in [
        (Phase::InputExchange, links.all_to_all),
        (Phase::ForwardExchange, links.all_to_all),
        (Phase::BackwardExchange, links.all_to_all),
        (Phase::AllReduce, links.all_reduce),
    ] {
        let seconds = phases.get(phase);
        if seconds > 0.0 {
            phases.set(phase, message(seconds, &curve, cluster));
        }
    }
    phases
}

/// A message over each further node adds a round trip of NCCL's network latency, 14 us in its tuner (Simple, ring).
const NETWORK_HOP: f64 = 14e-6;

fn message(seconds: f64, curve: &Curve, cluster: &Cluster) -> f64 {
    let hops = f64::from(cluster.nodes() - 1).min(f64::from(cluster.nodes()).log2().ceil() + 1.0);
    let latency = curve.latency + hops * NETWORK_HOP;
    (latency.powf(curve.knee) + seconds.powf(curve.knee)).powf(1.0 / curve.knee)
}

/// Takes off what goes on at the same time: sums of gradients while rows' gradients go home and are applied.
fn hidden(mut phases: Phases, software: Software) -> Phases {
    if software != Software::TensorFlow {
        let cover = phases.get(Phase::BackwardExchange) + phases.get(Phase::TableUpdate);
        phases.set(Phase::AllReduce, (phases.get(Phase::AllReduce) - cover).max(0.0));
    }
    phases
}

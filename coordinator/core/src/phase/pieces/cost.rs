//! What a declared table costs in a step and takes of memory, by the share of it that a rank owns.

use muster_proto::capacity::{self, DEVICES, Software, TableSpec};
use muster_proto::control::{Capabilities, DeviceKind};
use muster_proto::job::JobSpec;
use muster_proto::sharding::{Placement, TableDecl};

use super::memory::copies_share;
use crate::capacity::import::table_of;
use crate::cost::{self, Constants, Layout, Phase, Phases, Setting};

/// The phases that a job's tables have a part in.
pub(super) const PHASES: [Phase; 7] = [
    Phase::InputExchange,
    Phase::Lookup,
    Phase::ForwardExchange,
    Phase::Loss,
    Phase::BackwardExchange,
    Phase::TableUpdate,
    Phase::AllReduce,
];

/// Seconds of the phases.
type Seconds = [f64; PHASES.len()];

/// What a declared table costs and takes.
#[derive(Debug)]
pub(super) struct Costs {
    /// By class of devices: with one owner, and as a replica.
    owned: Vec<Seconds>,
    replicated: Vec<Seconds>,
    /// By class: the scores of all rows.
    scores: Vec<f64>,
    /// Bytes of the rows with optimizer state.
    pub(super) bytes: f64,
    /// Bytes of the weights alone.
    pub(super) weight_bytes: f64,
    /// How many times the bytes of a piece its copies take on each of two ranks.
    pub(super) copies: f64,
}

impl Costs {
    /// Seconds of a rank of that class that owns `share` of the row blocks.
    pub(super) fn seconds(&self, class: usize, placement: Placement, share: f64) -> Seconds {
        let (seconds, held) = match placement {
            Placement::DataParallel => (&self.replicated[class], 1.0),
            // Only a share of the whole differs: rows of sequences are not pooled, so a block's owner sends just its own.
            _ => (&self.owned[class], share),
        };
        let scores = self.scores[class] * share;
        std::array::from_fn(|at| if PHASES[at] == Phase::Loss { scores } else { seconds[at] * held })
    }

    /// Bytes of a rank that owns `share` of the row blocks, with its copies of them in memory.
    pub(super) fn memory(&self, placement: Placement, share: f64) -> f64 {
        let held = if placement == Placement::DataParallel { 1.0 } else { share };
        self.bytes * (held + self.copies * share)
    }
}

/// The job's model on the classes of devices that its workers have.
pub(super) struct Model<'a> {
    pub(super) job: &'a JobSpec,
    pub(super) classes: &'a [capacity::Device],
    pub(super) world_size: u32,
    /// Whether tables are in the hosts' memory, where copies of them are too.
    pub(super) hosted: bool,
}

impl Model<'_> {
    pub(super) fn costs(&self, declared: &TableDecl) -> Costs {
        let spec = self.spec(declared);
        let table = cost::Table::from(&spec);
        let of = |layout: Layout| self.classes.iter().map(|d| self.seconds(&table, *d, layout)).collect();
        let scores = self.classes.iter().map(|device| self.scores(declared, &table, *device));
        let batch = f64::from(self.job.batch.sequences);
        let touched = match spec.updates_all_rows {
            true => 1.0,
            false => table.skew.distinct(batch * table.lookups) / table.rows.max(1.0),
        };
        Costs {
            owned: of(Layout::TableWise),
            replicated: of(Layout::DataParallel),
            scores: scores.collect(),
            bytes: spec.bytes(),
            weight_bytes: declared.bytes() as f64,
            copies: if self.hosted { copies_share(self.job, touched, self.world_size) } else { 0.0 },
        }
    }

    fn seconds(&self, table: &cost::Table, device: capacity::Device, layout: Layout) -> Seconds {
        let cluster = cost::Cluster::new(device, self.world_size, 1);
        let option = cost::layout::option(table, layout, &cluster, &self.setting());
        let phases = option.pieces.iter().next().map_or(Phases::default(), |piece| piece.cost);
        PHASES.map(|phase| phases.get(phase))
    }

    /// Seconds of the scores of all rows.
    fn scores(&self, declared: &TableDecl, table: &cost::Table, device: capacity::Device) -> f64 {
        if !self.is_scored(declared) {
            return 0.0;
        }
        // Forward and two products backward, of all positions with the rows' width.
        let (setting, width) = (self.setting(), f64::from(declared.dim) + f64::from(u8::from(declared.bias)));
        let flops = 6.0 * setting.batch * table.lookups * table.rows * width;
        flops / (device.flops_f32 * setting.constants.dense_share)
    }

    fn setting(&self) -> Setting {
        Setting {
            batch: f64::from(self.job.batch.sequences),
            wire: capacity::Precision::F32,
            software: Software::Muster,
            constants: Constants::default(),
        }
    }

    /// The whole vocabulary's scores are a cost of a softmax's output table.
    fn is_scored(&self, declared: &TableDecl) -> bool {
        self.job.scored_whole() == Some(declared.table())
    }

    fn spec(&self, declared: &TableDecl) -> TableSpec {
        let events = f64::from(self.job.batch.max_len);
        let dim = declared.dim + u32::from(declared.bias);
        table_of(self.job, declared, dim, events)
    }
}

/// The catalogue's device that is nearest to what a worker reports; unknown cards count as an A100.
pub(super) fn device_of(worker: &Capabilities) -> capacity::Device {
    let named = |name: &str| DEVICES.iter().find(|device| device.name == name).copied();
    let card = worker.gpu.as_ref().map(|gpu| gpu.name.to_uppercase()).unwrap_or_default();
    let name = match worker.device {
        DeviceKind::Cpu => "cpu_xeon_2",
        DeviceKind::Cuda if card.contains("H200") => "h200_sxm",
        DeviceKind::Cuda if card.contains("H100") => "h100_sxm",
        DeviceKind::Cuda if card.contains("B200") => "b200",
        DeviceKind::Cuda if card.contains("L40") => "l40s",
        DeviceKind::Cuda => "a100_sxm",
    };
    let mut device = named(name).expect("the catalogue has the devices that are named here");
    if worker.device == DeviceKind::Cpu {
        // The catalogue's entry has two cores.
        let cores = f64::from(worker.cpu_threads.max(1)) / 2.0;
        device.flops_f32 *= cores;
        device.flops_f16 *= cores;
        device.memory_rate *= cores;
    }
    device
}

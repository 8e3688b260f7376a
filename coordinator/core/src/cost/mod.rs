//! What a training step costs: seconds of each phase and bytes of memory, of each piece of each layout of a table.
//!
//! A step is serial in its phases, and ranks meet at each exchange, so its time is the sum over phases of the slowest rank.
//! Seconds of a phase add up over the pieces on a rank; what does not add up (latency, message size, launches of a fused
//! group) is put on once by [`step`]. Pure, and the same on every machine.
//!
//! Sources: planner notes 4.5 and 5.3; TorchRec's estimators for the second figure, the max of sums.

pub mod calibration;
pub mod constants;
pub mod dense;
pub mod host;
pub mod layout;
pub mod memory;
pub mod phase;
pub mod pieces;
pub mod skew;
pub mod step;
pub mod table;

pub use calibration::Calibration;
pub use constants::Constants;
pub use layout::{Layout, LayoutOption, Piece, Span};
pub use phase::{Phase, Phases};
pub use pieces::Pieces;
pub use step::{StepTime, Workload};
pub use table::Table;

use muster_proto::capacity::{Device, Precision, Software};

/// The devices of one job: `world_size` equal ranks, `per_node` of them in a node.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cluster {
    /// The device of each rank.
    pub device: Device,
    /// Ranks.
    pub world_size: u32,
    /// Ranks of a node.
    pub per_node: u32,
    /// The most bytes that tables may take of a rank, where the user says so.
    pub table_memory: Option<f64>,
    /// Bytes of a node's host, where tables may lie there.
    pub host_memory: Option<f64>,
}

impl Cluster {
    /// `nodes` nodes of `per_node` devices.
    ///
    /// # Panics
    /// Without a rank; specs with none are refused when they are read.
    #[must_use]
    pub fn new(device: Device, nodes: u32, per_node: u32) -> Self {
        let world_size = nodes * per_node;
        assert!(world_size > 0, "a cluster of {nodes} nodes with {per_node} devices each has no rank");
        Self { device, world_size, per_node, table_memory: None, host_memory: None }
    }

    /// Ranks, as a number to divide by.
    #[must_use]
    pub fn n(&self) -> f64 {
        f64::from(self.world_size)
    }

    /// Ranks of a node.
    #[must_use]
    pub fn g(&self) -> f64 {
        f64::from(self.per_node.min(self.world_size))
    }

    /// Nodes.
    #[must_use]
    pub fn nodes(&self) -> u32 {
        self.world_size.div_ceil(self.per_node.max(1))
    }
}

/// How the tables' part of a step is run: sizes that all pieces share.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Setting {
    /// Samples of a step, over all ranks.
    pub batch: f64,
    /// Type of rows on the wire.
    pub wire: Precision,
    /// Who trains.
    pub software: Software,
    /// The model's free constants.
    pub constants: Constants,
}

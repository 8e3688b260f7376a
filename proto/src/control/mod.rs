//! What the control plane talks about, in the types used inside the processes.
//!
//! The types on the wire ([`crate::wire`]) convert to and from these in [`crate::convert`].

mod cohort;
mod float;
mod job;
mod peers;
mod queueing;
mod retrain;
pub(crate) mod seconds;
mod session;
mod spent;
mod task;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::cohort::{Cohort, Prepare};
pub use self::job::{CancelMode, EventKind, Incident, JobEvent, JobStatus, Submission, WorkerStatus};
pub use self::peers::{Peer, Peers};
pub use self::queueing::{Class, Queueing, UnknownClass};
pub use self::retrain::{Contender, JudgeDone, JudgeUnit, WindowDone, WindowEnd, WindowRead, WindowUnit};
pub use self::session::{
    Directive, Failure, FailureCause, Hello, PiecesSaved, RankState, Registration, Report, Restored,
    RestoredFrom,
};
pub use self::spent::{Cause, Spent, Straggler};
pub use self::task::{PrepareUnit, TaskEnd, TaskProgress, TaskStage, TaskStatus, TaskWork, Unit};
use crate::ids::Step;
use crate::measured::Breakdown;

/// What a worker computes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceKind {
    /// The host's processor.
    Cpu,
    /// An NVIDIA GPU.
    Cuda,
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
        })
    }
}

/// A device kind that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a device kind: expected cpu or cuda")]
pub struct UnknownDevice(pub String);

impl FromStr for DeviceKind {
    type Err = UnknownDevice;

    fn from_str(text: &str) -> Result<Self, UnknownDevice> {
        match text {
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda),
            other => Err(UnknownDevice(other.to_owned())),
        }
    }
}

/// What a worker is and has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// Name of the process, unique among workers and kept over restarts where the platform keeps it.
    pub name: String,
    /// Host it runs on: workers of one host are a node, and share its memory.
    pub host: String,
    /// CPU threads it may use.
    pub cpu_threads: u32,
    /// Memory of the host, in bytes; 0 where it cannot be told.
    pub memory_bytes: u64,
    /// What it computes on.
    pub device: DeviceKind,
    /// `HOST:PORT` where its collectives listen.
    pub data_plane_address: String,
    /// Names the arithmetic; ranks of a reproducible job agree in it.
    pub numerics: String,
    /// Version of the program.
    pub muster_version: String,
    /// The GPU that it computes on, if it does.
    #[serde(default)]
    pub gpu: Option<Gpu>,
}

/// A GPU as the driver describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gpu {
    /// The card's name.
    pub name: String,
    /// Its memory, in bytes.
    pub memory_bytes: u64,
    /// Its compute capability, the number before the dot.
    pub compute_major: u32,
    /// And the number after it.
    pub compute_minor: u32,
    /// Where it is on the host's bus; names it among all workers of the host.
    pub pci_bus_id: String,
    /// Its number among the GPUs that the worker sees.
    pub ordinal: u32,
    /// How many GPUs the worker sees.
    pub visible: u32,
    /// PCI bus ids of those among them whose memory it reads and writes directly.
    pub direct_peers: Vec<String>,
}

/// How far the training of a job has come, as one rank sees it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Progress {
    /// Pass over the data, from 0.
    pub epoch: u32,
    /// Passes the job asks for.
    pub epochs: u32,
    /// Optimizer updates done since the job began.
    pub step: Step,
    /// Optimizer updates in a pass.
    pub steps_per_epoch: u64,
    /// Loss of the last step, averaged over the global batch.
    #[serde(with = "float")]
    pub loss: f64,
    /// Real target positions over wall seconds of training steps, all ranks together.
    #[serde(with = "float")]
    pub tokens_per_second: f64,
    /// Samples trained since the job began, all ranks together.
    pub samples: u64,
    /// Validation metrics by name, where this report closes an evaluation; empty otherwise.
    #[serde(with = "float::map")]
    pub metrics: BTreeMap<String, f64>,
}

/// The last step of a rank and how it was spent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepTiming {
    /// The step.
    pub step: Step,
    /// Time of a step outside of collectives: what the rank itself is answerable for. The mean over the steps since this
    /// was told before.
    pub own: Duration,
    /// Where the time of the same steps went, by phase.
    pub breakdown: Option<Box<Breakdown>>,
}

/// What a worker does for its job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RankStage {
    /// Connects and loads.
    Loading,
    /// Ready, waits for the start.
    Ready,
    /// Computes steps.
    Training,
    /// Stops.
    Stopping,
}

/// Where a job is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobPhase {
    /// Waits for workers.
    Gathering,
    /// Pieces are assigned to ranks.
    Planning,
    /// Ranks connect to each other and load their pieces.
    Loading,
    /// Optimizer steps are made.
    Training,
    /// Ranks are told to stop and have not all done so.
    Draining,
    /// Ranks stop, to go on in a new generation.
    Recovering,
    /// Ended with a result.
    Finished,
    /// Ended without a result.
    Failed,
    /// Ended because somebody asked for it.
    Cancelled,
}

impl JobPhase {
    /// Whether nothing more will happen to the job.
    #[must_use]
    pub fn is_ended(self) -> bool {
        matches!(self, Self::Finished | Self::Failed | Self::Cancelled)
    }
}

impl fmt::Display for JobPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gathering => "gathering",
            Self::Planning => "planning",
            Self::Loading => "loading",
            Self::Training => "training",
            Self::Draining => "draining",
            Self::Recovering => "recovering",
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        })
    }
}

//! Work that is no training job: what there is to do, how far it is and how it ended.

use serde::{Deserialize, Serialize};

use super::{JudgeUnit, WindowUnit};
use crate::ids::WorkerId;

/// What a task has to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskWork {
    /// A unit of preparing a dataset.
    Prepare(PrepareUnit),
    /// The dataset and the job of a schedule's run.
    Window(Box<WindowUnit>),
    /// The evidence for and against a candidate.
    Judge(Box<JudgeUnit>),
}

impl TaskWork {
    /// About the bytes that it takes in messages and in the store.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Prepare(unit) => unit.folder.len() + 64,
            Self::Window(unit) => json_bytes(unit),
            Self::Judge(unit) => json_bytes(unit),
        }
    }
}

/// Those that cannot be written are as long as can be, and so never taken.
fn json_bytes(unit: &impl Serialize) -> usize {
    serde_json::to_vec(unit).map_or(usize::MAX, |json| json.len())
}

/// A unit of preparing a dataset; all else that there is to know lies in files of the folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrepareUnit {
    /// A folder that all workers and whoever asks can read and write under this name.
    pub folder: String,
    /// Which unit.
    pub unit: Unit,
}

/// Which unit of a preparation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Reads this share of the input.
    Share(u32),
    /// Works on the log partitions of a part of a pass.
    Part {
        /// The pass, as it is numbered in the folder.
        pass: u32,
        /// The part.
        part: u32,
    },
}

/// How far a task is, in units of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TaskProgress {
    /// Units that are done.
    pub done: u64,
    /// All that are known of; 0 where it cannot be told.
    pub of: u64,
}

/// How a worker came to the end of a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskEnd {
    /// With a result, which is small: what is large lies in files.
    Done(serde_json::Value),
    /// By an error that another worker would meet, too.
    Failed(String),
    /// It was stopped: another worker may do it.
    Stopped,
}

/// Where a task is in its life.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskStage {
    /// Nobody works on it yet, or any more.
    Waiting,
    /// A worker does.
    Given {
        /// Which.
        worker: WorkerId,
        /// How far it is, as it last said.
        progress: TaskProgress,
    },
    /// It is done.
    Done {
        /// With this result.
        result: serde_json::Value,
    },
    /// Nobody will do it.
    Failed {
        /// Why, for people.
        error: String,
    },
}

impl TaskStage {
    /// Whether nothing more will happen to the task.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        matches!(self, Self::Done { .. } | Self::Failed { .. })
    }
}

/// A task at a glance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskStatus {
    /// Its number among its owner's tasks.
    pub number: u32,
    /// How often it was given to a worker.
    pub attempt: u32,
    /// Where it is in its life.
    pub stage: TaskStage,
}

//! What workers do for schedules: the dataset and the job of a window, and the evidence for and against a candidate.
//!
//! A schedule's folder has its base of cleaned rows (`base`) and a folder for each run (`runs/RUN`): its dataset, the run directory
//! of its training (`train`), the files that counted (`pins.json`) and what the gates go by (`evidence.json`). Whatever is
//! written appears whole or not at all, so that a second attempt begins over the leavings of the first and comes to the same.

mod evidence;
mod files;
mod judge;
mod latency;
mod parameters;
mod score;
mod slices;
mod window;

pub use judge::judge;
pub use score::{Score, score};
pub use window::prepare_window;

use std::path::PathBuf;

use muster_data::prepare;
use muster_proto::config;

use crate::{checkpoint, evaluate, run_record, standalone, submission, warm_start};

/// What a task may use, and who looks on.
#[derive(Clone, Copy)]
pub struct Work<'a> {
    /// Threads of processors.
    pub threads: u32,
    /// Is told of each piece of work that was done; false where the work is to stop.
    pub pulse: prepare::Pulse<'a>,
}

impl Work<'_> {
    /// # Errors
    /// The work is to stop.
    fn beat(&self) -> Result<(), Error> {
        if (self.pulse)() { Ok(()) } else { Err(Error::Stopped) }
    }
}

/// Why a task of a schedule failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The dataset file or the job file of the schedule.
    #[error(transparent)]
    File(#[from] config::Error),
    /// The data of the window.
    #[error(transparent)]
    Prepare(#[from] prepare::Error),
    /// A dataset that was prepared.
    #[error(transparent)]
    Data(#[from] muster_data::Error),
    /// The job does not fit the dataset.
    #[error(transparent)]
    Submission(#[from] submission::Error),
    /// What the job begins from, or the champion on another dataset.
    #[error(transparent)]
    WarmStart(#[from] warm_start::Error),
    /// A model cannot be loaded.
    #[error(transparent)]
    Model(#[from] standalone::Error),
    /// A checkpoint cannot be read.
    #[error(transparent)]
    Checkpoint(#[from] checkpoint::Error),
    /// A record of a run cannot be read or written.
    #[error(transparent)]
    Record(#[from] run_record::Error),
    /// A model cannot be scored.
    #[error("cannot score the {whose}: {source}")]
    Score {
        /// Whose model it is.
        whose: &'static str,
        /// What is wrong.
        source: evaluate::Error,
    },
    /// The log has no events in time.
    #[error("schedules are for logs of events with times: {problem}")]
    Timeless {
        /// What is missing in the dataset file.
        problem: &'static str,
    },
    /// The job ranks no items.
    #[error(
        "the job {job} ranks no items, and candidates are judged by how they rank: take a softmax as `model.head`"
    )]
    RanksNothing {
        /// The job's name.
        job: String,
    },
    /// The gates ask for a metric that users do not have.
    #[error("gates.metric: {problem}")]
    Metric {
        /// What is wrong with it.
        problem: String,
    },
    /// The gates tell users apart by a column that is not there.
    #[error("gates.slices asks for column `{column}`, the dataset has: {known}")]
    Slice {
        /// The column.
        column: String,
        /// The categorical columns that there are.
        known: String,
    },
    /// The test split has nobody.
    #[error(
        "no user of {} has an event in the test split after others: nobody to judge by; make window.test longer", dataset.display()
    )]
    NobodyToAsk {
        /// The dataset.
        dataset: PathBuf,
    },
    /// The candidate was trained on another dataset.
    #[error("{} was trained on the dataset {found}, not on {expected}", checkpoint.display())]
    OtherDataset {
        /// The candidate's checkpoint.
        checkpoint: PathBuf,
        /// The digest of the dataset that it was trained on.
        found: String,
        /// The digest of the run's dataset.
        expected: String,
    },
    /// The champion is not the one that is meant.
    #[error(
        "the model in {} is not the champion that the candidate is to be held against: its digest is {found}, not {expected}; \
         restore the champion, or promote another version", checkpoint.display()
    )]
    OtherChampion {
        /// The checkpoint.
        checkpoint: PathBuf,
        /// Its digest.
        found: String,
        /// The champion's.
        expected: String,
    },
    /// The name of a run is no name of a folder.
    #[error("{run:?} cannot be the name of a run's folder")]
    RunName {
        /// The name.
        run: String,
    },
    /// A file of the run cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// It was told to stop.
    #[error("stopped on request")]
    Stopped,
}

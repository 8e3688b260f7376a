//! A whole model in this process, to be evaluated or asked: a world of one rank.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use muster_collective::{AbortHandle, Collective, Config, Transport};
use muster_data::{Dataset, Partition, Split};
use muster_proto::job::JobSpec;

use crate::checkpoint::{self, Reader};
use crate::evaluate::{self, Detail, Evaluation, UserRank, evaluate, evaluate_users};
use crate::recommend::{Recommendation, recommend};
use crate::train::{Setup, SetupError, Trainer};
use crate::warm_start::{self, Parent, stand_in};

/// Why a model cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] checkpoint::Error),
    /// Its dataset, or its job.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// What it knows of a dataset that it was not trained on.
    #[error(transparent)]
    WarmStart(#[from] warm_start::Error),
    /// The world of one rank.
    #[error(transparent)]
    Collective(#[from] muster_collective::Error),
    /// This machine has no port left.
    #[error("cannot listen on this machine: {0}")]
    Listen(#[from] std::io::Error),
}

/// A model with the dataset that it is asked about.
pub struct Standalone {
    /// The parameters, and what is known of the dataset.
    pub trainer: Trainer,
    /// Items of the dataset that the model does not know, and never recommends; ascending.
    pub strangers: Vec<u32>,
    alone: Box<dyn Collective>,
}

impl std::fmt::Debug for Standalone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Standalone").field("dataset", &self.trainer.dataset.dir()).finish_non_exhaustive()
    }
}

impl Standalone {
    /// Loads a model on the dataset that it was trained on.
    ///
    /// # Errors
    /// The dataset cannot be read, or is not of the job; the checkpoint is damaged or of another model.
    pub fn open(job: JobSpec, reader: &Reader, dataset: &Path, threads: u32) -> Result<Self, Error> {
        let mut alone = alone()?;
        let mut trainer = Setup::open(job, dataset, None, 1, threads as usize)?.build(&mut *alone)?;
        trainer.load(reader)?;
        Ok(Self { trainer, strangers: Vec::new(), alone })
    }

    /// The same without any log partition: it can only be asked about histories that come with the question.
    ///
    /// # Errors
    /// As [`Standalone::open`].
    pub fn open_to_ask(job: JobSpec, reader: &Reader, dataset: &Path, threads: u32) -> Result<Self, Error> {
        let mut trainer = Setup::open(job, dataset, None, 1, threads as usize)?.build_to_ask()?;
        trainer.load(reader)?;
        Ok(Self { trainer, strangers: Vec::new(), alone: alone()? })
    }

    /// Loads a model on another dataset than the one in `before` that it was trained on, by a job that has its shape.
    ///
    /// # Errors
    /// As [`Standalone::open`], or the two datasets have no item in common.
    pub fn stand_in(
        job: JobSpec,
        parent: &Parent,
        before: &str,
        dataset: &Path,
        threads: u32,
    ) -> Result<Self, Error> {
        let mut alone = alone()?;
        let mut trainer = Setup::open(job, dataset, None, 1, threads as usize)?.build(&mut *alone)?;
        let strangers = stand_in(&mut trainer, parent, before, &mut *alone)?;
        Ok(Self { trainer, strangers, alone })
    }

    /// Judges the model on held-out events.
    ///
    /// # Errors
    /// The dataset is damaged.
    pub fn evaluate(&mut self, split: Split) -> Result<Evaluation, evaluate::Error> {
        evaluate(&mut self.trainer, split, Detail::Full, &mut *self.alone)
    }

    /// Judges a model that ranks items, and gives `visit` what each user's ranking came to, until that says to stop.
    ///
    /// # Errors
    /// The dataset is damaged, or it was stopped.
    pub fn evaluate_users(
        &mut self,
        split: Split,
        visit: &mut dyn FnMut(UserRank) -> bool,
    ) -> Result<Evaluation, evaluate::Error> {
        evaluate_users(&mut self.trainer, split, &self.strangers, visit, &mut *self.alone)
    }

    /// The best items for a user of a log partition, with reasons.
    ///
    /// # Errors
    /// The model's.
    pub fn recommend(
        &mut self,
        partition: &Partition,
        user: u32,
        k: usize,
    ) -> Result<Vec<Recommendation>, evaluate::Error> {
        recommend(&mut self.trainer, partition, user, k, &mut *self.alone)
    }

    /// The dataset.
    #[must_use]
    pub fn dataset(&self) -> &Dataset {
        &self.trainer.dataset
    }
}

/// The collectives of a world of one rank, which do no I/O; the listener is only what the type asks for.
fn alone() -> Result<Box<dyn Collective>, Error> {
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listener = TcpListener::bind(loopback)?;
    Ok(muster_collective::connect(Config {
        rank: 0,
        world_size: 1,
        job: String::new(),
        generation: 0,
        secret: [0; 16],
        listener: &listener,
        peers: vec![loopback],
        timeout: Duration::from_secs(60),
        silence: Duration::from_secs(60),
        max_message: Config::DEFAULT_MAX_MESSAGE,
        transport: Transport::Auto,
        abort: AbortHandle::new()?,
    })?)
}

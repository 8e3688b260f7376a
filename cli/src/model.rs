//! A finished model in this process: loaded from a checkpoint, whole, to be evaluated or asked.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use muster_collective::{AbortHandle, Collective, Config, Transport};
use muster_data::{Dataset, Split};
use muster_proto::config;
use muster_proto::job::JobSpec;
use muster_worker::checkpoint::{self, Reader};
use muster_worker::evaluate::baseline::{Baseline, evaluate_baseline};
use muster_worker::evaluate::{Detail, Report, evaluate};
use muster_worker::recommend::{Recommendation, recommend};
use muster_worker::train::{Setup, Trainer};

use crate::error::{Error, Kind};
use crate::run_record::address;

/// How to load and judge a model.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Compute threads.
    pub threads: u32,
    /// Whether items of the history are left out of rankings; the job's own word where absent.
    pub filter_seen: Option<bool>,
}

/// A model with the dataset it is asked about.
pub struct Model {
    /// The checkpoint that was loaded.
    pub reader: Reader,
    trainer: Trainer,
    alone: Box<dyn Collective>,
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model").field("location", &self.reader.location).finish_non_exhaustive()
    }
}

impl Model {
    /// Loads the best checkpoint of a run directory, or a checkpoint itself.
    ///
    /// # Errors
    /// Where there is none, it is damaged, or it was trained on another dataset.
    pub fn open(path: &Path, dataset: &Dataset, options: Options) -> Result<Self, Error> {
        let reader = checkpoint::find(&address(path)?, true)?;
        if reader.manifest.dataset != dataset.manifest().digest {
            let dir = dataset.dir();
            let message = format!(
                "{} is not the dataset that {} was trained on: its digest is {}, not {}",
                dir.display(),
                path.display(),
                dataset.manifest().digest,
                reader.manifest.dataset
            );
            return Err(Error::bad_input(message).with_file(dir).with_field("--dataset"));
        }
        let name = reader.file(muster_proto::checkpoint::MANIFEST_FILE).display().to_string();
        let mut job: JobSpec = config::parse(&reader.manifest.job, &name, &[])?;
        job.evaluation.filter_seen = options.filter_seen.unwrap_or(job.evaluation.filter_seen);
        let mut alone = alone()?;
        let mut trainer =
            Setup::open(job, dataset.dir(), None, 1, options.threads as usize)?.build(&mut *alone)?;
        trainer.load(&reader)?;
        Ok(Self { reader, trainer, alone })
    }

    /// The job that the model came from.
    pub fn job(&self) -> &JobSpec {
        &self.trainer.job
    }

    /// Judges the model on held-out events, beside popularity and an item-to-item Markov chain.
    ///
    /// # Errors
    /// Where the dataset is damaged.
    pub fn evaluate(&mut self, dataset: &Dataset, split: Split) -> Result<Report, Error> {
        let model = evaluate(&mut self.trainer, split, Detail::Full, &mut *self.alone)?;
        let mut report = Report { split: split_name(split).to_owned(), model, ..Report::default() };
        let job = &self.trainer.job;
        if ranks_items(job) {
            for (name, baseline) in [("popularity", Baseline::Popularity), ("markov", Baseline::Markov)] {
                let (ks, filter) = (&job.evaluation.ks, job.evaluation.filter_seen);
                let judged = evaluate_baseline(baseline, dataset, split, ks, filter)?;
                report.baselines.insert(name.to_owned(), judged.metrics);
            }
        }
        Ok(report)
    }

    /// The best items for a user, with reasons.
    ///
    /// # Errors
    /// Where the dataset does not know the user, or the model ranks no items.
    pub fn recommend(
        &mut self,
        dataset: &Dataset,
        user: &str,
        k: usize,
    ) -> Result<Vec<Recommendation>, Error> {
        if self.trainer.output_table.is_none() {
            let message = "the model predicts numbers and ranks no items; recommend from a model of items";
            return Err(Error::bad_input(message)
                .with_file(self.reader.location.address())
                .with_field("MODEL"));
        }
        let Some((partition, local)) = dataset.find_user(user)? else {
            let message =
                format!("user {user} is not in {}; ids are those of the raw logs", dataset.dir().display());
            return Err(Error::bad_input(message).with_field("--user"));
        };
        Ok(recommend(&mut self.trainer, &partition, local, k, &mut *self.alone)?)
    }
}

/// Whether a job's head ranks the items of a log of events.
pub fn ranks_items(job: &JobSpec) -> bool {
    use muster_proto::job::Head;
    matches!(job.model.head, Head::Softmax { .. } | Head::SampledSoftmax { .. })
}

/// The name of a split, as reports have it.
pub fn split_name(split: Split) -> &'static str {
    match split {
        Split::Train => "train",
        Split::Valid => "valid",
        Split::Test => "test",
    }
}

/// The collectives of a world of one rank, which do no I/O; the listener is only what the type asks for.
fn alone() -> Result<Box<dyn Collective>, Error> {
    let failed = |error: &(dyn std::error::Error + 'static)| Error::from_chain(Kind::Failed, error);
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listener = TcpListener::bind(loopback).map_err(|error| failed(&error))?;
    muster_collective::connect(Config {
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
        abort: AbortHandle::new().map_err(|error| failed(&error))?,
    })
    .map_err(|error| failed(&error))
}

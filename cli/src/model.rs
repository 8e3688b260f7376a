//! A finished model in this process: loaded from a checkpoint, whole, to be evaluated or asked.

use std::path::Path;

use muster_data::{Dataset, Items, Split};
use muster_proto::config;
use muster_proto::job::JobSpec;
use muster_worker::checkpoint::{self, Reader};
use muster_worker::evaluate::baseline::{Baseline, evaluate_baseline};
use muster_worker::evaluate::{Report, ranks_items};
use muster_worker::recommend::Recommendation;
use muster_worker::run_record::address;
use muster_worker::standalone::Standalone;

use crate::error::Error;

/// How to load and judge a model.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Compute threads.
    pub threads: u32,
    /// Whether items of the history are left out of rankings; the job's own word where absent.
    pub filter_seen: Option<bool>,
}

/// A model with the dataset it is asked about.
#[derive(Debug)]
pub struct Model {
    /// The checkpoint that was loaded.
    pub reader: Reader,
    loaded: Standalone,
}

impl Model {
    /// Loads the best checkpoint of a run directory, or a checkpoint itself, with the dataset's log partitions.
    ///
    /// # Errors
    /// Where there is none, it is damaged, or it was trained on another dataset.
    pub fn open(path: &Path, dataset: &Dataset, options: Options) -> Result<Self, Error> {
        let (reader, job) = find(path, dataset, options)?;
        let loaded = Standalone::open(job, &reader, dataset.dir(), options.threads)?;
        Ok(Self { reader, loaded })
    }

    /// Loads the model and none of the dataset's log partitions: it can only be asked about histories that it is given.
    ///
    /// # Errors
    /// As [`Model::open`], and where it reads numbers of events that no list of items has.
    pub fn open_to_ask(path: &Path, dataset: &Dataset, options: Options) -> Result<Self, Error> {
        let (reader, job) = find(path, dataset, options)?;
        if let Some(feature) = job.model.features.iter().find(|feature| feature.dim.is_none()) {
            let message = format!(
                "the model reads the number `{}` of each event, which a list of items does not say; ask with --user",
                feature.column
            );
            return Err(Error::bad_input(message).with_file(path).with_field("--history"));
        }
        let loaded = Standalone::open_to_ask(job, &reader, dataset.dir(), options.threads)?;
        Ok(Self { reader, loaded })
    }

    /// The job that the model came from.
    pub fn job(&self) -> &JobSpec {
        &self.loaded.trainer.job
    }

    /// Judges the model on held-out events, beside popularity and an item-to-item Markov chain.
    ///
    /// # Errors
    /// Where the dataset is damaged.
    pub fn evaluate(&mut self, dataset: &Dataset, split: Split) -> Result<Report, Error> {
        let model = self.loaded.evaluate(split)?;
        let mut report = Report { split: split_name(split).to_owned(), model, ..Report::default() };
        let job = self.job();
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
        self.check_ranks_items()?;
        let Some((partition, local)) = dataset.find_user(user)? else {
            let message =
                format!("user {user} is not in {}; ids are those of the raw logs", dataset.dir().display());
            return Err(Error::bad_input(message).with_field("--user"));
        };
        Ok(self.loaded.recommend(&partition, local, k)?)
    }

    /// The best items after a history, oldest event first, with reasons.
    ///
    /// # Errors
    /// Where the history is empty, or the model ranks no items.
    pub fn recommend_after(
        &mut self,
        (dataset, items): (&Dataset, &Items),
        history: &[u32],
        k: usize,
    ) -> Result<Vec<Recommendation>, Error> {
        self.check_ranks_items()?;
        if history.is_empty() {
            let message = "no item of the history is in the model's vocabulary; it has nothing to go by";
            return Err(Error::bad_input(message).with_field("--history"));
        }
        let partition = dataset.sequence(items, history);
        Ok(self.loaded.recommend(&partition, 0, k)?)
    }

    fn check_ranks_items(&self) -> Result<(), Error> {
        if self.loaded.trainer.output_table.is_some() {
            return Ok(());
        }
        let message = "the model predicts numbers and ranks no items; recommend from a model of items";
        Err(Error::bad_input(message).with_file(self.reader.location.address()).with_field("MODEL"))
    }
}

/// Finds the model, of this dataset, and the job that it came from.
fn find(path: &Path, dataset: &Dataset, options: Options) -> Result<(Reader, JobSpec), Error> {
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
    Ok((reader, job))
}

/// The name of a split, as reports have it.
pub fn split_name(split: Split) -> &'static str {
    match split {
        Split::Train => "train",
        Split::Valid => "valid",
        Split::Test => "test",
    }
}

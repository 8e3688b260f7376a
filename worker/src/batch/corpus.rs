//! The part of a dataset that one rank holds, cut into training samples.

use muster_data::{Dataset, Partition, Split};
use muster_kernels::dropout::RowKey;
use muster_proto::dataset::{DatasetKind, DatasetManifest};
use muster_proto::job::tables::MissingColumn;
use muster_proto::job::{BatchSpec, JobSpec, Window};
use muster_proto::sharding::micro_batch_of_partition;

use super::pack::MicroBatch;

/// Why the rank's part of the dataset cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The dataset cannot be read.
    #[error("cannot load the dataset: {0}")]
    Data(#[from] muster_data::Error),
    /// The job names a column that is not there.
    #[error(transparent)]
    Column(#[from] MissingColumn),
    /// A regression job got a log of events, or the other way round.
    #[error("the job's head needs a dataset of kind {needed}, but {name} is of kind {found}")]
    Kind {
        /// The dataset.
        name: String,
        /// What the head needs.
        needed: &'static str,
        /// What it is.
        found: &'static str,
    },
}

/// Bits of a sample's identity that tell windows of a user apart.
const WINDOW_BITS: u32 = 24;

/// Which columns of a partition the model reads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FeatureColumns {
    /// Indices into the partition's categorical columns.
    pub categorical: Vec<usize>,
    /// Indices into the partition's numeric columns.
    pub numeric: Vec<usize>,
    /// Index of the label among the numeric columns.
    pub label: Option<usize>,
}

/// How events become samples.
#[derive(Debug, Clone)]
pub struct Corpus {
    /// Which columns the model reads.
    pub features: FeatureColumns,
    batch: BatchSpec,
    series_width: Option<usize>,
}

/// A training sample, or a history: consecutive events of one user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Identity in the dataset: user and window.
    pub id: u64,
    /// Index of the partition within its group.
    pub partition: u32,
    /// First event, in the partition.
    pub start: u32,
    /// One past the last event.
    pub end: u32,
}

impl Sample {
    /// The user's number in the dataset.
    #[must_use]
    pub fn user(&self) -> u32 {
        (self.id >> WINDOW_BITS) as u32
    }
}

/// The log partitions that feed one micro-batch, and their samples in a fixed order.
#[derive(Debug, Clone)]
pub struct Group {
    /// The micro-batch.
    pub index: u32,
    /// Its partitions, ascending.
    pub partitions: Vec<Partition>,
    /// Its training samples.
    pub samples: Vec<Sample>,
}

impl Corpus {
    /// Resolves the columns that the job names.
    ///
    /// # Errors
    /// A column that the dataset lacks, or a head for another kind of dataset.
    pub fn new(job: &JobSpec, manifest: &DatasetManifest) -> Result<Self, Error> {
        let series = manifest.kind == DatasetKind::Series;
        if series != job.model.head.is_regression() {
            let (needed, found) = if series { ("events", "series") } else { ("series", "events") };
            return Err(Error::Kind { name: manifest.name.clone(), needed, found });
        }
        let categorical: Vec<&str> = manifest.categorical().map(|c| c.name.as_str()).collect();
        let numeric: Vec<&str> = manifest.numeric().map(|c| c.name.as_str()).collect();
        let find = |names: &[&str], kind: &'static str, column: &str| {
            names.iter().position(|name| *name == column).ok_or_else(|| MissingColumn {
                column: column.into(),
                kind,
                known: if names.is_empty() { "none".into() } else { names.join(", ") },
            })
        };
        let mut features = FeatureColumns::default();
        for feature in &job.model.features {
            match feature.dim {
                Some(_) => features.categorical.push(find(&categorical, "categorical", &feature.column)?),
                None => features.numeric.push(find(&numeric, "numeric", &feature.column)?),
            }
        }
        features.label = job.model.head.label().map(|l| find(&numeric, "numeric", l)).transpose()?;
        let series_width = series.then_some(numeric.len());
        Ok(Self { features, batch: job.batch.clone(), series_width })
    }

    /// Whether the dataset is a dense series.
    #[must_use]
    pub fn is_series(&self) -> bool {
        self.series_width.is_some()
    }

    /// Numeric columns of an input.
    #[must_use]
    pub fn numeric_width(&self) -> usize {
        self.series_width.unwrap_or(self.features.numeric.len())
    }

    /// Loads the partitions that feed micro-batch `index`.
    ///
    /// # Errors
    /// A partition that is missing or damaged.
    pub fn load_group(&self, dataset: &Dataset, index: u32) -> Result<Group, Error> {
        let all = 0..dataset.manifest().partitions.len() as u32;
        let mine = all.filter(|p| micro_batch_of_partition(*p, self.batch.micro_batches) == index);
        let partitions = mine.map(|p| dataset.load(p)).collect::<Result<Vec<_>, _>>()?;
        let mut samples = Vec::new();
        for (place, partition) in partitions.iter().enumerate() {
            for user in 0..partition.users() {
                if self.is_series() {
                    if partition.role(user) == Split::Train {
                        let range = partition.range(user);
                        samples.push(self.sample(partition, place, user, 0, range));
                    }
                } else {
                    self.windows(partition, place, user, &mut samples);
                }
            }
        }
        Ok(Group { index, partitions, samples })
    }

    /// A whole sequence of a series.
    #[must_use]
    pub fn whole(
        &self,
        partition: &Partition,
        place: usize,
        user: u32,
        events: std::ops::Range<usize>,
    ) -> Sample {
        self.sample(partition, place, user, 0, events)
    }

    /// The history of a held-out event: the last `max_len` events of `events`.
    #[must_use]
    pub fn history(
        &self,
        partition: &Partition,
        place: usize,
        user: u32,
        events: std::ops::Range<usize>,
    ) -> Sample {
        let start = events.end.saturating_sub(self.batch.max_len as usize).max(events.start);
        self.sample(partition, place, user, 0, start..events.end)
    }

    fn sample(
        &self,
        partition: &Partition,
        place: usize,
        user: u32,
        window: u64,
        events: std::ops::Range<usize>,
    ) -> Sample {
        let id = (u64::from(partition.first_user + user) << WINDOW_BITS) | window;
        Sample { id, partition: place as u32, start: events.start as u32, end: events.end as u32 }
    }

    /// Each training event but a user's first is the target of exactly one window, or of none beyond `last`.
    fn windows(&self, partition: &Partition, place: usize, user: u32, samples: &mut Vec<Sample>) {
        let events = partition.train(user);
        let max_len = self.batch.max_len as usize;
        match self.batch.window {
            Window::Last => {
                let start = events.end.saturating_sub(max_len + 1).max(events.start);
                if events.end - start >= 2 {
                    samples.push(self.sample(partition, place, user, 0, start..events.end));
                }
            }
            Window::All => {
                let starts = (events.start..events.end.saturating_sub(1)).step_by(max_len);
                for (window, start) in starts.enumerate() {
                    let end = (start + max_len + 1).min(events.end);
                    samples.push(self.sample(partition, place, user, window as u64, start..end));
                }
            }
        }
    }
}

impl Group {
    /// Appends event `t` of the sample to the batch's inputs.
    pub(super) fn push_event(&self, corpus: &Corpus, sample: &Sample, t: usize, batch: &mut MicroBatch) {
        let partition = &self.partitions[sample.partition as usize];
        let event = sample.start as usize + t;
        batch.row_keys.push(RowKey { sample: sample.id, position: t as u32 });
        if let Some(series) = &partition.series {
            let width = series.width as usize;
            batch.numeric.extend_from_slice(&series.features[event * width..(event + 1) * width]);
            return;
        }
        batch.items.push(partition.items[event]);
        for (column, ids) in corpus.features.categorical.iter().zip(&mut batch.categorical) {
            ids.push(partition.categorical[*column][event]);
        }
        for column in &corpus.features.numeric {
            batch.numeric.push(partition.numeric[*column][event]);
        }
    }

    /// Appends event `t` of the sample as a target.
    pub(super) fn push_target(&self, corpus: &Corpus, sample: &Sample, t: usize, batch: &mut MicroBatch) {
        let partition = &self.partitions[sample.partition as usize];
        let event = sample.start as usize + t;
        batch.targets.push(partition.items[event]);
        if let Some(label) = corpus.features.label {
            batch.labels.push(partition.numeric[label][event]);
        }
    }

    /// Appends the target of a series: the value of its last row.
    pub(super) fn push_series_target(&self, sample: &Sample, batch: &mut MicroBatch) {
        if let Some(series) = &self.partitions[sample.partition as usize].series {
            batch.labels.push(series.targets[sample.end as usize - 1]);
        }
    }
}

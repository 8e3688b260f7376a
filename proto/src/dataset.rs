//! The dataset: how logs are read, cleaned and cut, and what a prepared dataset holds.
//!
//! Invariants: which log partition holds a user follows from the user's key and the number of partitions
//! alone; a manifest says everything a reader relies on, and its digest covers all of it.

mod cleaning;
mod columns;
mod features;
mod inputs;
mod manifest;
mod rules;
mod shop;
mod split;
pub mod time;

use serde::{Deserialize, Serialize};

pub use cleaning::{CleaningSpec, Duplicates, OnInvalid};
pub use columns::{ColumnsSpec, EventFeature, TimeFormat, split_name};
pub use features::{Derived, FeaturesSpec};
pub use inputs::{Format, Inputs, ItemTableSpec, SourceSpec};
pub use manifest::{
    CleaningReport, Column, ColumnKind, ColumnOf, DatasetManifest, FileEntry, LeftOut, ManifestError,
    PartitionEntry, SplitCounts,
};
pub use rules::{BotAction, BotsSpec, RangeSpec};
pub use shop::{Compression, DirtKind, DirtSpec, LogFormat, ShopSpec};
pub use split::{SplitKind, SplitSpec, VocabularySpec};

use crate::config::reference::{self, Section, section};
use crate::config::{Problems, Spec};
use crate::units::ByteSize;

/// The most log partitions that a dataset can have.
pub const MAX_PARTITIONS: u32 = 4096;

crate::documented! {
    /// A dataset file: which logs to read, how to clean them, and how to cut them into log partitions.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct DatasetSpec {
        /// Name of the dataset, as reports show it.
        pub name: String,
        /// `events`: users' sequences of items. `series`: sequences of numbers with a target, for regression.
        #[serde(default)]
        pub kind: DatasetKind,
        /// Input file or files, read in this order; relative to this file, `${NAME}` is an environment variable. A folder
        /// is all files below it, `*`, `?`, `[a-z]` and `**` stand for names; both in the order of the bytes of their
        /// paths. Likewise objects of a store: `s3://BUCKET/PATH`, `gs://`, `az://`, with endpoint and credentials from the
        /// environment under the names that the owners' tools use. Files may be compressed with gzip or zstd, which their
        /// content tells.
        pub input: Inputs,
        /// Format of the input: `csv`, `tsv`, `semicolon`, `jsonl`, `parquet`, or `lines` (user item item ...).
        pub format: Format,
        /// Whether the first line names the columns; without it they are named 1, 2, 3 and so on.
        #[serde(default = "yes")]
        pub header: bool,
        /// Number of log partitions; fixed for the life of the dataset.
        #[serde(default = "default_partitions")]
        pub partitions: u32,
        /// About the most memory that preparation takes, whatever the size of the input; it changes no byte of the dataset. The
        /// distinct items and categories and one log partition have to fit.
        #[serde(default = "default_memory")]
        pub memory: ByteSize,
        /// Where the input comes from and under which terms.
        #[serde(default)]
        pub source: SourceSpec,
        /// Which columns are read, and as what.
        #[serde(default)]
        pub columns: ColumnsSpec,
        /// Which rows are dropped.
        #[serde(default)]
        pub cleaning: CleaningSpec,
        /// What makes a sequence.
        #[serde(default)]
        pub sequences: SequencesSpec,
        /// What is held out.
        #[serde(default)]
        pub split: SplitSpec,
        /// Which items get an id of their own.
        #[serde(default)]
        pub vocabulary: VocabularySpec,
        /// Columns that are derived from the log.
        #[serde(default)]
        pub features: FeaturesSpec,
        /// Tables with attributes of items.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub item_tables: Vec<ItemTableSpec>,
    }
}

/// What the sequences of a dataset are made of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DatasetKind {
    /// Events of users with items.
    #[default]
    Events,
    /// Rows of numbers with a target.
    Series,
}

crate::documented! {
    /// What makes a sequence.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(default)]
    pub struct SequencesSpec {
        /// `user`: all events of a user. `session`: all events of a session.
        pub group_by: GroupBy,
        /// Sequences with fewer events are dropped, after all other rules.
        pub min_events: u32,
    }
}

impl Default for SequencesSpec {
    fn default() -> Self {
        Self { group_by: GroupBy::User, min_events: 1 }
    }
}

/// The key that events of one sequence share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupBy {
    /// The user column.
    User,
    /// The session column.
    Session,
}

fn yes() -> bool {
    true
}

fn default_partitions() -> u32 {
    64
}

fn default_memory() -> ByteSize {
    ByteSize::from_mib(2048)
}

impl DatasetSpec {
    /// The sections of the reference page.
    #[must_use]
    pub fn sections() -> Vec<Section> {
        vec![
            section::<Self>(""),
            section::<SourceSpec>("source"),
            section::<ColumnsSpec>("columns"),
            section::<CleaningSpec>("cleaning"),
            section::<RangeSpec>("cleaning.ranges[]"),
            section::<BotsSpec>("cleaning.bots"),
            section::<SequencesSpec>("sequences"),
            section::<SplitSpec>("split"),
            section::<VocabularySpec>("vocabulary"),
            section::<FeaturesSpec>("features"),
            section::<ItemTableSpec>("item_tables[]"),
        ]
    }

    /// The reference page of dataset files, in Markdown.
    ///
    /// # Errors
    /// A default cannot be written as TOML.
    pub fn reference_page() -> Result<String, toml::ser::Error> {
        reference::page("Dataset file", &Self::sections(), &Self::example())
    }

    /// Every table with its defaults; what has none is empty.
    fn example() -> Self {
        let input = Inputs::new(vec![]);
        let table = ItemTableSpec {
            input: input.clone(),
            format: Format::Csv,
            header: true,
            key: String::new(),
            categorical: vec![],
            separator: None,
            optional: false,
        };
        let range = RangeSpec { column: String::new(), min: None, max: None };
        Self {
            name: String::new(),
            kind: DatasetKind::default(),
            input,
            format: Format::Csv,
            header: true,
            partitions: default_partitions(),
            memory: default_memory(),
            source: SourceSpec::default(),
            columns: ColumnsSpec::default(),
            cleaning: CleaningSpec { ranges: vec![range], ..CleaningSpec::default() },
            sequences: SequencesSpec::default(),
            split: SplitSpec::default(),
            vocabulary: VocabularySpec::default(),
            features: FeaturesSpec::default(),
            item_tables: vec![table],
        }
    }

    fn check_columns(&self, problems: &mut Problems) {
        let (columns, is_lines) = (&self.columns, self.format == Format::Lines);
        let is_series = self.kind == DatasetKind::Series;
        let missing = |key: &str| format!("is required: the name of the column with the {key}");
        match self.sequences.group_by {
            GroupBy::User => {
                problems.check(is_lines || columns.user.is_some(), "user", || missing("user's key"));
            }
            GroupBy::Session => {
                problems.check(columns.session.is_some(), "session", || missing("session's key"));
            }
        }
        problems.check(is_lines || is_series || columns.item.is_some(), "item", || missing("item's key"));
        problems.check(!is_series || columns.target.is_some(), "target", || missing("target"));
        problems
            .check(!is_series || !columns.numeric.is_empty(), "numeric", || missing("inputs of the series"));
        problems.check(is_series || columns.target.is_none(), "target", || "is for `kind = \"series\"` only");
        let categorical = columns.features().iter().any(|feature| feature.kind == ColumnKind::Categorical);
        problems.check(!is_series || !categorical, "categorical", || "a series holds numbers only");
        columns.validate(problems);
    }
}

impl Spec for DatasetSpec {
    fn validate(&self, problems: &mut Problems) {
        problems.check(!self.name.trim().is_empty(), "name", || "is empty");
        problems.check((1..=MAX_PARTITIONS).contains(&self.partitions), "partitions", || {
            format!("{} is not in 1..={MAX_PARTITIONS}", self.partitions)
        });
        problems.check(self.memory >= ByteSize::from_mib(128), "memory", || "is under 128 MiB");
        problems.check(!self.input.is_empty(), "input", || "names no file");
        let is_series = self.kind == DatasetKind::Series;
        problems.check(
            !(is_series && self.format == Format::Lines),
            "format",
            || "`lines` holds items, a series needs columns",
        );
        problems.within("columns", |problems| self.check_columns(problems));
        let columns = &self.columns;
        problems.within("cleaning", |problems| self.cleaning.validate(problems, columns, is_series));
        problems.within("split", |problems| self.split.validate(problems, is_series, columns.time.is_some()));
        problems.within("features", |problems| self.features.validate(problems, columns, is_series));
        problems.check(
            !is_series || self.vocabulary.min_train_events == 0,
            "vocabulary.min_train_events",
            || "a series has no items",
        );
        problems.check(!is_series || self.item_tables.is_empty(), "item_tables", || "a series has no items");
        for (idx, table) in self.item_tables.iter().enumerate() {
            problems.within(&format!("item_tables.{idx}"), |problems| table.validate(problems));
        }
        self.check_names(problems);
    }
}

impl DatasetSpec {
    /// Jobs refer to columns by name, so that no two may share one.
    fn check_names(&self, problems: &mut Problems) {
        let mut seen = std::collections::BTreeSet::from(["item".to_owned()]);
        for feature in self.columns.features() {
            problems.check(seen.insert(feature.name.clone()), "columns", || {
                format!("two columns are named `{}`", feature.name)
            });
        }
        for (idx, derived) in self.features.derive.iter().enumerate() {
            problems.check(seen.insert(derived.name().to_owned()), &format!("features.derive.{idx}"), || {
                format!("two columns are named `{}`", derived.name())
            });
        }
        for (idx, table) in self.item_tables.iter().enumerate() {
            for name in table.names() {
                problems.check(
                    seen.insert(name.to_owned()),
                    &format!("item_tables.{idx}.categorical"),
                    || format!("two columns are named `{name}`"),
                );
            }
        }
    }
}

/// The log partition that holds a user: the first 8 bytes of BLAKE3 of the key, little endian, modulo P.
#[must_use]
pub fn partition_of(user_key: &str, partitions: u32) -> u32 {
    let hash = u64::from_le_bytes(hash_part(user_key, 0));
    u32::try_from(hash % u64::from(partitions)).unwrap_or_default()
}

/// Where a whole sequence falls in 0..1, by bytes 8 to 15 of BLAKE3 of its key: under `test` it is test,
/// then validation, else training.
#[must_use]
pub fn holdout_position(user_key: &str) -> f64 {
    // 53 bits are what an f64 holds exactly.
    (u64::from_le_bytes(hash_part(user_key, 8)) >> 11) as f64 / (1_u64 << 53) as f64
}

fn hash_part(key: &str, start: usize) -> [u8; 8] {
    let hash = blake3::hash(key.as_bytes());
    let mut part = [0; 8];
    part.copy_from_slice(&hash.as_bytes()[start..start + 8]);
    part
}

#[cfg(test)]
mod tests;

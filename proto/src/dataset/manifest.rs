//! What a prepared dataset holds: the file that is written last and read first.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{DatasetKind, SourceSpec, SplitSpec};

/// The manifest of a prepared dataset, `manifest.json` in its folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DatasetManifest {
    /// Version of this schema; readers accept [`DatasetManifest::SCHEMA_VERSION`] only.
    pub schema_version: u32,
    /// Name of the dataset.
    pub name: String,
    /// What its sequences are made of.
    pub kind: DatasetKind,
    /// Where it comes from and under which terms.
    pub source: SourceSpec,
    /// Features besides the item, in the order of a partition's vectors.
    pub columns: Vec<Column>,
    /// Number of sequences.
    pub users: u32,
    /// Number of items; 0 for a series.
    pub items: u32,
    /// Whether item 0 stands for all items that are too rare for an id of their own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unknown_item: bool,
    /// Number of events, or rows of a series.
    pub events: u64,
    /// What is held out, and how much.
    pub split: SplitSpec,
    /// Number of events (of series: sequences) in each part of the split.
    pub splits: SplitCounts,
    /// First and last time of an event in milliseconds since 1970; none without times.
    pub time_range: Option<(i64, i64)>,
    /// What cleaning did.
    pub cleaning: CleaningReport,
    /// The log partitions, by index.
    pub partitions: Vec<PartitionEntry>,
    /// The items' keys, counts and attributes; none for a series.
    pub items_file: Option<FileEntry>,
    /// The vocabularies of categorical columns, in the order of those columns.
    pub vocabularies: Vec<FileEntry>,
    /// BLAKE3 of this manifest with this field empty: covers every file by its digest.
    pub digest: String,
}

/// A feature of events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its name, as jobs refer to it.
    pub name: String,
    /// What it holds.
    pub kind: ColumnKind,
    /// Whose property it is.
    pub of: ColumnOf,
    /// Number of values including the unknown one, 0; 0 for a numeric column.
    pub vocabulary: u32,
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnKind {
    /// Ids into a vocabulary; 0 is unknown.
    Categorical,
    /// Numbers, none of them NaN or infinite.
    Numeric,
}

/// Whose property a column is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnOf {
    /// The event's own.
    Event,
    /// The item's: the same in every event with that item.
    Item,
}

/// How many events each part of the split has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitCounts {
    /// Events that training sees.
    pub train: u64,
    /// Events held out for validation.
    pub valid: u64,
    /// Events held out for test.
    pub test: u64,
}

/// What cleaning did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CleaningReport {
    /// Rows (of `lines`: items) in the input.
    pub rows_in: u64,
    /// Rows that became events.
    pub rows_out: u64,
    /// Rows dropped by each rule that dropped any.
    pub dropped: BTreeMap<String, u64>,
    /// Files that could not be read as a whole; none of their rows are counted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
}

/// A file that could not be read as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Its path, below the dataset file's folder where it lies there.
    pub file: String,
    /// What was wrong with it.
    pub why: String,
}

impl CleaningReport {
    /// Adds what another report counts.
    pub fn add(&mut self, other: &Self) {
        self.rows_in += other.rows_in;
        self.rows_out += other.rows_out;
        other.dropped.iter().for_each(|(rule, rows)| self.drop_rows(rule, *rows));
        self.left_out.extend(other.left_out.iter().cloned());
    }

    /// Counts `rows` dropped by `rule`.
    pub fn drop_rows(&mut self, rule: &str, rows: u64) {
        if rows > 0 {
            *self.dropped.entry(rule.to_owned()).or_default() += rows;
        }
    }
}

/// A file of the dataset.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Its name in the dataset's folder.
    pub file: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// Its BLAKE3, in hexadecimal.
    pub digest: String,
}

/// A log partition.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionEntry {
    /// Its file's name in the dataset's folder.
    pub file: String,
    /// Its file's size in bytes.
    pub bytes: u64,
    /// Its file's BLAKE3, in hexadecimal.
    pub digest: String,
    /// Number of users in it.
    pub users: u32,
    /// Global index of its first user.
    pub first_user: u32,
    /// Number of events in it.
    pub events: u64,
}

/// Why a manifest is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The text is not a manifest.
    #[error("is not a dataset manifest: {source}")]
    Malformed {
        /// What the JSON reader found.
        source: serde_json::Error,
    },
    /// Another version of Muster wrote it.
    #[error(
        "has schema version {found}, this muster reads {}; prepare the dataset again",
        DatasetManifest::SCHEMA_VERSION
    )]
    Version {
        /// The version it has.
        found: u64,
    },
    /// Its own digest does not fit.
    #[error(
        "was changed after it was written: digest is {found}, {expected} was noted; prepare the dataset again"
    )]
    Digest {
        /// The digest of what is there.
        found: String,
        /// The digest that was noted.
        expected: String,
    },
    /// Its numbers contradict each other.
    #[error("contradicts itself: {what}; prepare the dataset again")]
    Inconsistent {
        /// Which numbers.
        what: String,
    },
}

impl DatasetManifest {
    /// The version of the schema that this program writes and reads.
    pub const SCHEMA_VERSION: u32 = 1;
    /// The manifest's name in the dataset's folder.
    pub const FILE: &'static str = "manifest.json";

    /// The column named `name`.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The categorical columns, in the order of `Partition::categorical`.
    pub fn categorical(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(|column| column.kind == ColumnKind::Categorical)
    }

    /// The numeric columns, in the order of `Partition::numeric`.
    pub fn numeric(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(|column| column.kind == ColumnKind::Numeric)
    }

    /// Rows that an embedding table for `column` needs: items for `item`, else the vocabulary; none where
    /// there is no such categorical column.
    #[must_use]
    pub fn rows_of(&self, column: &str) -> Option<u64> {
        if column == "item" {
            return (self.kind == DatasetKind::Events).then_some(u64::from(self.items));
        }
        self.categorical().find(|known| known.name == column).map(|known| u64::from(known.vocabulary))
    }

    /// Notes the digest of everything else in the manifest.
    ///
    /// # Errors
    /// The manifest cannot be written as JSON.
    pub fn seal(&mut self) -> Result<(), serde_json::Error> {
        self.digest = self.own_digest()?;
        Ok(())
    }

    /// Writes the manifest as JSON for people and programs.
    ///
    /// # Errors
    /// The manifest cannot be written as JSON.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }

    /// Reads a manifest and checks its version, its digest and its sums.
    ///
    /// # Errors
    /// The text is no manifest, of another version, was changed, or contradicts itself.
    pub fn from_json(text: &str) -> Result<Self, ManifestError> {
        let malformed = |source| ManifestError::Malformed { source };
        let value: serde_json::Value = serde_json::from_str(text).map_err(malformed)?;
        // Another version may have other fields, so it is looked at before they are.
        let version = value.get("schema_version").and_then(serde_json::Value::as_u64);
        if let Some(found) = version.filter(|version| *version != u64::from(Self::SCHEMA_VERSION)) {
            return Err(ManifestError::Version { found });
        }
        let manifest: Self = serde_json::from_value(value).map_err(malformed)?;
        let found = manifest.own_digest().map_err(malformed)?;
        if found != manifest.digest {
            return Err(ManifestError::Digest { found, expected: manifest.digest });
        }
        manifest.check_sums()?;
        Ok(manifest)
    }

    fn own_digest(&self) -> Result<String, serde_json::Error> {
        let unsealed = Self { digest: String::new(), ..self.clone() };
        Ok(blake3::hash(serde_json::to_string(&unsealed)?.as_bytes()).to_hex().to_string())
    }

    fn check_sums(&self) -> Result<(), ManifestError> {
        let inconsistent = |what: String| Err(ManifestError::Inconsistent { what });
        let mut next_user = 0_u64;
        for (idx, partition) in self.partitions.iter().enumerate() {
            if u64::from(partition.first_user) != next_user {
                return inconsistent(format!("partition {idx} starts at user {}", partition.first_user));
            }
            next_user += u64::from(partition.users);
        }
        let events: u64 = self.partitions.iter().map(|partition| partition.events).sum();
        if next_user != u64::from(self.users) || events != self.events {
            return inconsistent(format!(
                "partitions have {next_user} users and {events} events, the whole has {} and {}",
                self.users, self.events
            ));
        }
        let categorical = self.categorical().count();
        if categorical != self.vocabularies.len() {
            return inconsistent(format!(
                "{categorical} categorical columns, {} vocabularies",
                self.vocabularies.len()
            ));
        }
        Ok(())
    }
}

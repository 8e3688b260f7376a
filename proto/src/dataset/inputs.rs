//! Which files are read, in which format, and where they come from.

use std::fmt;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::columns::split_name;
use crate::config::Problems;

/// How a file is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Comma-separated, with quotes.
    Csv,
    /// Tab-separated, without quotes.
    Tsv,
    /// Separated by `;`, with quotes.
    Semicolon,
    /// One JSON object a line.
    Jsonl,
    /// Apache Parquet.
    Parquet,
    /// One user a line, `user item item ...` in the order of time.
    Lines,
    /// One JSON object for the whole file, key to value or list of values; for tables of items only.
    JsonMap,
}

/// One path or several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inputs(Vec<String>);

impl Inputs {
    /// These paths.
    #[must_use]
    pub fn new(paths: Vec<String>) -> Self {
        Self(paths)
    }

    /// The paths as they are written, variables included.
    #[must_use]
    pub fn paths(&self) -> &[String] {
        &self.0
    }

    /// Whether there is no path, or an empty one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty() || self.0.iter().any(|path| path.trim().is_empty())
    }
}

impl<'de> Deserialize<'de> for Inputs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PathsVisitor;
        impl<'de> Visitor<'de> for PathsVisitor {
            type Value = Inputs;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a path or an array of paths")
            }

            fn visit_str<E: serde::de::Error>(self, path: &str) -> Result<Inputs, E> {
                Ok(Inputs(vec![path.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Inputs, A::Error> {
                let mut paths = Vec::new();
                while let Some(path) = items.next_element::<String>()? {
                    paths.push(path);
                }
                Ok(Inputs(paths))
            }
        }
        deserializer.deserialize_any(PathsVisitor)
    }
}

crate::documented! {
    /// Where the input comes from and under which terms; shown when a file is not found.
    #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(default)]
    pub struct SourceSpec {
        /// What it is, in a sentence.
        pub about: String,
        /// How to get it: an address, a command.
        pub get: String,
        /// Its licence, as its owner states it.
        pub licence: String,
    }
}

crate::documented! {
    /// A table with attributes of items; an item that it lacks has none.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct ItemTableSpec {
        /// Input file or files, as for the events.
        pub input: Inputs,
        /// Format of the input; besides those of events, `json_map` (item to value or list of values).
        pub format: Format,
        /// Whether the first line names the columns.
        #[serde(default = "super::yes")]
        pub header: bool,
        /// The column with the item's key; not for `json_map`.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        pub key: String,
        /// The columns that become attributes, as `column` or `name=column`; of `json_map`, the one name to give.
        pub categorical: Vec<String>,
        /// What separates several values in one field; without it a field is one value.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub separator: Option<String>,
        /// Whether items go without these attributes where the file is not there; otherwise that is an error.
        #[serde(default)]
        pub optional: bool,
    }
}

impl ItemTableSpec {
    /// The names of the attributes in the dataset.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.categorical.iter().map(|text| split_name(text).0)
    }

    /// The columns of the attributes in the input.
    pub fn inputs(&self) -> impl Iterator<Item = &str> {
        self.categorical.iter().map(|text| split_name(text).1)
    }

    pub(super) fn validate(&self, problems: &mut Problems) {
        let is_map = self.format == Format::JsonMap;
        problems.check(!self.input.is_empty(), "input", || "names no file");
        problems.check(self.format != Format::Lines, "format", || "`lines` has no attributes");
        problems.check(
            is_map || !self.key.is_empty(),
            "key",
            || "is required: the column with the item's key",
        );
        problems.check(!self.categorical.is_empty(), "categorical", || "names no attribute");
        problems.check(
            !is_map || self.categorical.len() < 2,
            "categorical",
            || "a `json_map` has one attribute",
        );
        problems.check(
            self.separator.as_ref().is_none_or(|text| !text.is_empty()),
            "separator",
            || "is empty",
        );
    }
}

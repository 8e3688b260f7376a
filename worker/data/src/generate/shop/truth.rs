//! What is in a generated log: the counts that a cleaning report has to find.

use std::collections::BTreeMap;

use muster_proto::dataset::DirtKind;
use serde::{Deserialize, Serialize};

/// The truth about a log; `truth.json` beside it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Truth {
    /// Clean events: what is left when all dirt is dropped.
    pub events: u64,
    /// Rows in all files.
    pub rows: u64,
    /// Rows of each kind of dirt.
    pub planted: BTreeMap<DirtKind, u64>,
    /// Rows that each cleaning rule of the dataset file drops.
    pub dropped: BTreeMap<String, u64>,
    /// The files, in the order of time.
    pub files: Vec<String>,
    /// Bytes of all files.
    pub bytes: u64,
}

impl Truth {
    /// Counts `rows` of a kind.
    pub(super) fn plant(&mut self, kind: DirtKind, rows: u64) {
        *self.planted.entry(kind).or_default() += rows;
        if let Some(rule) = kind.rule() {
            *self.dropped.entry(rule.to_owned()).or_default() += rows;
        }
    }

    pub(super) fn add(&mut self, part: &Self) {
        self.events += part.events;
        self.rows += part.rows;
        part.planted.iter().for_each(|(kind, rows)| *self.planted.entry(*kind).or_default() += rows);
        part.dropped.iter().for_each(|(rule, rows)| *self.dropped.entry(rule.clone()).or_default() += rows);
    }
}

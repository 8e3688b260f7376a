//! The report of an evaluation: the model beside its baselines.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::Evaluation;

/// The model beside its baselines on one split.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// `test` or `valid`.
    pub split: String,
    /// The model.
    #[serde(flatten)]
    pub model: Evaluation,
    /// Baselines by name.
    pub baselines: BTreeMap<String, BTreeMap<String, f64>>,
}

/// The report as CSV: a row a metric, a column for the model and for each baseline.
#[must_use]
pub fn to_csv(report: &Report) -> String {
    let mut csv = String::from("metric,model");
    for name in report.baselines.keys() {
        let _ = write!(csv, ",{name}");
    }
    csv.push('\n');
    for (metric, value) in &report.model.metrics {
        let _ = write!(csv, "{metric},{value}");
        for baseline in report.baselines.values() {
            match baseline.get(metric) {
                Some(value) => drop(write!(csv, ",{value}")),
                None => csv.push(','),
            }
        }
        csv.push('\n');
    }
    csv
}

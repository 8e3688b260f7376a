//! What others measured, as workloads: MLPerf DLRM-DCNv2 by submission, NVIDIA's synthetic models.
//!
//! A row whose hardware or tables are not known is kept, with the reason why it is not forecast.

mod mlperf;
mod synthetic;
mod system;

pub use mlperf::mlperf;
pub use synthetic::nv_synth;

use muster_proto::capacity::{DenseSpec, RunSpec, Software, TableSpec};

use super::place::place;
use super::scores::{Scores, scores};
use crate::cost::{Cluster, Constants, Workload};

/// Why a file of measurements cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A column of the CSV is missing.
    #[error("has no column {column}")]
    Column {
        /// The column.
        column: &'static str,
    },
    /// A cell is no number.
    #[error("line {line}: {column} `{text}` is no number")]
    Cell {
        /// The line, from 1.
        line: usize,
        /// The column.
        column: &'static str,
        /// What is there.
        text: String,
    },
    /// A line of the CSV has more or fewer cells than its header.
    #[error("line {line} has {cells} cells, its header {columns}")]
    Cells {
        /// The line, from 1.
        line: usize,
        /// How many it has.
        cells: usize,
        /// How many the header has.
        columns: usize,
    },
    /// The JSON is none.
    #[error("is no JSON: {source}")]
    Json {
        /// What the reader found.
        source: serde_json::Error,
    },
    /// The JSON lacks something.
    #[error("has no {what}")]
    Lacks {
        /// What is missing.
        what: &'static str,
    },
    /// A measurement of the JSON is none.
    #[error("measured.{model}: {what}")]
    Measured {
        /// The model.
        model: String,
        /// What is wrong with it.
        what: String,
    },
}

/// A measured step, and what it is a step of.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// Name of the row.
    pub name: String,
    /// Measured seconds of a step.
    pub measured: f64,
    /// What ran, or why it is not known to the catalogue.
    pub case: Result<Case, String>,
}

/// A workload on a cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// The tables.
    pub tables: Vec<TableSpec>,
    /// The dense part.
    pub dense: DenseSpec,
    /// The run.
    pub run: RunSpec,
    /// The cluster.
    pub cluster: Cluster,
}

/// A point with its forecast.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// Name of the row.
    pub name: String,
    /// The device's name and how many of them.
    pub devices: Option<(&'static str, u32)>,
    /// Measured seconds.
    pub measured: f64,
    /// Forecast seconds, or why there is none.
    pub forecast: Result<f64, String>,
}

/// Forecasts every point with one set of constants, and scores those that have a forecast.
#[must_use]
pub fn judge(points: &[Point], constants: Constants) -> (Vec<Judged>, Option<Scores>) {
    let judged: Vec<Judged> = points
        .iter()
        .map(|point| Judged {
            name: point.name.clone(),
            devices: point.case.as_ref().ok().map(|c| (c.cluster.device.name, c.cluster.world_size)),
            measured: point.measured,
            forecast: point.case.as_ref().map_err(Clone::clone).and_then(|case| forecast(case, constants)),
        })
        .collect();
    let pairs: Vec<(f64, f64)> =
        judged.iter().filter_map(|row| Some((*row.forecast.as_ref().ok()?, row.measured))).collect();
    let scores = scores(&pairs);
    (judged, scores)
}

fn forecast(case: &Case, constants: Constants) -> Result<f64, String> {
    let workload = Workload::new(&case.tables, &case.dense, &case.run, constants);
    place(&workload, &case.cluster).map(|placed| placed.step.seconds).map_err(|error| error.to_string())
}

fn run(batch: u64, software: Software) -> RunSpec {
    RunSpec {
        batch,
        samples: batch,
        epochs: 1.0,
        software,
        deadline: None,
        budget: None,
        checkpoint: std::time::Duration::from_secs(30),
    }
}

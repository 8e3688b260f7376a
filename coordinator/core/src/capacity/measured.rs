//! What others measured, as workloads: MLPerf DLRM-DCNv2 by submission, NVIDIA's synthetic models.
//!
//! A row whose hardware is not in the catalogue is kept, with the reason why it is not forecast.

use muster_proto::capacity::{DenseSpec, Device, Precision, RunSpec, Software, TableSpec, device};
use serde_json::Value;

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

/// The device of an MLPerf submission by its name of system or platform: (card, devices of a node, nodes).
///
/// The measured set names the card only where the submitter put it into the directory's name. Of the rest, products that ship with
/// an HGX H100 board alone are listed (by the vendors' product names; the system descriptions of the rounds were not at hand).
const SYSTEMS: &[(&str, &str, u32, u32)] = &[
    ("2xXE8640x4H100-SXM-80GB", "h100_sxm", 4, 2),
    ("XE8640x4H100-SXM-80GB", "h100_sxm", 4, 1),
    ("XE9640x4H100-SXM-80GB", "h100_sxm", 4, 1),
    ("XE9680x8A100-SXM-80GB", "a100_sxm", 8, 1),
    ("XE9680x8H100-SXM-80GB", "h100_sxm", 8, 1),
    ("G593-SD0_hugectr", "h100_sxm", 8, 1),
    ("G593-ZD2_hugectr", "h100_sxm", 8, 1),
    ("dgxh100_n16_ngc23.04_merlin_hugectr", "h100_sxm", 8, 16),
    ("dgxh100_n8_ngc23.04_merlin_hugectr", "h100_sxm", 8, 8),
    ("dgxh100_ngc23.04_merlin_hugectr", "h100_sxm", 8, 1),
    ("eos_n16_ngc23.09_merlin_hugectr", "h100_sxm", 8, 16),
    ("eos_n8_ngc23.09_merlin_hugectr", "h100_sxm", 8, 8),
    ("eos_ngc23.09_merlin_hugectr", "h100_sxm", 8, 1),
    ("SYS-421GU-TNX", "h100_sxm", 4, 1),
    ("SYS-421GU-TNXR", "h100_sxm", 4, 1),
    ("ESC-N8-E11", "h100_sxm", 8, 1),
    ("D74H-7U", "h100_sxm", 8, 1),
    ("AS-8125GS-TNHR", "h100_sxm", 8, 1),
    ("SYS-821GE-TNHR", "h100_sxm", 8, 1),
];

fn system_of(name: &str) -> Result<Cluster, String> {
    let found = SYSTEMS.iter().find(|(system, ..)| *system == name);
    if let Some((_, card, per_node, nodes)) = found {
        let device: Device = *device::device(card).ok_or_else(|| format!("no device {card}"))?;
        return Ok(Cluster::new(device, *nodes, *per_node));
    }
    let upper = name.to_uppercase();
    Err(if upper.contains("SPR") {
        "CPUs of kind Sapphire Rapids with the reference program are not in the catalogue".into()
    } else if upper.contains("PCIE") {
        "H100 on PCI Express is not in the catalogue".into()
    } else if upper.contains("L40") {
        "L40 and L40S without NVLink: their collectives were never measured, so there is no curve to forecast from".into()
    } else {
        format!("system {name} is not in the catalogue: its cards are not known to be A100 or H100 SXM")
    })
}

/// The dense part of MLPerf DLRM-DCNv2: bottom MLP, three cross layers of rank 512 over 27 vectors of 128, top MLP.
fn dcnv2_dense() -> DenseSpec {
    let width = 27 * 128;
    let mut mlps = vec![vec![13, 512, 256, 128], vec![width, 1024, 1024, 512, 256, 1]];
    mlps.extend(std::iter::repeat_n(vec![width, 512, width], 3));
    DenseSpec { precision: Precision::F16, mlps, ..DenseSpec::default() }
}

/// Reads `mlperf_dlrm_dcnv2_measured.csv`, over the tables of `mlperf_dlrm_dcnv2_26.csv`.
///
/// # Errors
/// A missing column, a malformed number.
pub fn mlperf(text: &str, tables: &[TableSpec]) -> Result<Vec<Point>, Error> {
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let header: Vec<&str> = lines.next().map_or(Vec::new(), |(_, line)| line.split(',').collect());
    let at =
        |column: &'static str| header.iter().position(|name| *name == column).ok_or(Error::Column { column });
    let (round, submitter, system) = (at("mlperf_round")?, at("submitter")?, at("system_dir")?);
    let (batch, step) = (at("global_batch")?, at("median_train_ms_per_step_between_evals")?);
    let mut points = Vec::new();
    for (idx, line) in lines {
        let cells: Vec<&str> = line.split(',').collect();
        let cell = |column: usize| cells.get(column).copied().unwrap_or_default();
        let number = |column: usize, name: &'static str| {
            let text = cell(column);
            text.parse::<f64>().ok().filter(|number| *number > 0.0).ok_or_else(|| Error::Cell {
                line: idx + 1,
                column: name,
                text: text.to_owned(),
            })
        };
        let batch = number(batch, "global_batch")?;
        let measured = number(step, "median_train_ms_per_step_between_evals")? / 1e3;
        points.push(Point {
            name: format!("v{} {} {}", cell(round), cell(submitter), cell(system)),
            measured,
            case: system_of(cell(system)).map(|cluster| Case {
                tables: tables.to_vec(),
                dense: dcnv2_dense(),
                run: run(batch as u64, Software::HugeCtr),
                cluster,
            }),
        });
    }
    Ok(points)
}

/// Reads `measured_nv_synth_a100.json`; `tables_of` gives the table list of a model.
///
/// # Errors
/// The text is no JSON, or lacks a model's dense part or tables.
pub fn nv_synth(text: &str, tables_of: impl Fn(&str) -> Option<Vec<TableSpec>>) -> Result<Vec<Point>, Error> {
    let root: Value = serde_json::from_str(text).map_err(|source| Error::Json { source })?;
    let lacks = |what: &str| Error::Lacks { what: what.to_owned() };
    let measured = root.get("measured").and_then(Value::as_object).ok_or_else(|| lacks("measured"))?;
    let a100 = *device::device("a100_sxm").ok_or_else(|| lacks("device a100_sxm in the catalogue"))?;
    let mut points = Vec::new();
    for (model, steps) in measured {
        let tables = tables_of(model).ok_or_else(|| lacks(&format!("table list of model {model}")))?;
        let dense = root.get("dense").and_then(|dense| dense.get(model));
        let dense =
            synth_dense(dense.ok_or_else(|| lacks(&format!("dense part of model {model}")))?, &tables);
        let mut steps: Vec<(u32, f64)> = steps
            .as_object()
            .into_iter()
            .flatten()
            .filter_map(|(gpus, ms)| Some((gpus.parse().ok()?, ms.as_f64()? / 1e3)))
            .filter(|(gpus, seconds)| *gpus > 0 && *seconds > 0.0)
            .collect();
        steps.sort_by_key(|(gpus, _)| *gpus);
        points.extend(steps.into_iter().map(|(gpus, seconds)| Point {
            name: format!("{model} on {gpus} GPUs"),
            measured: seconds,
            case: Ok(Case {
                tables: tables.clone(),
                dense: dense.clone(),
                run: run(65_536, Software::TensorFlow),
                cluster: Cluster::new(a100, gpus.div_ceil(8), gpus.min(8)),
            }),
        }));
    }
    Ok(points)
}

/// All pooled rows beside each other (by stride pooled where the model has one) and the numerical features, into the MLP.
fn synth_dense(spec: &Value, tables: &[TableSpec]) -> DenseSpec {
    let width: f64 = tables.iter().map(|table| f64::from(table.dim) * table.pooling.len() as f64).sum();
    let stride = spec.get("interact_stride").and_then(Value::as_f64).unwrap_or(1.0).max(1.0);
    let numerical = spec.get("num_numerical").and_then(Value::as_f64).unwrap_or(0.0);
    let mut widths = vec![((width / stride).ceil() + numerical) as u32];
    let layers = spec.get("mlp").and_then(Value::as_array).into_iter().flatten();
    widths.extend(layers.filter_map(Value::as_u64).filter_map(|width| u32::try_from(width).ok()));
    widths.push(1);
    DenseSpec { mlps: vec![widths], ..DenseSpec::default() }
}

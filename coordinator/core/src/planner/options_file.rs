//! Ready-made options as JSON: a cluster, and for each table a list of options with run-length coded costs and bytes.
//!
//! ```json
//! {"world_size": 8, "local_world_size": 8, "hbm_cap_per_rank_bytes": 73014444032,
//!  "objective": "max over ranks of sum of perf_ms",
//!  "tables": {"t0": [{"type": "table_wise", "kernel": "fused", "partition_by": "device",
//!                     "perf_ms_rle": [[0.27, 1]], "hbm_bytes_rle": [[73, 1]]}]}}
//! ```
//!
//! `partition_by` says where pieces go, as in TorchRec's partitioner: `uniform`, one on every rank; `device`, each on any
//! rank; `host`, within one node, row-wise types one on each of its ranks; `multi_host`, as many nodes as the pieces fill.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, MapAccess, Visitor};

use super::error::Error;
use super::problem::{Choice, Cluster, Demand, Layout, Problem, Run, Table};

/// What the parser says, without the place that it repeats.
fn what(cause: &serde_json::Error) -> String {
    let text = cause.to_string();
    text.split(" at line ").next().unwrap_or(&text).to_owned()
}

/// The objectives that a file may name.
pub const OBJECTIVES: [&str; 1] = ["max over ranks of sum of perf_ms"];

/// Ranks of a file, and pieces of an option, at most: what a problem holds in memory.
const MOST: usize = 1 << 20;
/// Pieces of an option whose ranks are to be chosen one by one, at most: what that takes grows with their square.
const MOST_CHOSEN: usize = 4096;

/// Why a file is refused.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Not JSON, or not of this shape.
    #[error("line {}, column {}: {at}{}{}", cause.line(), cause.column(), if at.is_empty() { "" } else { ": " }, what(cause))]
    Json {
        /// The path of the value in the file, where it is one.
        at: String,
        /// What the parser says.
        cause: serde_json::Error,
    },
    /// An objective that is not known here.
    #[error("`objective` is `{found}`; known are: {}", OBJECTIVES.map(|o| format!("`{o}`")).join(", "))]
    Objective {
        /// As given.
        found: String,
    },
    /// A field of the cluster that cannot be.
    #[error("`{field}` is {found}; give between 1 and {}", MOST)]
    Ranks {
        /// The field.
        field: &'static str,
        /// As given.
        found: u32,
    },
    /// A field of an option that does not go with the others.
    #[error("tables.{table}[{option}].{field}: {what}")]
    Field {
        /// The table.
        table: String,
        /// Index of the option.
        option: usize,
        /// The field.
        field: &'static str,
        /// What is wrong and what would be right.
        what: String,
    },
    /// A problem that cannot be.
    #[error(transparent)]
    Problem(#[from] Error),
}

impl FileError {
    /// The field at fault, as a path in the file.
    pub fn field(&self) -> Option<String> {
        match self {
            Self::Json { at, .. } => (!at.is_empty()).then(|| at.clone()),
            Self::Objective { .. } => Some("objective".to_owned()),
            Self::Ranks { field, .. } => Some((*field).to_owned()),
            Self::Field { table, option, field, .. } => Some(format!("tables.{table}[{option}].{field}")),
            Self::Problem(error) => match error {
                Error::NoDevices => Some("world_size".to_owned()),
                Error::UnequalNodes { .. } => Some("local_world_size".to_owned()),
                Error::DuplicateTable { table }
                | Error::NoOptions { table }
                | Error::BadCost { table, .. }
                | Error::PieceCount { table, .. }
                | Error::TableTooLarge { table, .. }
                | Error::Exhausted { table, .. }
                | Error::NotFound { table, .. } => Some(format!("tables.{table}")),
                Error::TooLarge { .. } => Some("hbm_cap_per_rank_bytes".to_owned()),
                _ => None,
            },
        }
    }
}

#[derive(Deserialize)]
struct File {
    world_size: u32,
    local_world_size: u32,
    hbm_cap_per_rank_bytes: u64,
    objective: String,
    tables: Tables,
}

#[derive(Deserialize)]
struct Sharding<'f> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'f, str>,
    #[serde(default, borrow)]
    kernel: Option<Cow<'f, str>>,
    #[serde(borrow)]
    partition_by: Cow<'f, str>,
    perf_ms_rle: Vec<(f64, usize)>,
    hbm_bytes_rle: Vec<(u64, usize)>,
}

/// Tables in the order of the file; a name that comes twice stays twice, so that it can be refused.
struct Tables(Vec<(String, Vec<RawChoice>)>);

/// An option before its table's cluster is known.
struct RawChoice {
    kind: String,
    name: String,
    partition_by: String,
    perf_ms: Vec<(f64, usize)>,
    hbm_bytes: Vec<(u64, usize)>,
}

impl<'de> Deserialize<'de> for RawChoice {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Sharding::deserialize(deserializer)?;
        let kind = raw.kind.into_owned();
        let name = raw.kernel.map_or_else(|| kind.clone(), |kernel| format!("{kind}/{kernel}"));
        Ok(Self {
            name,
            kind,
            partition_by: raw.partition_by.into_owned(),
            perf_ms: raw.perf_ms_rle,
            hbm_bytes: raw.hbm_bytes_rle,
        })
    }
}

impl<'de> Deserialize<'de> for Tables {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Tables;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object from table names to lists of options")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tables, A::Error> {
                let mut tables = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    tables.push(entry);
                }
                Ok(Tables(tables))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

/// Where the value lies that the parser refuses: the text is read once more, since to keep track of paths takes time.
fn path_of_fault(text: &str) -> String {
    let mut reader = serde_json::Deserializer::from_str(text);
    let found = serde_path_to_error::deserialize::<_, File>(&mut reader).err();
    found.map(|fault| fault.path().to_string()).filter(|path| path != ".").unwrap_or_default()
}

/// The problem that a file states.
///
/// # Errors
/// Where the text is no such file, with line and column, or with the table and field at fault.
pub fn parse(text: &str) -> Result<Problem, FileError> {
    let file: File =
        serde_json::from_str(text).map_err(|cause| FileError::Json { at: path_of_fault(text), cause })?;
    if !OBJECTIVES.contains(&file.objective.as_str()) {
        return Err(FileError::Objective { found: file.objective });
    }
    for (field, found) in [("world_size", file.world_size), ("local_world_size", file.local_world_size)] {
        if found == 0 || found as usize > MOST {
            return Err(FileError::Ranks { field, found });
        }
    }
    let cluster = Cluster::uniform(
        file.world_size as usize,
        file.local_world_size as usize,
        file.hbm_cap_per_rank_bytes,
    )?;
    let mut tables = Vec::with_capacity(file.tables.0.len());
    for (name, raw) in file.tables.0 {
        let options: Result<Vec<Choice>, FileError> =
            raw.into_iter().enumerate().map(|(idx, raw)| choice(&name, idx, raw, &cluster)).collect();
        tables.push(Table { options: options?, name, demand: Demand::default() });
    }
    Ok(Problem::new(cluster, 1, tables)?)
}

fn choice(table: &str, option: usize, raw: RawChoice, cluster: &Cluster) -> Result<Choice, FileError> {
    let refuse =
        |field: &'static str, what: String| FileError::Field { table: table.to_owned(), option, field, what };
    if let Some((cost, _)) = raw.perf_ms.iter().find(|(cost, _)| !(cost.is_finite() && *cost >= 0.0)) {
        return Err(refuse("perf_ms_rle", format!("{cost} is no cost; costs are finite and not negative")));
    }
    let pieces: usize = raw.perf_ms.iter().map(|run| run.1).fold(0, usize::saturating_add);
    let bytes: usize = raw.hbm_bytes.iter().map(|run| run.1).fold(0, usize::saturating_add);
    if pieces > MOST {
        return Err(refuse("perf_ms_rle", format!("has {pieces} pieces; give at most {MOST}")));
    }
    if pieces != bytes {
        let what = format!("has {bytes} pieces, perf_ms_rle has {pieces}; give as many");
        return Err(refuse("hbm_bytes_rle", what));
    }
    if pieces > MOST_CHOSEN && matches!(raw.partition_by.as_str(), "device" | "host") {
        let what = format!("has {pieces} pieces; `{}` takes at most {MOST_CHOSEN}", raw.partition_by);
        return Err(refuse("perf_ms_rle", what));
    }
    let world_size = cluster.devices.len();
    let local = cluster.node_sizes[0];
    let row_wise = raw.kind.contains("row_wise") || raw.kind.contains("twrw");
    let (layout, fits, wanted) = match raw.partition_by.as_str() {
        "uniform" => (Layout::EveryRank, pieces == world_size, format!("world_size = {world_size}")),
        "device" => (Layout::AnyRank, pieces > 0, "at least 1".to_owned()),
        "host" if row_wise => (Layout::WholeNodes, pieces == local, format!("local_world_size = {local}")),
        "host" => (Layout::OneNode, pieces > 0, "at least 1".to_owned()),
        "multi_host" => {
            let fits = pieces > 0 && pieces.is_multiple_of(local) && pieces <= world_size;
            (
                Layout::WholeNodes,
                fits,
                format!("a multiple of local_world_size = {local}, at most {world_size}"),
            )
        }
        other => {
            let what = format!("`{other}` is not known; known are: uniform, device, host, multi_host");
            return Err(refuse("partition_by", what));
        }
    };
    if !fits {
        let what = format!("has {pieces} pieces; `{}` needs {wanted}", raw.partition_by);
        return Err(refuse("perf_ms_rle", what));
    }
    Ok(Choice { name: raw.name.into(), layout, runs: zipped(&raw.perf_ms, &raw.hbm_bytes) })
}

/// Runs of pieces that agree in cost and in bytes.
fn zipped(costs: &[(f64, usize)], bytes: &[(u64, usize)]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let (mut bytes, mut left) = (bytes.iter().filter(|run| run.1 > 0), 0);
    let mut memory = 0;
    for (cost, mut pieces) in costs.iter().copied() {
        while pieces > 0 {
            if left == 0 {
                let Some(run) = bytes.next() else { return runs };
                (memory, left) = *run;
            }
            let both = pieces.min(left);
            runs.push(Run { pieces: both, cost: [cost].into(), memory });
            pieces -= both;
            left -= both;
        }
    }
    runs
}

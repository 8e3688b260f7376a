//! Forecasts of measured sets, row by row, with their errors.

use std::path::{Path, PathBuf};

use muster_core::capacity::measured::{self, Judged, Point, judge};
use muster_core::capacity::scores::{Scores, error, scores};
use muster_core::cost::Constants;
use serde_json::{Value, json};

use super::load::{read, table_list};
use crate::error::Error;
use crate::output::Report;
use crate::table::Table;

/// A set with its forecasts.
#[derive(Debug, Clone)]
pub struct Set {
    /// Its file.
    pub file: String,
    /// Its rows.
    pub rows: Vec<Judged>,
    /// Scores over all rows with a forecast.
    pub scores: Option<Scores>,
    /// Scores over hardware and forecast, each with the mean of its rows: many submissions of one machine count once.
    pub distinct: Option<Scores>,
}

/// All sets.
#[derive(Debug, Clone)]
pub struct Validated(pub Vec<Set>);

/// Forecasts the sets in `files`; their table lists lie beside them.
///
/// # Errors
/// A file that cannot be read or is of no known form.
pub fn validate(files: &[PathBuf]) -> Result<Validated, Error> {
    let set = |path: &PathBuf| {
        let (rows, scores) = judge(&points(path)?, Constants::default());
        let file = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let distinct = scores_of_distinct(&rows);
        Ok(Set { file, rows, scores, distinct })
    };
    files.iter().map(set).collect::<Result<_, _>>().map(Validated)
}

fn scores_of_distinct(rows: &[Judged]) -> Option<Scores> {
    let mut groups: Vec<(f64, Vec<f64>)> = Vec::new();
    for row in rows {
        // Equal hardware and work have the same forecast, bit for bit.
        let Ok(forecast) = row.forecast else { continue };
        match groups.iter_mut().find(|(known, _)| *known == forecast) {
            Some((_, measured)) => measured.push(row.measured),
            None => groups.push((forecast, vec![row.measured])),
        }
    }
    let pairs: Vec<(f64, f64)> = groups
        .iter()
        .map(|(forecast, measured)| (*forecast, measured.iter().sum::<f64>() / measured.len() as f64))
        .collect();
    scores(&pairs)
}

fn points(path: &Path) -> Result<Vec<Point>, Error> {
    let beside = |name: &str| path.parent().unwrap_or(Path::new(".")).join(name);
    let text = read(path)?;
    let json = path.extension().is_some_and(|extension| extension == "json");
    let points = if json {
        measured::nv_synth(&text, |model| {
            table_list(&beside(&format!("nv_synth_{model}.csv"))).map_err(|error| error.to_string())
        })
    } else {
        let tables = table_list(&beside("mlperf_dlrm_dcnv2_26.csv"))?;
        measured::mlperf(&text, &tables)
    };
    points.map_err(|error| {
        Error::bad_input(format!("{}: {error}", path.display())).with_file(path).with_field("--validate")
    })
}

fn scores_text(what: &str, scores: &Scores) -> String {
    format!(
        "  {what}: {} points, mean absolute error {:.1} %, largest {:.1} %, bias {:+.1} %, Kendall tau {:.2}",
        scores.points,
        scores.mape * 100.0,
        scores.max * 100.0,
        scores.bias * 100.0,
        scores.tau
    )
}

impl Set {
    fn text(&self) -> String {
        let mut table = Table::new(["row", "devices", "measured ms", "forecast ms", "error"]);
        let mut left_out = Vec::new();
        for row in &self.rows {
            match (&row.forecast, row.devices) {
                (Ok(forecast), Some((device, count))) => table.row([
                    row.name.clone(),
                    format!("{count} x {device}"),
                    format!("{:.3}", row.measured * 1e3),
                    format!("{:.3}", forecast * 1e3),
                    format!("{:+.1} %", error(*forecast, row.measured) * 100.0),
                ]),
                (Err(why), _) => left_out.push(format!("  not forecast: {}: {why}", row.name)),
                (Ok(_), None) => {}
            }
        }
        let mut lines = vec![self.file.clone(), table.render()];
        lines.extend(left_out);
        lines.extend(self.scores.iter().map(|scores| scores_text("all rows", scores)));
        lines.extend(self.distinct.iter().map(|scores| scores_text("each machine and batch once", scores)));
        lines.join("\n")
    }

    fn json(&self) -> Value {
        let scores = |scores: &Scores| {
            json!({
                "points": scores.points, "mape": scores.mape, "max": scores.max,
                "bias": scores.bias, "kendall_tau": scores.tau,
            })
        };
        let row = |row: &Judged| {
            json!({
                "row": row.name,
                "device": row.devices.map(|(device, _)| device),
                "devices": row.devices.map(|(_, count)| count),
                "measured_seconds": row.measured,
                "forecast_seconds": row.forecast.as_ref().ok(),
                "error": row.forecast.as_ref().ok().map(|forecast| error(*forecast, row.measured)),
                "not_forecast": row.forecast.as_ref().err(),
            })
        };
        json!({
            "file": self.file,
            "rows": self.rows.iter().map(row).collect::<Vec<_>>(),
            "scores": self.scores.as_ref().map(scores),
            "distinct": self.distinct.as_ref().map(scores),
        })
    }
}

impl Report for Validated {
    fn text(&self) -> String {
        self.0.iter().map(Set::text).collect::<Vec<_>>().join("\n\n")
    }

    fn json(&self) -> Value {
        let Constants { dense_share, row_share, network_share, fused_step, per_feature, coordination } =
            Constants::default();
        json!({
            "constants": {
                "dense_share": dense_share, "row_share": row_share, "network_share": network_share,
                "fused_step_seconds": fused_step, "per_feature_seconds": per_feature,
                "coordination_seconds": coordination,
            },
            "sets": self.0.iter().map(Set::json).collect::<Vec<_>>(),
        })
    }
}

//! A grid of questions: each row is what a single call with the same `--set` answers.

use std::fmt::Write as _;

use muster_core::capacity::{Answer, Unanswered, answer};
use serde_json::{Value, json};

use super::load::Source;
use super::question::{answer_json, spoken};
use super::unanswered;
use crate::error::Error;
use crate::output::Report;
use crate::table::Table;

/// The most questions of one grid.
const MOST_POINTS: usize = 10_000;

/// One point of the grid on one pool.
#[derive(Debug, Clone)]
pub struct Row {
    /// The value of each field.
    pub values: Vec<String>,
    /// The pool's name; empty where the values of the point break a rule of the spec.
    pub pool: String,
    /// The answer.
    pub answer: Result<Answer, Without>,
}

/// Why a row has no answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Without {
    /// The values break a rule of the spec.
    Refused {
        /// Which.
        message: String,
        /// Of which field.
        field: Option<String>,
    },
    /// The pool has none.
    Unanswered(Unanswered),
}

impl Without {
    fn message(&self) -> String {
        match self {
            Self::Refused { message, .. } => message.clone(),
            Self::Unanswered(error) => error.to_string(),
        }
    }

    fn cell(&self) -> String {
        match self {
            Self::Refused { message, .. } => message.clone(),
            Self::Unanswered(error) => unanswered::cell(error),
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Refused { message, field } => json!({"message": message, "field": field}),
            Self::Unanswered(error) => unanswered::json(error),
        }
    }
}

/// A grid with its answers.
#[derive(Debug, Clone)]
pub struct Swept {
    /// The fields.
    pub fields: Vec<String>,
    /// Its rows, the last field running fastest.
    pub rows: Vec<Row>,
}

/// Splits at commas outside of brackets and quotes, so that a value may be a list.
fn values(text: &str) -> Vec<String> {
    let (mut parts, mut depth, mut quoted) = (vec![String::new()], 0_u32, false);
    for letter in text.chars() {
        match letter {
            '"' => quoted = !quoted,
            '[' | '{' if !quoted => depth += 1,
            ']' | '}' if !quoted => depth = depth.saturating_sub(1),
            ',' if !quoted && depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(part) = parts.last_mut() {
            part.push(letter);
        }
    }
    parts.into_iter().map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

fn grid(sweeps: &[String]) -> Result<(Vec<String>, Vec<Vec<String>>), Error> {
    let mut fields = Vec::new();
    let mut points: Vec<Vec<String>> = vec![Vec::new()];
    for sweep in sweeps {
        let refused = |what: &str| {
            Error::bad_input(format!("--sweep `{sweep}` {what}, write key.path=VALUE,VALUE"))
                .with_field("--sweep")
        };
        let (field, list) = sweep.split_once('=').ok_or_else(|| refused("has no `=`"))?;
        let list = values(list);
        if list.is_empty() {
            return Err(refused("has no values"));
        }
        if points.len().saturating_mul(list.len()) > MOST_POINTS {
            return Err(refused(&format!("makes a grid of more than {MOST_POINTS} points")));
        }
        fields.push(field.trim().to_owned());
        points = points
            .iter()
            .flat_map(|point| {
                list.iter().map(move |value| [point.as_slice(), std::slice::from_ref(value)].concat())
            })
            .collect();
    }
    Ok((fields, points))
}

/// Asks every question of the grid; a point that the spec refuses, such as a table that is too large for all pools, is a row with
/// the reason.
///
/// # Errors
/// A sweep that is none, or values of which the spec refuses every point.
pub fn sweep(source: &Source<'_>, sweeps: &[String]) -> Result<Swept, Error> {
    let (fields, points) = grid(sweeps)?;
    let mut rows = Vec::new();
    let mut first = None;
    let mut is_any_asked = false;
    for values in points {
        let sets: Vec<String> = fields.iter().zip(&values).map(|(f, value)| format!("{f}={value}")).collect();
        match source.load(&sets) {
            Ok(spec) => {
                is_any_asked = true;
                rows.extend(spec.pools.iter().map(|pool| Row {
                    values: values.clone(),
                    pool: pool.name.clone(),
                    answer: answer(&spec, pool, pool.nodes).map_err(Without::Unanswered),
                }));
            }
            Err(error) => {
                let (message, field) = (error.message.clone(), error.field.clone());
                let answer = Err(Without::Refused { message, field });
                rows.push(Row { values, pool: String::new(), answer });
                first = first.or(Some(error));
            }
        }
    }
    match first {
        Some(error) if !is_any_asked => Err(error),
        _ => Ok(Swept { fields, rows }),
    }
}

fn quoted(cell: &str) -> String {
    if cell.contains([',', '"', '\n']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.to_owned()
    }
}

impl Swept {
    /// The rows as CSV: fields, pool, then seconds, bytes and cost with all digits.
    #[must_use]
    pub fn csv(&self) -> String {
        let columns = "pool,device,devices,step_seconds,seconds,p50_seconds,p90_seconds,p99_seconds,cost,energy_kwh,goodput,memory_bytes,bottleneck,unanswered";
        let mut text = String::new();
        let fields: Vec<String> = self.fields.iter().map(|field| quoted(field)).collect();
        let _ = writeln!(text, "{},{columns}", fields.join(","));
        for row in &self.rows {
            let mut cells: Vec<String> = row.values.iter().map(|value| quoted(value)).collect();
            cells.push(quoted(&row.pool));
            match &row.answer {
                Ok(a) => cells.extend([
                    a.device.to_owned(),
                    a.devices.to_string(),
                    a.step.seconds.to_string(),
                    a.seconds.to_string(),
                    a.simulated.p50.to_string(),
                    a.simulated.p90.to_string(),
                    a.simulated.p99.to_string(),
                    a.cost.map_or_else(String::new, |cost| cost.to_string()),
                    a.energy.to_string(),
                    a.goodput.to_string(),
                    a.memory.to_string(),
                    a.bottleneck().0.name().to_owned(),
                    String::new(),
                ]),
                Err(error) => {
                    cells.resize(cells.len() + 12, String::new());
                    cells.push(quoted(&error.message()));
                }
            }
            let _ = writeln!(text, "{}", cells.join(","));
        }
        text
    }
}

impl Report for Swept {
    fn text(&self) -> String {
        let rest = ["pool", "devices", "step ms", "P90", "cost", "bottleneck"].map(str::to_owned);
        let mut table = Table::new(self.fields.iter().cloned().chain(rest));
        for row in &self.rows {
            let mut cells = row.values.clone();
            cells.push(row.pool.clone());
            match &row.answer {
                Ok(answer) => cells.extend([
                    answer.devices.to_string(),
                    format!("{:.2}", answer.step.seconds * 1e3),
                    spoken(answer.simulated.p90),
                    answer.cost.map_or_else(String::new, |cost| format!("{cost:.2}")),
                    answer.bottleneck().0.name().to_owned(),
                ]),
                Err(error) => {
                    cells.resize(cells.len() + 4, String::new());
                    cells.push(error.cell());
                }
            }
            table.row(cells);
        }
        table.render()
    }

    fn json(&self) -> Value {
        let row = |row: &Row| {
            let set: serde_json::Map<String, Value> = self
                .fields
                .iter()
                .zip(&row.values)
                .map(|(field, value)| (field.clone(), json!(value)))
                .collect();
            match &row.answer {
                Ok(answer) => json!({"set": set, "pool": row.pool, "answer": answer_json(answer)}),
                Err(error) => json!({"set": set, "pool": row.pool, "unanswered": error.json()}),
            }
        };
        json!({"rows": self.rows.iter().map(row).collect::<Vec<_>>()})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: &str = "name = \"q\"\n[[pools]]\nname = \"p\"\ndevice = \"a100_sxm\"\nnodes = 2\n[[tables]]\nname = \"t\"\n\
                        rows = 100000\ndim = 64\n[run]\nbatch = 4096\nsamples = 100000000\n";

    #[test]
    fn each_row_of_a_grid_is_the_answer_of_a_single_call() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("q.toml");
        std::fs::write(&path, SPEC).unwrap();
        let source = Source { spec: &path, sets: &[], job: None };
        let sweeps = ["run.batch=1024,2048,65536".to_owned(), "pools.0.nodes=1,4".to_owned()];
        let swept = sweep(&source, &sweeps).unwrap();
        assert_eq!(swept.rows.len(), 6);
        for row in &swept.rows {
            let sets = [format!("run.batch={}", row.values[0]), format!("pools.0.nodes={}", row.values[1])];
            let spec = Source { spec: &path, sets: &sets, job: None }.load(&[]).unwrap();
            assert_eq!(row.answer, Ok(answer(&spec, &spec.pools[0], spec.pools[0].nodes).unwrap()));
        }
        assert_eq!(swept.csv().lines().count(), 7);
    }

    #[test]
    fn a_point_that_the_spec_refuses_is_a_row_and_a_field_that_is_none_ends_the_sweep() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("q.toml");
        std::fs::write(&path, SPEC).unwrap();
        let source = Source { spec: &path, sets: &[], job: None };
        let swept = sweep(&source, &["tables.0.rows=1000,90000000000".to_owned()]).unwrap();
        assert!(swept.rows.len() == 2 && swept.rows[0].answer.is_ok());
        let refused = swept.rows[1].answer.as_ref().unwrap_err();
        assert!(refused.message().contains("more than all memory of the largest pool"), "{refused:?}");
        let error = sweep(&source, &["tables.0.row=1000,2000".to_owned()]).unwrap_err();
        assert!(error.message.contains("did you mean `rows`?"), "{}", error.message);
    }

    #[test]
    fn a_value_may_be_a_list_and_a_sweep_without_values_is_refused() {
        assert_eq!(values("[1, 2],[3]"), ["[1, 2]", "[3]"]);
        for sweep in ["run.batch", "run.batch="] {
            assert_eq!(grid(&[sweep.to_owned()]).unwrap_err().field.as_deref(), Some("--sweep"));
        }
    }
}

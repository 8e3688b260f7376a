//! Sequences of numbers with a target, for the classic regression by LSTM + Linear + MSE.
//!
//! The target of a row is a leaky sum of a hidden projection of the rows up to it, a bent one, and a little
//! noise: an LSTM learns it, a model of the last row alone cannot.

use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float32Array, RecordBatch, UInt32Array};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use tempfile::NamedTempFile;

use super::draw::Draw;
use super::error::Error;
use super::log::make_readable;

/// Share of the sum that a step keeps.
const KEEP: f64 = 0.9;
const NOISE: f64 = 0.05;
/// Sequences of a batch that is written at once.
const BATCH: u32 = 32;

/// How many sequences of numbers to generate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeriesArgs {
    /// Number of sequences.
    pub sequences: u32,
    /// Rows of each; the article has 50.
    pub steps: u32,
    /// Numbers a row; the article has 128.
    pub width: u32,
    /// What makes these sequences differ from others of their size.
    pub seed: u64,
}

impl Default for SeriesArgs {
    fn default() -> Self {
        Self { sequences: 2048, steps: 50, width: 128, seed: 1 }
    }
}

/// Generates sequences at `out`, Parquet where the name ends in `.parquet`, else CSV: series, step, x0, x1 and
/// so on, y. Gives the size of the file.
///
/// # Errors
/// A number is zero, or the file cannot be written; then there is none.
pub fn generate_series(args: &SeriesArgs, out: &Path) -> Result<u64, Error> {
    if args.sequences == 0 || args.steps == 0 || args.width == 0 {
        return Err(Error::EmptySeries);
    }
    let failed = |source| Error::Write { path: out.to_owned(), source };
    let parent = match out.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let file = NamedTempFile::new_in(parent).map_err(failed)?;
    let is_parquet = out.extension().is_some_and(|extension| extension == "parquet");
    let file =
        if is_parquet { write_parquet(args, file, out)? } else { write_csv(args, file).map_err(failed)? };
    file.as_file().sync_all().map_err(failed)?;
    make_readable(file.as_file()).map_err(failed)?;
    let bytes = file.as_file().metadata().map_err(failed)?.len();
    file.persist(out).map_err(|error| failed(error.error))?;
    Ok(bytes)
}

/// The rows of one sequence.
struct Sequence {
    /// `[steps, width]`
    features: Vec<f32>,
    /// `[steps]`
    targets: Vec<f32>,
}

fn sequence(args: &SeriesArgs, projection: &[f64], index: u32) -> Sequence {
    let mut draw = Draw::new(args.seed, u64::from(index) + 1);
    let mut sequence = Sequence { features: vec![], targets: vec![] };
    let mut state = 0.0;
    for _ in 0..args.steps {
        let mut projected = 0.0;
        for weight in projection {
            let value = draw.bell() as f32;
            projected += weight * f64::from(value);
            sequence.features.push(value);
        }
        state = KEEP * state + (1.0 - KEEP * KEEP).sqrt() * projected;
        // |state| bends the target, so that no linear model fits it.
        let bent = state + 0.5 * (state.abs() - 0.8);
        sequence.targets.push((bent + NOISE * draw.bell()) as f32);
    }
    sequence
}

/// A direction of length 1, so that the target's scale does not depend on the width.
fn projection(args: &SeriesArgs) -> Vec<f64> {
    let mut draw = Draw::new(args.seed, 0);
    let weights: Vec<f64> = (0..args.width).map(|_| draw.bell()).collect();
    let length = weights.iter().map(|weight| weight * weight).sum::<f64>().sqrt();
    weights.into_iter().map(|weight| weight / length).collect()
}

fn write_csv(args: &SeriesArgs, file: NamedTempFile) -> std::io::Result<NamedTempFile> {
    let mut writer = BufWriter::with_capacity(1 << 20, file);
    write!(writer, "series,step")?;
    for column in 0..args.width {
        write!(writer, ",x{column}")?;
    }
    writeln!(writer, ",y")?;
    let projection = projection(args);
    for index in 0..args.sequences {
        let sequence = sequence(args, &projection, index);
        let rows = sequence.features.chunks(args.width as usize).zip(&sequence.targets);
        for (step, (features, target)) in rows.enumerate() {
            write!(writer, "{index},{step}")?;
            for value in features {
                write!(writer, ",{value}")?;
            }
            writeln!(writer, ",{target}")?;
        }
    }
    writer.into_inner().map_err(std::io::IntoInnerError::into_error)
}

fn write_parquet(args: &SeriesArgs, file: NamedTempFile, out: &Path) -> Result<NamedTempFile, Error> {
    let failed = |what: String| Error::Parquet { path: out.to_owned(), what };
    let mut fields =
        vec![Field::new("series", DataType::UInt32, false), Field::new("step", DataType::UInt32, false)];
    let numbers = (0..args.width).map(|column| format!("x{column}")).chain(std::iter::once("y".to_owned()));
    fields.extend(numbers.map(|name| Field::new(name, DataType::Float32, false)));
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    let mut writer =
        ArrowWriter::try_new(file, Arc::clone(&schema), None).map_err(|error| failed(error.to_string()))?;
    let projection = projection(args);
    for first in (0..args.sequences).step_by(BATCH as usize) {
        let indexes = first..args.sequences.min(first + BATCH);
        let batch = batch(args, &projection, indexes, &schema).map_err(|error| failed(error.to_string()))?;
        writer.write(&batch).map_err(|error| failed(error.to_string()))?;
    }
    writer.into_inner().map_err(|error| failed(error.to_string()))
}

fn batch(
    args: &SeriesArgs,
    projection: &[f64],
    indexes: std::ops::Range<u32>,
    schema: &SchemaRef,
) -> Result<RecordBatch, arrow_schema::ArrowError> {
    let (width, steps) = (args.width as usize, args.steps);
    let series = indexes.clone().flat_map(|index| std::iter::repeat_n(index, steps as usize));
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(UInt32Array::from_iter_values(series)),
        Arc::new(UInt32Array::from_iter_values(indexes.clone().flat_map(|_| 0..steps))),
    ];
    let sequences: Vec<Sequence> = indexes.map(|index| sequence(args, projection, index)).collect();
    for column in 0..width {
        let values =
            sequences.iter().flat_map(|one| one.features.iter().skip(column).step_by(width).copied());
        columns.push(Arc::new(Float32Array::from_iter_values(values)));
    }
    let targets = sequences.iter().flat_map(|one| one.targets.iter().copied());
    columns.push(Arc::new(Float32Array::from_iter_values(targets)));
    RecordBatch::try_new(Arc::clone(schema), columns)
}

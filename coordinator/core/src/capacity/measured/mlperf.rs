//! MLPerf Training's DLRM-DCNv2, by submission.

use muster_proto::capacity::{DenseSpec, Precision, Software, TableSpec};

use super::system::cluster_of;
use super::{Case, Error, Point, run};

/// The dense part of MLPerf DLRM-DCNv2: bottom MLP, three cross layers of rank 512 over 27 vectors of 128, top MLP.
fn dcnv2_dense() -> DenseSpec {
    let width = 27 * 128;
    let mut mlps = vec![vec![13, 512, 256, 128], vec![width, 1024, 1024, 512, 256, 1]];
    mlps.extend(std::iter::repeat_n(vec![width, 512, width], 3));
    DenseSpec { precision: Precision::F16, mlps, ..DenseSpec::default() }
}

/// Reads `mlperf_dlrm_dcnv2_measured.csv`, over the tables of `mlperf_dlrm_dcnv2_26.csv`; columns are found by the header.
///
/// # Errors
/// A missing column, a line of another number of cells, a malformed number.
pub fn mlperf(text: &str, tables: &[TableSpec]) -> Result<Vec<Point>, Error> {
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let header: Vec<&str> =
        lines.next().map_or(Vec::new(), |(_, line)| line.split(',').map(str::trim).collect());
    let position = |column: &str| header.iter().position(|name| *name == column);
    let at = |column: &'static str| position(column).ok_or(Error::Column { column });
    let (round, submitter, system) = (at("mlperf_round")?, at("submitter")?, at("system_dir")?);
    let (batch, step) = (at("global_batch")?, at("median_train_ms_per_step_between_evals")?);
    let platform = position("platform");
    let mut points = Vec::new();
    for (idx, line) in lines {
        let cells: Vec<&str> = line.split(',').map(str::trim).collect();
        if cells.len() != header.len() {
            return Err(Error::Cells { line: idx + 1, cells: cells.len(), columns: header.len() });
        }
        let number = |column: usize, name: &'static str| {
            let number = cells[column].parse::<f64>().ok();
            number.filter(|number| *number > 0.0 && number.is_finite()).ok_or_else(|| Error::Cell {
                line: idx + 1,
                column: name,
                text: cells[column].to_owned(),
            })
        };
        let batch = number(batch, "global_batch")?;
        let measured = number(step, "median_train_ms_per_step_between_evals")? / 1e3;
        let names = [cells[system], platform.map_or("", |platform| cells[platform])];
        points.push(Point {
            name: format!("v{} {} {}", cells[round], cells[submitter], cells[system]),
            measured,
            case: cluster_of(&names).map(|cluster| Case {
                tables: tables.to_vec(),
                dense: dcnv2_dense(),
                run: run(batch as u64, Software::HugeCtr),
                cluster,
            }),
        });
    }
    Ok(points)
}

//! A table a line; columns are found by the header.

use super::{Error, checked};
use crate::capacity::TableSpec;
use crate::config::unknown_name;

/// The columns; the last two may be left out.
pub(super) const FORM: &str = "table,rows,dim,pooling,zipf_alpha,shared_group";

/// Where each column is.
struct Columns {
    all: usize,
    table: usize,
    rows: usize,
    dim: usize,
    pooling: usize,
    zipf: Option<usize>,
}

impl Columns {
    fn new(header: &str) -> Result<Self, String> {
        let names: Vec<&str> = header.trim_start_matches('\u{feff}').split(',').map(str::trim).collect();
        let known: Vec<&str> = FORM.split(',').collect();
        if let Some(unknown) = names.iter().find(|name| !known.contains(name)) {
            return Err(unknown_name("column", unknown, &known));
        }
        if let Some(twice) = known.iter().find(|name| names.iter().filter(|other| other == name).count() > 1)
        {
            return Err(format!("the header has column {twice} twice"));
        }
        let position = |column: &str| names.iter().position(|name| *name == column);
        let at = |column: &str| position(column).ok_or_else(|| format!("the header lacks column {column}"));
        Ok(Self {
            all: names.len(),
            table: at("table")?,
            rows: at("rows")?,
            dim: at("dim")?,
            pooling: at("pooling")?,
            zipf: position("zipf_alpha"),
        })
    }

    fn table(&self, line: &str) -> Result<TableSpec, String> {
        let cells: Vec<&str> = line.split(',').map(str::trim).collect();
        if cells.len() != self.all {
            return Err(format!("{} cells, the header has {}", cells.len(), self.all));
        }
        let (rows, dim, pooling) = (cells[self.rows], cells[self.dim], cells[self.pooling]);
        let rows = rows.parse().map_err(|_| format!("rows `{rows}` is no whole number"))?;
        let dim = dim.parse().map_err(|_| format!("dim `{dim}` is no whole number"))?;
        let lookups: Result<Vec<f64>, _> = pooling.split(';').map(|number| number.trim().parse()).collect();
        let lookups = lookups.map_err(|_| format!("pooling `{pooling}` is no number"))?;
        let mut table = TableSpec::new(cells[self.table], rows, dim, lookups);
        if let Some(zipf) = self.zipf.map(|at| cells[at]).filter(|zipf| !zipf.is_empty()) {
            table.zipf = zipf.parse().map_err(|_| format!("zipf_alpha `{zipf}` is no number"))?;
        }
        Ok(table)
    }
}

/// Reads `table,rows,dim,pooling,zipf_alpha,shared_group`; `a;b` in pooling are features that share the table, and the name of their
/// group is for people: nothing follows from it.
///
/// # Errors
/// A header that lacks a column or has an unknown one, a line with another number of cells or a malformed number, a table that no question may have.
pub fn from_csv(text: &str) -> Result<Vec<TableSpec>, Error> {
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let Some((idx, header)) = lines.next() else {
        return Err(Error::Line { line: 1, what: "the list is empty".to_owned() });
    };
    let columns = Columns::new(header).map_err(|what| Error::Line { line: idx + 1, what })?;
    let table = |(idx, line)| columns.table(line).map_err(|what| Error::Line { line: idx + 1, what });
    checked(lines.map(table).collect::<Result<_, _>>()?)
}

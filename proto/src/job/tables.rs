//! The embedding tables that a job declares over a dataset.

use super::{Head, JobSpec};
use crate::sharding::{ColumnBlock, TableDecl};

/// Name of the item table.
pub const ITEM: &str = "item";
/// Name of the output table of an untied head.
pub const OUTPUT: &str = "output";

/// The vocabulary of a column that a job needs and the dataset lacks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the job uses column {column:?}, but the dataset has no such {kind} column (it has: {known})")]
pub struct MissingColumn {
    /// The column.
    pub column: String,
    /// `categorical` or `numeric`.
    pub kind: &'static str,
    /// What there is instead.
    pub known: String,
}

impl JobSpec {
    /// The tables of the model in a fixed order: item, features as listed, output; of one that is cut, its column blocks.
    ///
    /// `rows_of` gives the vocabulary size of a categorical column (the item column is named `item`), or `None`.
    ///
    /// # Errors
    /// A categorical column that the dataset lacks.
    pub fn table_decls(
        &self,
        rows_of: impl Fn(&str) -> Option<u64>,
        known: &str,
    ) -> Result<Vec<TableDecl>, MissingColumn> {
        if self.model.head.is_regression() {
            return Ok(Vec::new());
        }
        let rows = |column: &str| {
            let missing =
                || MissingColumn { column: column.into(), kind: "categorical", known: known.into() };
            rows_of(column).ok_or_else(missing)
        };
        let items = rows(ITEM)?;
        let (tied, bias) = (self.model.head.tied(), self.model.head.bias());
        let mut declared = Vec::new();
        for shape in self.tables_of_model() {
            let (rows, bias) = match shape.name {
                ITEM => (items, tied && bias),
                OUTPUT => (items, bias),
                column => (rows(column)?, false),
            };
            declared.extend(self.declare(shape, rows, bias));
        }
        Ok(declared)
    }

    /// The tables of the model in their order, whole; none where it regresses a series.
    pub(super) fn tables_of_model(&self) -> Vec<Shape<'_>> {
        if self.model.head.is_regression() {
            return Vec::new();
        }
        let shape = |(name, dim)| Shape { name, dim };
        let features = self.model.features.iter().filter_map(|f| Some((f.column.as_str(), f.dim?)));
        let output = (!self.model.head.tied()).then(|| (OUTPUT, self.model.head_input()));
        let item = (ITEM, self.model.embedding_dim);
        std::iter::once(item).chain(features).chain(output).map(shape).collect()
    }

    /// The table that items are scored against, if they are.
    #[must_use]
    pub fn scored_table(&self) -> Option<&'static str> {
        let head = &self.model.head;
        (!head.is_regression()).then(|| if head.tied() { ITEM } else { OUTPUT })
    }

    /// The table that a softmax scores whole in each step, if one does.
    #[must_use]
    pub fn scored_whole(&self) -> Option<&'static str> {
        self.scored_table().filter(|_| matches!(self.model.head, Head::Softmax { .. }))
    }

    /// A table, or its column blocks in order; the first has the biases.
    fn declare(&self, Shape { name, dim }: Shape<'_>, rows: u64, bias: bool) -> Vec<TableDecl> {
        let row_blocks = self.tables.row_blocks;
        let placement = self.tables.placement.get(name).copied();
        let blocks = self.tables.column_blocks.get(name).copied().unwrap_or(1).max(1);
        if blocks == 1 {
            let (name, columns) = (name.to_owned(), None);
            return vec![TableDecl { name, rows, dim, row_blocks, bias, placement, columns }];
        }
        let width = dim / blocks;
        let block = |block: u32| TableDecl {
            name: block_name(name, block),
            rows,
            dim: width,
            row_blocks,
            bias: bias && block == 0,
            placement,
            columns: Some(ColumnBlock { table: name.to_owned(), dim, first: block * width }),
        };
        (0..blocks).map(block).collect()
    }
}

/// A table of the model, whole.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape<'a> {
    /// Its name.
    pub(super) name: &'a str,
    /// Columns of a row.
    pub(super) dim: u32,
}

/// Name of a column block of a table.
#[must_use]
pub fn block_name(table: &str, block: u32) -> String {
    format!("{table}.{block}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{FeatureSpec, Precision};
    use crate::sharding::Placement;

    fn rows_of(column: &str) -> Option<u64> {
        match column {
            ITEM => Some(100),
            "category" => Some(7),
            _ => None,
        }
    }

    #[test]
    fn an_untied_job_declares_item_features_and_output() {
        let mut job = JobSpec::default();
        job.model.features = vec![
            FeatureSpec { column: "category".into(), dim: Some(16) },
            FeatureSpec { column: "price".into(), dim: None },
        ];
        job.model.head = Head::Softmax { tied: false, bias: true, precision: Precision::F32 };
        let tables = job.table_decls(rows_of, "item, category").unwrap();
        let names: Vec<_> = tables.iter().map(|t| (t.name.as_str(), t.rows, t.bias)).collect();
        assert_eq!(names, [("item", 100, false), ("category", 7, false), ("output", 100, true)]);
    }

    #[test]
    fn a_table_that_is_cut_is_declared_block_by_block_with_its_biases_in_the_first() {
        let mut job = JobSpec::default();
        job.model.head =
            Head::SampledSoftmax { tied: true, bias: true, negatives: 9, alpha: 0.5, log_q: true };
        job.model.embedding_dim = 96;
        job.tables.column_blocks.insert(ITEM.into(), 3);
        job.tables.placement.insert(ITEM.into(), Placement::ColumnWise);
        let tables = job.table_decls(rows_of, "item, category").unwrap();
        let names: Vec<_> = tables.iter().map(|t| (t.name.as_str(), t.dim, t.bias)).collect();
        assert_eq!(names, [("item.0", 32, true), ("item.1", 32, false), ("item.2", 32, false)]);
        let columns: Vec<_> =
            tables.iter().map(|t| (t.table(), t.first_column(), t.whole_dim(), t.placement)).collect();
        let forced = Some(Placement::ColumnWise);
        assert_eq!(columns, [("item", 0, 96, forced), ("item", 32, 96, forced), ("item", 64, 96, forced)]);
    }

    #[test]
    fn a_column_that_the_dataset_lacks_is_named() {
        let mut job = JobSpec::default();
        job.model.features = vec![FeatureSpec { column: "brand".into(), dim: Some(16) }];
        let missing = job.table_decls(rows_of, "item, category").unwrap_err();
        assert!(missing.to_string().contains("\"brand\""), "{missing}");
    }
}

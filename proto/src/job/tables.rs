//! The embedding tables that a job declares over a dataset.

use super::JobSpec;
use crate::sharding::TableDecl;

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
    /// The tables of the model in a fixed order: item, features as listed, output.
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
        let tied = self.model.head.tied();
        let bias = self.model.head.bias();
        let mut tables = vec![self.table(ITEM, items, self.model.embedding_dim, tied && bias)];
        for feature in &self.model.features {
            if let Some(dim) = feature.dim {
                tables.push(self.table(&feature.column, rows(&feature.column)?, dim, false));
            }
        }
        if !tied {
            tables.push(self.table(OUTPUT, items, self.model.head_input(), bias));
        }
        Ok(tables)
    }

    fn table(&self, name: &str, rows: u64, dim: u32, bias: bool) -> TableDecl {
        let row_blocks = self.tables.row_blocks;
        let placement = self.tables.placement.get(name).copied();
        TableDecl { name: name.into(), rows, dim, row_blocks, bias, placement }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{FeatureSpec, Head, Precision};

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
    fn a_column_that_the_dataset_lacks_is_named() {
        let mut job = JobSpec::default();
        job.model.features = vec![FeatureSpec { column: "brand".into(), dim: Some(16) }];
        let missing = job.table_decls(rows_of, "item, category").unwrap_err();
        assert!(missing.to_string().contains("\"brand\""), "{missing}");
    }
}

//! Beginning from another model instead of from initial values.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::JobSpec;
use super::tables::{ITEM, OUTPUT};
use crate::config::Problems;

crate::documented! {
    /// Begins from another model, its parent, instead of from initial values. Rows of tables are known again by their keys: an
    /// item, or a value of a column, that both datasets have keeps its row, wherever it lies in each.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct WarmStartSpec {
        /// The parent: a run directory, whose best checkpoint it is, or a checkpoint; either may be the URL of an object store.
        pub parent: String,
        /// The prepared dataset that the parent was trained on; absent: the one that its run directory names.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub dataset: Option<String>,
        /// What rows begin with that the parent does not know: the mean of the rows of known items that share an attribute
        /// (`"attributes"`; a new value of another column begins like the unknown one), or random values (`"random"`).
        #[serde(default)]
        pub new_rows: NewRows,
        /// Whether the parent's optimizer state is kept (`"keep"`, which takes the same kind of optimizer) or begins anew
        /// (`"reset"`).
        #[serde(default)]
        pub optimizer_state: KeptState,
        /// An item without a training event in this dataset and in those of so many runs less one before it, along parents,
        /// begins anew like an item that the parent does not know; absent: never. With fewer runs before, none does.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub evict_after: Option<u32>,
        /// For so many steps the embedding tables stay as they are.
        #[serde(default)]
        pub freeze_tables: u64,
        /// For so many steps the dense parameters stay as they are.
        #[serde(default)]
        pub freeze_dense: u64,
        /// The parent's name of a column whose name here is another one, by the name here.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        pub columns: BTreeMap<String, String>,
        /// A file that names items of the parent's dataset whose name here is another one: a JSON object, name here to name there.
        /// Items that it lacks have the same name in both. Workers read it, too.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub items: Option<String>,
        /// The digest of that file; noted by `muster train`, another file is refused.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub items_digest: Option<String>,
        /// The digest over the parent's pieces. `muster train` notes it, so that the job says which model it begins from; a
        /// parent with another one is refused.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub model_digest: Option<String>,
        /// The digest of the parent's dataset; noted by `muster train`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub dataset_digest: Option<String>,
        /// Updates that the parent's tables have been through; noted by `muster train`.
        #[serde(default)]
        pub table_updates: u64,
        /// Updates that the parent's dense parameters have been through; noted by `muster train`.
        #[serde(default)]
        pub dense_updates: u64,
        /// The datasets of the runs before the parent's, newest first; noted by `muster train`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub windows: Vec<WindowSpec>,
    }
}

crate::documented! {
    /// The dataset of an earlier run.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct WindowSpec {
        /// Its folder.
        pub dataset: String,
        /// The digest of its manifest; another one is refused.
        pub digest: String,
    }
}

/// What rows begin with that the parent does not know.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NewRows {
    /// The mean of the rows of items that share an attribute.
    #[default]
    Attributes,
    /// Random values.
    Random,
}

/// What becomes of the parent's optimizer state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeptState {
    /// It is gone on with.
    #[default]
    Keep,
    /// It begins anew.
    Reset,
}

/// How often the optimizers have updated each kind of parameters, over all models that a job began from: what Adam's bias
/// correction counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Updates {
    /// Of embedding tables.
    pub tables: u64,
    /// Of dense parameters.
    pub dense: u64,
}

impl WarmStartSpec {
    /// Of a parent, with every other key as it is by default.
    #[must_use]
    pub fn of(parent: String) -> Self {
        let (dataset, new_rows, optimizer_state, evict_after, columns, windows) = Default::default();
        let (items, items_digest, model_digest, dataset_digest) = Default::default();
        Self {
            parent,
            dataset,
            new_rows,
            optimizer_state,
            evict_after,
            freeze_tables: 0,
            freeze_dense: 0,
            columns,
            items,
            items_digest,
            model_digest,
            dataset_digest,
            table_updates: 0,
            dense_updates: 0,
            windows,
        }
    }

    /// The parent's name of a column.
    #[must_use]
    pub fn column_of_parent<'s>(&'s self, column: &'s str) -> &'s str {
        self.columns.get(column).map_or(column, String::as_str)
    }

    pub(super) fn validate(&self, p: &mut Problems) {
        p.check(!self.parent.is_empty(), "parent", || "is empty, name a run directory or a checkpoint");
        p.check(self.evict_after != Some(0), "evict_after", || "is 0, leave it out for never");
        p.check(self.evict_after.is_none_or(|runs| runs <= 64), "evict_after", || "must be at most 64");
        for table in [ITEM, OUTPUT] {
            p.check(
                !self.columns.contains_key(table),
                &format!("columns.{table}"),
                || "is the name of a table, not of a column: items are known by their keys",
            );
        }
    }
}

impl JobSpec {
    /// Updates after `step` steps of this job. What is frozen is not updated; what an optimizer was before is counted where
    /// its state is kept.
    #[must_use]
    pub fn updates_after(&self, step: u64) -> Updates {
        let Some(warm) = &self.warm_start else { return Updates { tables: step, dense: step } };
        let before = |updates: u64| if warm.optimizer_state == KeptState::Keep { updates } else { 0 };
        Updates {
            tables: before(warm.table_updates) + step.saturating_sub(warm.freeze_tables),
            dense: before(warm.dense_updates) + step.saturating_sub(warm.freeze_dense),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn updates_count_the_parents_where_its_state_is_kept_and_not_the_frozen_steps() {
        let mut job = JobSpec::default();
        assert_eq!(job.updates_after(7), Updates { tables: 7, dense: 7 });
        let parent = WarmStartSpec::of("runs/first".into());
        let mut warm = WarmStartSpec { table_updates: 100, dense_updates: 90, freeze_dense: 5, ..parent };
        job.warm_start = Some(warm.clone());
        assert_eq!(job.updates_after(3), Updates { tables: 103, dense: 90 });
        assert_eq!(job.updates_after(7), Updates { tables: 107, dense: 92 });
        warm.optimizer_state = KeptState::Reset;
        job.warm_start = Some(warm);
        assert_eq!(job.updates_after(7), Updates { tables: 7, dense: 2 });
    }
}

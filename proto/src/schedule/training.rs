//! How a run trains: on how many workers, and what it begins from.

use serde::{Deserialize, Serialize};

use crate::config::Problems;
use crate::job::{KeptState, NewRows};

crate::documented! {
    /// How a run trains.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    pub struct TrainingSpec {
        /// Number of workers.
        pub workers: u32,
        /// Fewest workers to go on with when some are lost.
        pub min_workers: u32,
        /// Fewest workers to start with, and to be shrunk to while other jobs wait; as many as `workers` where absent.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub start_workers: Option<u32>,
        /// The team that it counts for, in the coordinator's rules of the pool.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub team: String,
        /// What it begins from: the `"champion"`, the `"previous"` champion, the `"latest"` version whether it was promoted or not,
        /// or `"initial"` values. Where there is no such model it begins from initial values.
        pub from: From,
        /// What rows begin with that the parent does not know; see `warm_start.new_rows` of the job file.
        pub new_rows: NewRows,
        /// What becomes of the parent's optimizer state; see `warm_start.optimizer_state`.
        pub optimizer_state: KeptState,
        /// After how many runs an item that none of them saw begins anew; see `warm_start.evict_after`.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub evict_after: Option<u32>,
        /// For so many steps the embedding tables stay as they are, where it begins from a parent.
        pub freeze_tables: u64,
        /// For so many steps the dense parameters stay as they are, where it begins from a parent.
        pub freeze_dense: u64,
    }
}

impl Default for TrainingSpec {
    fn default() -> Self {
        let (start_workers, team, evict_after, freeze_tables, freeze_dense) = Default::default();
        Self {
            workers: 1,
            min_workers: 1,
            start_workers,
            team,
            from: From::Champion,
            new_rows: NewRows::Attributes,
            optimizer_state: KeptState::Keep,
            evict_after,
            freeze_tables,
            freeze_dense,
        }
    }
}

/// What a run begins from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum From {
    /// The model that is used.
    #[default]
    Champion,
    /// The one before it.
    Previous,
    /// The newest version.
    Latest,
    /// No model.
    Initial,
}

impl TrainingSpec {
    pub(super) fn validate(&self, p: &mut Problems) {
        let limit = 1..=1024;
        for (field, count) in [
            ("workers", self.workers),
            ("min_workers", self.min_workers),
            ("start_workers", self.start_workers.unwrap_or(1)),
        ] {
            p.check(limit.contains(&count), field, || "must be 1 to 1024");
        }
        p.check(self.min_workers <= self.workers, "min_workers", || "is more than `workers`");
        let start = self.start_workers.unwrap_or(self.workers);
        p.check(start <= self.workers, "start_workers", || "is more than `workers`");
        p.check(self.evict_after != Some(0), "evict_after", || "is 0, leave it out for never");
    }
}

//! The question before one buys: which model, on which devices, by when.
//!
//! Invariant: what comes out of [`crate::config::load`] has devices of the catalogue, tables with rows, and fits at least
//! one pool by its bytes alone.

pub mod calibration;
pub mod cluster;
pub mod device;
pub mod fleet;
pub mod layout;
pub mod tables;
pub mod workload;

use serde::{Deserialize, Serialize};

pub use calibration::{CalibrationSpec, Phase};
pub use cluster::PoolSpec;
pub use device::{Curve, DEVICES, Device, Links};
pub use fleet::RetrainingSpec;
pub use layout::{Demand, LayoutKind};
pub use workload::{
    DenseSpec, DurationText, LstmSpec, Precision, RunSpec, SoftmaxSpec, Software, TableOptimizer, TableSpec,
};

use crate::config::reference::{Section, section};
use crate::config::{Problems, Spec};

crate::documented! {
    /// A capacity question, as its TOML file asks it.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct CapacitySpec {
        /// Name of the question.
        pub name: String,
        /// The pools to choose from.
        pub pools: Vec<PoolSpec>,
        /// The embedding tables.
        #[serde(default)]
        pub tables: Vec<TableSpec>,
        /// A table list in CSV, beside this file: `table,rows,dim,pooling,zipf_alpha,shared_group`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub table_list: Option<String>,
        /// The dense part.
        #[serde(default)]
        pub dense: DenseSpec,
        /// The run.
        pub run: RunSpec,
        /// Measured points of phases.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub calibration: Vec<CalibrationSpec>,
        /// Retrainings that share the first pool.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub fleet: Vec<RetrainingSpec>,
        /// Share of retrainings that may be late.
        #[serde(default = "default_late")]
        pub late: f64,
        /// Seed of the simulations.
        #[serde(default = "default_seed")]
        pub seed: u64,
    }
}

fn default_late() -> f64 {
    0.01
}

fn default_seed() -> u64 {
    1
}

/// The tables of a capacity file, for its reference page.
pub const SECTIONS: &[Section] = &[
    section::<CapacitySpec>(""),
    section::<PoolSpec>("pools[]"),
    section::<TableSpec>("tables[]"),
    section::<DenseSpec>("dense"),
    section::<LstmSpec>("dense.lstm[]"),
    section::<SoftmaxSpec>("dense.softmax"),
    section::<RunSpec>("run"),
    section::<CalibrationSpec>("calibration[]"),
    section::<RetrainingSpec>("fleet[]"),
];

/// Refuses a name that one before has too.
fn own_name<'a>(kind: &str, mut before: impl Iterator<Item = &'a str>, name: &str, p: &mut Problems) {
    let first = before.position(|other| other == name);
    p.check(first.is_none(), "name", || {
        format!(
            "`{name}` is the name of {kind} {} too, give each a name of its own",
            first.unwrap_or_default()
        )
    });
}

impl Spec for CapacitySpec {
    fn validate(&self, problems: &mut Problems) {
        problems.check(!self.name.is_empty(), "name", || "is empty, name the question");
        problems.check(!self.pools.is_empty(), "pools", || "is empty, add [[pools]] with a device");
        for (idx, pool) in self.pools.iter().enumerate() {
            problems.within(&format!("pools.{idx}"), |p| {
                pool.validate(p);
                own_name("pool", self.pools[..idx].iter().map(|pool| &*pool.name), &pool.name, p);
            });
        }
        let ranks = self.pools.iter().map(PoolSpec::devices).max().unwrap_or(0);
        for (idx, table) in self.tables.iter().enumerate() {
            problems.within(&format!("tables.{idx}"), |p| {
                table.validate(p);
                table.demand().validate(ranks, p);
                own_name("table", self.tables[..idx].iter().map(|table| &*table.name), &table.name, p);
                self.check_room(table, p);
            });
        }
        problems.within("dense", |p| self.dense.validate(p));
        problems.within("run", |p| {
            self.run.validate(p);
            let free = self.pools.iter().find(|pool| pool.price_per_device_hour.is_none());
            p.check(self.run.budget.is_none() || free.is_none(), "budget", || {
                let pool = free.map_or("", |pool| &pool.name);
                format!("cannot be held, pool {pool} has no `price_per_device_hour`; add it, or leave the budget out")
            });
        });
        for (idx, calibration) in self.calibration.iter().enumerate() {
            problems.within(&format!("calibration.{idx}"), |p| {
                calibration.validate(p);
                let before =
                    self.calibration[..idx].iter().position(|other| other.phase == calibration.phase);
                p.check(before.is_none(), "phase", || {
                    let first = before.unwrap_or_default();
                    format!("is that of calibration {first} too, put all points of a phase into one")
                });
            });
        }
        for (idx, retraining) in self.fleet.iter().enumerate() {
            problems.within(&format!("fleet.{idx}"), |p| retraining.validate(p));
        }
        fleet::validate_together(&self.fleet, problems);
        problems.check(self.late > 0.0 && self.late < 1.0, "late", || "must lie between 0 and 1");
    }
}

impl CapacitySpec {
    /// A table that is larger than the memory of every pool can be placed nowhere.
    fn check_room(&self, table: &TableSpec, problems: &mut Problems) {
        if table.device_cache.is_some() {
            let silent = self.pools.iter().find(|pool| pool.host_memory.is_none());
            return problems.check(silent.is_none(), "device_cache", || {
                format!(
                    "puts the table into the hosts' memory, but pool {} does not say `host_memory`; add it",
                    silent.map_or("", |pool| &pool.name)
                )
            });
        }
        let room = |pool: &PoolSpec| {
            pool.device().map_or(f64::INFINITY, |device| {
                device.memory * f64::from(pool.nodes) * f64::from(device.per_node)
            })
        };
        let largest = self.pools.iter().map(room).fold(0.0, f64::max);
        let missing = table.bytes() - largest;
        // Without any device the pools are at fault, not the table.
        problems.check(largest == 0.0 || missing <= 0.0, "rows", || {
            format!(
                "table {} takes {:.1} GB with optimizer state, {:.1} GB more than all memory of the largest pool; add nodes, \
                 or take a smaller precision or optimizer state",
                table.name,
                table.bytes() / 1e9,
                missing / 1e9
            )
        });
    }
}

#[cfg(test)]
mod tests;

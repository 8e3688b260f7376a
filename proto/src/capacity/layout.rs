//! The layouts of a table, as people ask for them.

use serde::{Deserialize, Serialize};

use crate::config::Problems;

/// How a table is cut and spread over devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LayoutKind {
    /// The whole table on one device.
    TableWise,
    /// Columns on several devices.
    ColumnWise,
    /// Rows on all devices.
    RowWise,
    /// Rows on the devices of one node.
    TableRowWise,
    /// Columns over nodes, rows over the devices of each.
    Grid,
    /// A copy on each device.
    DataParallel,
}

/// What a user demands of a table; the default demands nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Demand {
    /// The layouts that it may have; any, where there are none.
    pub layouts: Vec<LayoutKind>,
    /// Layouts that it may not have.
    pub forbid: Vec<LayoutKind>,
    /// All of it on these ranks; on any, where there are none.
    pub ranks: Vec<u32>,
}

impl Demand {
    /// Whether it lets a table have the layout.
    #[must_use]
    pub fn allows(&self, layout: LayoutKind) -> bool {
        (self.layouts.is_empty() || self.layouts.contains(&layout)) && !self.forbid.contains(&layout)
    }

    /// Adds the contradictions that no cluster can resolve; `ranks` is the largest number of them in a pool.
    pub(super) fn validate(&self, ranks: u32, p: &mut Problems) {
        let left = self.layouts.iter().any(|layout| self.allows(*layout));
        p.check(
            self.layouts.is_empty() || left,
            "forbid",
            || "forbids each layout that `layouts` allows, take one out of `forbid` or add one to `layouts`",
        );
        let pinned = !self.ranks.is_empty();
        let mut distinct = self.ranks.clone();
        distinct.sort_unstable();
        distinct.dedup();
        p.check(distinct.len() == self.ranks.len(), "ranks", || "names a rank twice, name each once");
        let outside = distinct.last().copied().filter(|rank| *rank >= ranks && ranks > 0);
        p.check(outside.is_none(), "ranks", || {
            format!(
                "names rank {}, the largest pool has ranks 0 to {}",
                outside.unwrap_or(0),
                ranks.max(1) - 1
            )
        });
        let all = distinct.len() == ranks as usize;
        let few = pinned && !all && !self.layouts.is_empty();
        let spread = self.layouts.iter().all(|l| matches!(l, LayoutKind::RowWise | LayoutKind::DataParallel));
        p.check(!few || !spread, "ranks", || {
            "pins the table to some ranks while `layouts` spreads it over all; drop `ranks`, or allow table_wise or column_wise"
        });
    }
}

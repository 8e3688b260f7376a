//! The layout of a job's tables in words.

use std::collections::BTreeMap;

use muster_proto::sharding::{Placement, ShardingPlan, TableDecl, TablePlan};

/// Each table of the model with its layout, by name: `item column-wise in 4 blocks, user row-wise`.
pub(crate) fn in_words(plan: &ShardingPlan, tables: &[TableDecl]) -> String {
    let mut of_model: BTreeMap<&str, Vec<&TablePlan>> = BTreeMap::new();
    for table in tables {
        of_model.entry(table.table()).or_default().extend(plan.tables.get(&table.name));
    }
    let words: Vec<String> =
        of_model.iter().map(|(name, parts)| format!("{name} {}", of_parts(parts))).collect();
    if words.is_empty() { "no tables".to_owned() } else { words.join(", ") }
}

/// The layout of a table from those of its column blocks.
fn of_parts(parts: &[&TablePlan]) -> String {
    let Some((first, others)) = parts.split_first() else { return "nowhere".to_owned() };
    if others.is_empty() {
        return word(first.placement).to_owned();
    }
    let n = parts.len();
    if others.iter().any(|part| part.placement != first.placement) {
        let count = |placement| parts.iter().filter(|part| part.placement == placement).count();
        let kinds = ONE.into_iter().filter(|placement| count(*placement) > 0);
        let kinds: Vec<String> = kinds.map(|kind| format!("{} {}", count(kind), word(kind))).collect();
        return format!("in {n} column blocks, {}", kinds.join(" and "));
    }
    let ranks = |part: &TablePlan| {
        let mut ranks = part.owners.clone();
        ranks.sort_unstable();
        ranks.dedup();
        ranks
    };
    let spread = others.iter().any(|part| ranks(part) != ranks(first));
    let word = match first.placement {
        Placement::TableWise if spread => "column-wise",
        Placement::TableRowWise if spread => "grid",
        placement => word(placement),
    };
    format!("{word} in {n} column blocks")
}

/// What one declared table can be.
const ONE: [Placement; 4] =
    [Placement::RowWise, Placement::TableWise, Placement::DataParallel, Placement::TableRowWise];

fn word(placement: Placement) -> &'static str {
    match placement {
        Placement::RowWise => "row-wise",
        Placement::TableWise => "table-wise",
        Placement::DataParallel => "data-parallel",
        Placement::ColumnWise => "column-wise",
        Placement::TableRowWise => "table-row-wise",
        Placement::Grid => "grid",
    }
}

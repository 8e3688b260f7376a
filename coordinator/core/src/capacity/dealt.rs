//! Tables as NVIDIA's distributed-embeddings deals them (`memory_balanced`), not as a planner would.
//!
//! Large tables are cut into columns, then all slices go by size, to and fro over the ranks; slices of a table that meet are one
//! again. This balances memory and the number of tables, not lookups, and a forecast of that program has to have its imbalance.

use muster_proto::capacity::LayoutKind;

use super::place::{Placement, Ranks, Unplaced};
use crate::cost::{Cluster, Layout, Table, Workload, layout};

/// Values above which a table is cut: the `column_slice_threshold` that NVIDIA's synthetic models were measured with on many GPUs
/// (distributed-embeddings, `examples/benchmarks/synthetic_models`).
const SLICE_THRESHOLD: f64 = 1280.0 * 1_048_576.0;

/// Places every table by the rule.
///
/// # Errors
/// A table that may have none of the rule's layouts; a device that is dealt more than it holds.
pub(super) fn deal(workload: &Workload, cluster: &Cluster) -> Result<Placement, Unplaced> {
    let slices: Vec<u32> =
        workload.tables.iter().map(|table| slices_of(table, cluster)).collect::<Result<_, _>>()?;
    let n = cluster.world_size as usize;
    let size = |table: usize| {
        let Table { rows, dim, .. } = workload.tables[table];
        rows * dim / f64::from(slices[table])
    };
    let mut order: Vec<usize> =
        (0..slices.len()).flat_map(|table| std::iter::repeat_n(table, slices[table] as usize)).collect();
    order.sort_by(|a, b| size(*b).total_cmp(&size(*a)).then(b.cmp(a)));
    let mut owners = vec![Vec::new(); slices.len()];
    for (at, table) in order.into_iter().enumerate() {
        let turn = at % (2 * n);
        owners[table].push(if turn < n { turn } else { 2 * n - 1 - turn });
    }
    let mut ranks = Ranks::new(workload, cluster);
    for ((table, owners), slices) in workload.tables.iter().zip(&mut owners).zip(&slices) {
        owners.sort_unstable();
        for met in owners.chunk_by(|a, b| a == b) {
            let blocks = f64::from(*slices) / met.len() as f64;
            ranks.add(met[0], &layout::columns(table, blocks, cluster, &workload.setting));
        }
    }
    let layouts = slices.iter().map(|k| if *k == 1 { Layout::TableWise } else { Layout::ColumnWise(*k) });
    let placement = ranks.finish(layouts.zip(owners).collect(), workload, cluster);
    check(workload, cluster, &placement)?;
    Ok(placement)
}

/// The least power of two of column blocks under the threshold, no more than ranks or columns.
fn slices_of(table: &Table, cluster: &Cluster) -> Result<u32, Unplaced> {
    let refuse = |what: &str| Err(Unplaced::Demand { table: table.name.clone(), what: what.to_owned() });
    if !table.demand.ranks.is_empty() {
        return refuse(
            "tensor_flow deals tables by size and pins none; leave its ranks out, or take another software",
        );
    }
    let halvings = (table.rows * table.dim / SLICE_THRESHOLD).log2().ceil().max(0.0);
    let slices = halvings.exp2().min(cluster.n()).min(table.dim) as u32;
    let allowed = |kind| table.demand.allows(kind);
    if slices > 1 && allowed(LayoutKind::ColumnWise) {
        return Ok(slices);
    }
    if allowed(LayoutKind::TableWise) {
        return Ok(1);
    }
    refuse(
        "tensor_flow deals whole tables, and columns of large ones; allow table_wise and column_wise, or take another software",
    )
}

fn check(workload: &Workload, cluster: &Cluster, placement: &Placement) -> Result<(), Unplaced> {
    let held = placement.memory.iter().enumerate();
    let Some((fullest, held)) = held.max_by(|a, b| a.1.total_cmp(b.1)) else { return Ok(()) };
    let missing = held - workload.usable(cluster);
    if missing <= 0.0 {
        return Ok(());
    }
    let tables = workload.tables.iter().zip(&placement.tables);
    let here = tables.filter(|(_, (_, owners))| owners.contains(&fullest)).map(|(table, _)| table);
    let largest = here.max_by(|a, b| a.bytes().total_cmp(&b.bytes()));
    Err(Unplaced::Dealt { table: largest.map_or_else(String::new, |table| table.name.clone()), missing })
}

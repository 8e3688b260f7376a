//! What a worker has room for, and what tables take besides themselves.

use muster_proto::checkpoint::copies_bytes;
use muster_proto::control::DeviceKind;
use muster_proto::job::JobSpec;
use muster_proto::sharding::TableDecl;

use super::super::planning::Worker;
use super::cost::Costs;

/// Bytes that a worker has for tables; what it does not say is taken as enough. A host's memory is shared by its workers.
pub(super) fn room(worker: &Worker<'_>, job: &JobSpec) -> u64 {
    let has = worker.capabilities;
    let bytes = match &has.gpu {
        Some(gpu) if !in_host_memory(worker, job) => gpu.memory_bytes,
        _ => has.memory_bytes / u64::from(worker.sharers.max(1)),
    };
    if bytes == 0 { u64::MAX } else { bytes }
}

/// Whether a worker's tables are in its host's memory.
pub(super) fn in_host_memory(worker: &Worker<'_>, job: &JobSpec) -> bool {
    worker.capabilities.device == DeviceKind::Cpu || !job.tables.device_cache.is_empty()
}

/// How many times the bytes of a piece copies in memory take on the rank that answers for it, and again on the next one,
/// where a step writes `touched` of its rows: the least, since a copy may hold what several steps wrote.
pub(super) fn copies_share(job: &JobSpec, touched: f64, world_size: u32) -> f64 {
    if !job.checkpoint.memory_copies || world_size == 1 {
        return 0.0;
    }
    copies_bytes(1.0, 0.0, 0.0, touched)
}

/// Bytes that copies of the pieces of the rank before take on each, where all have as much.
pub(super) fn even_copies(costs: &[Costs], world_size: u32) -> f64 {
    let all: f64 = costs.iter().map(|costs| costs.bytes * costs.copies).sum();
    all / f64::from(world_size.max(1))
}

/// Bytes of each rank's share of a table that is cut into columns and put together to rank items.
pub(super) fn of_evaluation(job: &JobSpec, tables: &[TableDecl], costs: &[Costs], world_size: u32) -> f64 {
    let scored = job.scored_table();
    let cut = tables.iter().zip(costs).filter(|(table, _)| table.columns.is_some());
    let parts = cut.filter(|(table, _)| Some(table.table()) == scored);
    parts.map(|(_, costs)| costs.weight_bytes).sum::<f64>() / f64::from(world_size.max(1))
}

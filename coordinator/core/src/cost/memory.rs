//! Memory of a rank beside its tables.

use muster_proto::capacity::Precision;

use super::Cluster;
use super::dense::Dense;

/// NCCL's buffers: 342 MB for two ranks, 392 MB for more (aiconfigurator, a100_sxm.yaml and h100_sxm.yaml).
fn nccl(world_size: u32) -> f64 {
    match world_size {
        0 | 1 => 0.0,
        2 | 3 => 358_612_992.0,
        _ => 411_041_792.0,
    }
}

/// Share of the memory that the allocator cannot use, the upper end of 2 to 4 % (planner notes 5.3).
const FRAGMENTATION: f64 = 0.04;
/// The CUDA context, libraries' workspaces and kernels (the 551 MB that aiconfigurator saw).
const CONTEXT: f64 = 551e6;

/// Bytes of a rank that no table takes: parameters with master copy, gradient and two moments, activations, NCCL, context.
#[must_use]
pub fn beside_tables(dense: &Dense, samples: f64, precision: Precision, cluster: &Cluster) -> f64 {
    let master = if precision == Precision::F32 { 0.0 } else { 4.0 };
    let parameters = dense.parameters * (2.0 * precision.bytes() + master + 8.0);
    let activations = samples * (2.0 * dense.activations * precision.bytes() + dense.more_bytes);
    parameters + activations + nccl(cluster.world_size) + CONTEXT
}

/// Bytes of a device that can be used.
#[must_use]
pub fn usable(cluster: &Cluster) -> f64 {
    cluster.device.memory * (1.0 - FRAGMENTATION)
}

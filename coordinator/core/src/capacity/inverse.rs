//! The question turned round: how many nodes for a deadline and a budget.

use muster_proto::capacity::{CapacitySpec, PoolSpec};

use super::answer::{Answer, Unanswered, answer};

/// The answers for 1, 2, 4, ... nodes and for all of the pool; sizes into which the model does not fit give an error.
#[must_use]
pub fn scaling(spec: &CapacitySpec, pool: &PoolSpec) -> Vec<(u32, Result<Answer, Unanswered>)> {
    let mut sizes: Vec<u32> = (0..=16).map(|bit| 1 << bit).take_while(|nodes| *nodes < pool.nodes).collect();
    sizes.push(pool.nodes);
    sizes.into_iter().map(|nodes| (nodes, answer(spec, pool, nodes))).collect()
}

/// The fewest nodes of a pool that keep deadline and budget; none where no number up to the pool's does.
///
/// A step's time does not always fall with more nodes, so every number is tried up to 64. Above, numbers are tried in steps of a
/// thirty-second part, and once one does, all between it and the last that did not.
#[must_use]
pub fn fewest(spec: &CapacitySpec, pool: &PoolSpec) -> Option<Answer> {
    let keeps = |answer: &Answer| answer.in_time != Some(false) && answer.in_budget != Some(false);
    let of = |nodes: u32| answer(spec, pool, nodes).ok().filter(keeps);
    let next = |nodes: &u32| Some(nodes + (nodes / 32).max(1));
    let sizes = std::iter::successors(Some(1_u32), next).take_while(|nodes| *nodes < pool.nodes);
    let mut last = 0;
    for nodes in sizes.chain([pool.nodes]) {
        if let Some(found) = of(nodes) {
            return Some((last + 1..nodes).find_map(of).unwrap_or(found));
        }
        last = nodes;
    }
    None
}

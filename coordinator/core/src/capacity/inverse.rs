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

/// Numbers of nodes times tables up to which every number is tried: some seconds of planning.
const MOST_TRIED: usize = 16_384;

/// The fewest nodes of a pool that keep deadline and budget; none where no number that was tried does.
///
/// A step's time does not always fall with more nodes, so every number is tried. Where that would be too much, numbers above 64 are
/// in steps of a thirty-second part, beside powers of two, and once one does, all between it and the last that did not.
#[must_use]
pub fn fewest(spec: &CapacitySpec, pool: &PoolSpec) -> Option<Answer> {
    let keeps = |answer: &Answer| answer.in_time != Some(false) && answer.in_budget != Some(false);
    let of = |nodes: u32| answer(spec, pool, nodes).ok().filter(keeps);
    let mut last = 0;
    for nodes in sizes(pool.nodes, spec.tables.len()) {
        if let Some(found) = of(nodes) {
            return Some((last + 1..nodes).find_map(of).unwrap_or(found));
        }
        last = nodes;
    }
    None
}

/// The numbers of nodes that are tried first, in order.
fn sizes(most: u32, tables: usize) -> Vec<u32> {
    if most as usize * tables.max(1) <= MOST_TRIED {
        return (1..=most).collect();
    }
    let next = |nodes: &u32| Some(nodes + (nodes / 32).max(1));
    let steps = std::iter::successors(Some(1_u32), next).take_while(|nodes| *nodes < most);
    let mut sizes: Vec<u32> = steps.chain((0..=16).map(|bit| 1 << bit)).chain([most]).collect();
    sizes.retain(|nodes| *nodes <= most);
    sizes.sort_unstable();
    sizes.dedup();
    sizes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_tried_where_that_is_little_and_else_a_thirty_second_part_apart() {
        assert_eq!(sizes(1024, 16), (1..=1024).collect::<Vec<_>>());
        let few = sizes(1024, 500);
        assert!(few.len() < 200 && few.starts_with(&(1..=64).collect::<Vec<_>>()), "{few:?}");
        assert!(few.contains(&128) && few.contains(&512) && few.last() == Some(&1024));
        assert!(few.windows(2).all(|pair| pair[1] - pair[0] <= (pair[0] / 32).max(1)));
    }
}

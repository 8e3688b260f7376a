//! Operations that add: the right sum, in the right order, to the bit.

use muster_collective::{Error, Root, RootSums, segment};

use crate::world::{World, bits, values};

/// Sizes around the limits where a transport changes its ways.
const LENGTHS: [usize; 9] = [0, 1, 15, 16, 17, 2_049, 40_000, 262_144, 1_000_003];

fn sum_in_rank_order(world_size: usize, len: usize) -> Vec<f32> {
    let mut sum = values(0, len);
    for rank in 1..world_size {
        for (sum, value) in sum.iter_mut().zip(values(rank, len)) {
            *sum += value;
        }
    }
    sum
}

pub(crate) fn all_reduce_adds_in_rank_order(world: World) {
    world.run(|group| {
        for len in LENGTHS {
            let mut data = values(group.rank(), len);
            group.all_reduce(&mut data).unwrap();
            assert!(bits(&data) == bits(&sum_in_rank_order(world.size, len)), "len {len}");
        }
    });
}

pub(crate) fn reduce_scatter_gives_each_rank_its_segment(world: World) {
    world.run(|group| {
        for len in LENGTHS {
            let part = segment(len, world.size, group.rank());
            let mut mine = vec![f32::NAN; part.len()];
            group.reduce_scatter(&values(group.rank(), len), &mut mine).unwrap();
            assert!(bits(&mine) == bits(&sum_in_rank_order(world.size, len)[part]), "len {len}");
        }
    });
}

/// The leaves that `rank` has when `leaves` are cut by `cuts`, which may leave ranks empty.
fn share(leaves: usize, cuts: &[usize], rank: usize) -> std::ops::Range<usize> {
    let at = |index: usize| {
        if index == 0 { 0 } else { cuts.get(index - 1).map_or(leaves, |&cut| cut.min(leaves)) }
    };
    at(rank)..at(rank + 1)
}

fn local_sums(leaves: usize, share: std::ops::Range<usize>, len: usize) -> RootSums {
    let mut sums = RootSums::new(leaves);
    for leaf in share {
        sums.push(leaf, values(leaf, len)).unwrap();
    }
    sums
}

/// Sums a tree over ranks that have the leaves between `cuts`, and compares with the sum in one process.
pub(crate) fn assert_tree_sum(world: World, leaves: usize, cuts: &[usize], len: usize) {
    let whole = local_sums(leaves, 0..leaves, len);
    let expected = whole.roots().first().map_or_else(|| vec![0.0; len], |root| root.values.to_vec());
    world.run(|group| {
        let sums = local_sums(leaves, share(leaves, cuts, group.rank()), len);
        let mut out = vec![f32::NAN; len];
        group.all_reduce_tree(&sums.roots(), leaves, &mut out).unwrap();
        assert!(bits(&out) == bits(&expected), "{leaves} leaves cut at {cuts:?}, len {len}");
    });
}

pub(crate) fn a_tree_sum_has_the_bits_of_one_process(world: World) {
    for (leaves, len) in [(8, 0), (8, 5), (16, 70_001), (7, 1_000_003), (3, 2_500), (1, 40_000)] {
        let even: Vec<_> = (1..world.size).map(|rank| rank * leaves / world.size).collect();
        assert_tree_sum(world, leaves, &even, len);
    }
    let uneven: Vec<_> = (1..world.size).map(|rank| 5 + rank).collect();
    assert_tree_sum(world, 8, &uneven, 9_000);
}

pub(crate) fn ranks_without_leaves_get_the_sum(world: World) {
    let all_on_the_last = vec![0; world.size - 1];
    assert_tree_sum(world, 8, &all_on_the_last, 5_000);
    assert_tree_sum(world, 8, &all_on_the_last, 200_000);
}

pub(crate) fn a_tree_without_leaves_sums_to_zero(world: World) {
    assert_tree_sum(world, 0, &vec![0; world.size - 1], 100);
    assert_tree_sum(world, 0, &vec![0; world.size - 1], 100_000);
}

pub(crate) fn missing_and_repeated_leaves_are_an_error_on_all_ranks(world: World) {
    for len in [10, 100_000] {
        let outcomes = world.run(|group| {
            let values = vec![1.0; len];
            let mine = [Root { lo: 0, hi: 4, values: &values }];
            let roots = if group.rank() == 0 { &mine[..] } else { &[] };
            group.all_reduce_tree(roots, 8, &mut vec![0.0; len])
        });
        assert!(
            outcomes.iter().all(|outcome| matches!(outcome, Err(Error::Roots { leaves: 8, .. }))),
            "{outcomes:?}"
        );
    }
    let outcomes = world.run(|group| {
        let roots = [Root { lo: 0, hi: 4, values: &[1.0] }, Root { lo: 2, hi: 8, values: &[1.0] }];
        group.all_reduce_tree(&roots, 8, &mut [0.0])
    });
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Err(Error::Roots { .. }))), "{outcomes:?}");
}

pub(crate) fn any_number_of_roots_is_taken(world: World) {
    let (leaves, len) = (10_000, 20);
    let outcomes = world.run(|group| {
        let (rank, size) = (group.rank(), group.world_size());
        let values: Vec<Vec<f32>> = (rank..leaves).step_by(size).map(|leaf| values(leaf, len)).collect();
        let leaf = |(index, values)| {
            let lo = rank + index * size;
            Root { lo, hi: lo + 1, values }
        };
        let roots: Vec<_> = values.iter().map(Vec::as_slice).enumerate().map(leaf).collect();
        let mut out = vec![f32::NAN; len];
        group.all_reduce_tree(&roots, leaves, &mut out).map(|()| bits(&out))
    });
    let expected = bits(local_sums(leaves, 0..leaves, len).roots()[0].values);
    assert!(outcomes.iter().all(|outcome| *outcome.as_ref().unwrap() == expected));
}

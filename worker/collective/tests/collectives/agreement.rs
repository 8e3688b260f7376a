//! Ranks that call different collectives learn it, all of them, and from then on fail.

use muster_collective::{Collective, CollectiveExt, Dtype, Error, Op, Root, Shape, Signature};

use crate::world::{World, is_argument};

/// Runs `odd` on the last rank and `common` on the others; returns what each saw as (mine, peer, theirs).
fn disagree(
    world: World,
    common: impl Fn(&mut dyn Collective) -> Result<(), Error> + Sync,
    odd: impl Fn(&mut dyn Collective) -> Result<(), Error> + Sync,
) -> Vec<(Signature, usize, Signature)> {
    let outcomes = world.run(|group| {
        group.barrier().unwrap();
        let outcome = if group.rank() + 1 == world.size { odd(group) } else { common(group) };
        let later = group.barrier();
        assert_eq!(format!("{later:?}"), format!("{outcome:?}"), "a failed group stays failed");
        outcome
    });
    let mut seen = Vec::new();
    for (rank, outcome) in outcomes.into_iter().enumerate() {
        let Err(Error::Mismatch { seq, rank: named, mine, peer, theirs }) = outcome else {
            panic!("rank {rank}: {outcome:?}")
        };
        assert_eq!((named, seq), (rank, mine.seq));
        assert_ne!(mine, theirs);
        assert_ne!(peer, rank);
        seen.push((mine, peer, theirs));
    }
    seen
}

pub(crate) fn a_different_operation_is_a_mismatch_on_all_ranks(world: World) {
    let seen = disagree(world, |group| group.barrier(), |group| group.all_reduce(&mut [1.0, 2.0]));
    let last = seen.len() - 1;
    for (mine, peer, theirs) in &seen[..last] {
        assert_eq!((mine.op, *peer, theirs.op), (Op::Barrier, last, Op::AllReduce));
        assert_eq!((theirs.shape, theirs.seq), (Shape::Elements(2), 2));
    }
    assert_eq!(seen[last].2.op, Op::Barrier);
}

pub(crate) fn a_different_element_type_is_a_mismatch_on_all_ranks(world: World) {
    let seen = disagree(
        world,
        |group| group.all_gather::<f32>(&[1.0], &mut Vec::new()),
        |group| group.all_gather::<u32>(&[1], &mut Vec::new()),
    );
    assert_eq!((seen[0].0.dtype, seen[0].2.dtype), (Dtype::F32, Dtype::U32));
}

pub(crate) fn a_different_shape_is_a_mismatch_on_all_ranks(world: World) {
    for (common, odd) in [(3, 4), (300_000, 300_001), (500_000, 0), (1, 500_000)] {
        let seen = disagree(
            world,
            |group| group.all_reduce(&mut vec![1.0; common]),
            |group| group.all_reduce(&mut vec![1.0; odd]),
        );
        assert_eq!(seen[0].0.shape, Shape::Elements(common as u64));
        assert_eq!(seen[0].2.shape, Shape::Elements(odd as u64));
    }
}

pub(crate) fn a_different_tree_or_root_is_a_mismatch_on_all_ranks(world: World) {
    let tree = |leaves: usize| {
        move |group: &mut dyn Collective| {
            let values = [1.0; 4];
            let root = [Root { lo: 0, hi: leaves, values: &values }];
            let roots = if group.rank() == 0 { &root[..] } else { &[] };
            group.all_reduce_tree(roots, leaves, &mut [0.0; 4])
        }
    };
    let seen = disagree(world, tree(8), tree(16));
    assert_eq!(seen[0].0.op, Op::AllReduceTree { leaves: 8 });
    let from = |root: usize| move |group: &mut dyn Collective| group.broadcast::<u8>(root, &mut [0; 9]);
    let seen = disagree(world, from(0), from(1));
    assert_eq!(seen[0].2.op, Op::Broadcast { root: 1 });
}

pub(crate) fn a_rank_that_skipped_a_call_is_a_mismatch_on_all_ranks(world: World) {
    let outcomes = world.run(|group| {
        // A call with wrong arguments is not sent and not counted.
        assert!(is_argument(&group.broadcast::<u8>(99, &mut []), "root"));
        assert!(is_argument(&group.reduce_scatter(&[0.0; 5], &mut [0.0; 6]), "mine"));
        assert!(is_argument(&group.all_to_all::<u8>(&[], &mut Vec::new()), "send"));
        let root = Root { lo: 3, hi: 9, values: &[] };
        assert!(is_argument(&group.all_reduce_tree(&[root], 8, &mut []), "roots"));
        group.barrier()?;
        if group.rank() != 0 {
            group.all_gather::<u8>(&[], &mut Vec::new())?;
        }
        group.all_gather::<u8>(&[], &mut Vec::new())?;
        group.barrier()
    });
    // Rank 0 runs the first all_gather with the others, and its barrier meets their second.
    for outcome in outcomes {
        let Err(Error::Mismatch { mine, theirs, .. }) = outcome else { panic!("{outcome:?}") };
        assert_eq!((mine.seq, theirs.seq), (3, 3));
        assert_ne!(mine.op, theirs.op);
    }
}

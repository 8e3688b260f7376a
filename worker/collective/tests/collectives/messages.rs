//! Operations that move messages: what is sent arrives, whatever its size.

use muster_collective::CollectiveExt;

use crate::world::World;

/// What rank `from` sends to rank `to`: of a size that differs by pair and is zero for some.
fn message(from: usize, to: usize, unit: usize) -> Vec<u32> {
    let len = ((from * 5 + to * 3) % 4) * unit;
    (0..len).map(|element| (from * 1_000_003 + to * 1_009 + element) as u32).collect()
}

pub(crate) fn all_to_all_delivers_uneven_and_empty_messages(world: World) {
    world.run(|group| {
        let (rank, size) = (group.rank(), group.world_size());
        let mut received = Vec::new();
        for unit in [0, 1, 1000, 300_000, 3] {
            let send: Vec<_> = (0..size).map(|to| message(rank, to, unit)).collect();
            let send: Vec<_> = send.iter().map(Vec::as_slice).collect();
            group.all_to_all::<u32>(&send, &mut received).unwrap();
            assert_eq!(received.len(), size);
            for (from, received) in received.iter().enumerate() {
                assert_eq!(*received, message(from, rank, unit), "from {from} to {rank}, unit {unit}");
            }
        }
    });
}

pub(crate) fn all_to_all_delivers_from_one_rank_only(world: World) {
    world.run(|group| {
        let (rank, size) = (group.rank(), group.world_size());
        let big = vec![5u8; 2_000_003];
        let nothing: &[u8] = &[];
        let send: Vec<&[u8]> = (0..size).map(|_| if rank == 0 { &big[..] } else { nothing }).collect();
        let mut received = Vec::new();
        group.all_to_all::<u8>(&send, &mut received).unwrap();
        assert!(received[0] == big);
        assert!(received[1..].iter().all(Vec::is_empty));
    });
}

pub(crate) fn all_gather_delivers_uneven_and_empty_messages(world: World) {
    world.run(|group| {
        let rank = group.rank();
        let mut received = Vec::new();
        for unit in [1, 0, 500_000, 7] {
            let mine: Vec<u64> = message(rank, 1, unit).into_iter().map(u64::from).collect();
            group.all_gather::<u64>(&mine, &mut received).unwrap();
            assert_eq!(received.len(), group.world_size());
            for (from, received) in received.iter().enumerate() {
                let expected: Vec<u64> = message(from, 1, unit).into_iter().map(u64::from).collect();
                assert!(*received == expected, "from {from}, unit {unit}");
            }
        }
    });
}

pub(crate) fn broadcast_delivers_from_every_root(world: World) {
    world.run(|group| {
        for root in 0..group.world_size() {
            for len in [0, 1, 13, 700_001] {
                let mut data = vec![group.rank() as f64; len];
                group.broadcast::<f64>(root, &mut data).unwrap();
                assert!(data == vec![root as f64; len], "root {root}, len {len}");
            }
        }
    });
}

pub(crate) fn nobody_leaves_a_barrier_before_all_have_come(world: World) {
    let arrived = std::sync::atomic::AtomicUsize::new(0);
    world.run(|group| {
        for round in 1..=100 {
            arrived.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            group.barrier().unwrap();
            assert!(arrived.load(std::sync::atomic::Ordering::SeqCst) >= round * group.world_size());
        }
    });
}

pub(crate) fn every_element_type_travels(world: World) {
    world.run(|group| {
        let rank = group.rank();
        let mut received = Vec::new();
        group.all_gather::<i64>(&[-1, rank as i64], &mut received).unwrap();
        assert_eq!(received[0], [-1, 0]);
        let mut received = Vec::new();
        group.all_gather::<f32>(&[0.5], &mut received).unwrap();
        assert_eq!(received[rank], [0.5]);
        let mut received = Vec::new();
        group.all_gather::<u8>(b"muster", &mut received).unwrap();
        assert_eq!(received[0], b"muster");
    });
}

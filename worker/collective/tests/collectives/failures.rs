//! Ranks that die, are aborted, come late or send too much: an error on every rank, never a hang.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use muster_collective::{AbortHandle, CollectiveExt, Error, Op};

use crate::world::{PATIENT, World};

pub(crate) fn an_abort_ends_a_pending_call_and_every_later_one(world: World) {
    let (blocked, handles) = mpsc::channel::<AbortHandle>();
    let (ended, end) = mpsc::channel::<()>();
    let (handles, end) = (std::sync::Mutex::new(handles), std::sync::Mutex::new(end));
    let started = Instant::now();
    world.run(|group| {
        if group.rank() == 0 {
            // Only rank 0 calls, so that it waits until it is aborted.
            blocked.send(group.abort_handle()).unwrap();
            let aborted =
                |outcome| matches!(outcome, Err(Error::Aborted { reason }) if reason == "a new generation");
            assert!(aborted(group.all_reduce(&mut vec![1.0; 100_000])));
            assert!(aborted(group.barrier()));
            let last = *group.flights().last().unwrap();
            assert_eq!(
                (last.op, last.bytes, last.ended),
                (Op::AllReduce, 400_000, None),
                "what was under way"
            );
            ended.send(()).unwrap();
        } else if group.rank() == 1 {
            handles.lock().unwrap().recv().unwrap().abort("a new generation");
            end.lock().unwrap().recv().unwrap();
            let outcome = group.all_reduce(&mut vec![1.0; 100_000]);
            assert!(matches!(outcome, Err(Error::PeerLost { .. })), "{outcome:?}");
        } else {
            let outcome = group.all_reduce(&mut vec![1.0; 100_000]);
            assert!(matches!(outcome, Err(Error::PeerLost { .. })), "{outcome:?}");
        }
    });
    assert!(started.elapsed() < PATIENT, "nobody waits out the timeout");
}

pub(crate) fn an_abort_before_a_call_ends_it_at_once(world: World) {
    let outcomes = world.run(|group| {
        group.abort_handle().abort("first");
        group.abort_handle().abort("second");
        group.barrier()
    });
    assert!(
        outcomes.iter().all(|outcome| matches!(outcome, Err(Error::Aborted { reason }) if reason == "first"))
    );
}

pub(crate) fn a_lost_rank_is_noticed_by_all_others(world: World) {
    for elements in [0, 10, 3_000_000] {
        let started = Instant::now();
        let outcomes = world.run(|group| {
            group.barrier().unwrap();
            if group.rank() == 0 { Ok(()) } else { group.all_reduce(&mut vec![1.0; elements]) }
        });
        for outcome in &outcomes[1..] {
            assert!(matches!(outcome, Err(Error::PeerLost { .. })), "{outcome:?}");
        }
        assert!(started.elapsed() < PATIENT, "nobody waits out the timeout");
    }
}

pub(crate) fn ranks_that_finish_early_are_not_lost(world: World) {
    for elements in [1, 400_000] {
        world.run(|group| group.all_reduce(&mut vec![1.0; elements]).unwrap());
    }
}

pub(crate) fn a_rank_that_does_not_come_is_a_timeout_that_names_it(world: World) {
    let world = World { timeout: Duration::from_millis(500), ..world };
    let (done, all_done) = mpsc::channel::<()>();
    let all_done = std::sync::Mutex::new(all_done);
    world.run(|group| {
        if group.rank() == 0 {
            let all_done = all_done.lock().unwrap();
            (1..world.size).for_each(|_| all_done.recv().unwrap());
            return;
        }
        let outcome = group.all_gather::<u8>(&[1], &mut Vec::new());
        match outcome {
            Err(Error::Timeout { seq: 1, waiting_for, .. }) => assert_eq!(waiting_for, [0]),
            // Another rank may have timed out a moment earlier and left.
            Err(Error::PeerLost { rank }) => assert!(rank != 0 && world.size > 2),
            other => panic!("{other:?}"),
        }
        done.send(()).unwrap();
    });
}

pub(crate) fn all_ranks_that_do_not_come_are_named(world: World) {
    let world = World { timeout: Duration::from_millis(500), ..world };
    let gate = std::sync::Barrier::new(world.size);
    world.run(|group| {
        if group.rank() == 0 {
            let outcome = group.barrier();
            let everyone: Vec<_> = (1..world.size).collect();
            let named =
                matches!(&outcome, Err(Error::Timeout { waiting_for, .. }) if *waiting_for == everyone);
            assert!(named, "{outcome:?}");
        }
        gate.wait();
    });
}

pub(crate) fn a_message_over_the_bound_is_refused_by_its_sender(world: World) {
    let world = World { max_message: 1000, ..world };
    let outcomes = world.run(|group| {
        group.all_gather::<u8>(&[1; 1000], &mut Vec::new()).unwrap();
        group.all_gather::<u8>(&vec![1; if group.rank() == 0 { 1001 } else { 1000 }], &mut Vec::new())
    });
    assert!(
        matches!(outcomes[0], Err(Error::TooLarge { from: 0, bytes: 1001, limit: 1000 })),
        "{outcomes:?}"
    );
    assert!(
        outcomes[1..].iter().all(|outcome| matches!(outcome, Err(Error::PeerLost { .. }))),
        "{outcomes:?}"
    );
}

pub(crate) fn a_message_that_is_no_whole_number_of_elements_is_refused(world: World) {
    use muster_collective::Dtype;
    let outcomes = world.run(|group| {
        let mut received: Vec<Vec<f32>> = Vec::new();
        let mine = if group.rank() == 0 { &[0; 7][..] } else { &[0; 8] };
        group.all_gather_bytes(Dtype::F32, mine, &mut received)
    });
    for outcome in &outcomes[1..] {
        let seen = matches!(outcome, Err(Error::Size { from: 0, bytes: 7 } | Error::PeerLost { .. }));
        assert!(seen, "{outcomes:?}");
    }
    assert!(outcomes[1..].iter().any(|outcome| matches!(outcome, Err(Error::Size { .. }))), "{outcomes:?}");
}

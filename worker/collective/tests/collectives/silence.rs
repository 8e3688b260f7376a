//! Peers whose host goes silent, and peers that are only slow.
//!
//! The silence is real: a test runs itself in a network namespace of its own, whose loopback device is taken down
//! under connections that are open.

#![allow(clippy::print_stdout, reason = "a test says what it measured, and that it is skipped")]

use std::process::Command;
use std::sync::{Barrier, Mutex, mpsc};
use std::time::{Duration, Instant};

use muster_collective::{Collective, CollectiveExt, Error, Transport, connect};

use crate::world::{PATIENT, World, addresses, listeners};

/// The shortest that can be had.
const SILENCE: Duration = Duration::from_secs(2);
/// How much later than allowed a silence may be told, on a machine under load.
const SLACK: Duration = Duration::from_secs(3);

const INSIDE: &str = "MUSTER_COLLECTIVE_INSIDE";

/// Whether this process is inside a network namespace of its own. Outside, it runs the test of that name inside.
fn is_inside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        loopback("up");
        return true;
    }
    let enter = |program: &[&std::ffi::OsStr]| {
        // A rank that panics leaves the others at a gate; the time limit ends them.
        Command::new("timeout").args(["120", "unshare", "-Urn"]).args(program).env(INSIDE, "1").output()
    };
    let can = enter(&["ip".as_ref(), "link".as_ref()]);
    if !can.as_ref().is_ok_and(|output| output.status.success()) {
        let problem = format!("no network namespace for {test} (unshare -Urn ip link): {can:?}");
        assert!(std::env::var_os("MUSTER_REQUIRE_ALL").is_none(), "{problem}");
        println!("skipped: {problem}");
        return false;
    }
    let program = std::env::current_exe().unwrap();
    let ran = enter(&[program.as_ref(), test.as_ref(), "--exact".as_ref(), "--nocapture".as_ref()]).unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{said}{}", String::from_utf8_lossy(&ran.stderr));
    said.lines().filter(|line| line.contains("measured")).for_each(|line| println!("{line}"));
    false
}

fn loopback(state: &str) {
    let set = Command::new("ip").args(["link", "set", "lo", state]).status().unwrap();
    assert!(set.success(), "loopback cannot be set {state}");
}

/// Waits until a message lies unread at its receiver, and none is on its way.
fn wait_until_delivered() {
    let deadline = Instant::now() + PATIENT;
    loop {
        let sockets = std::fs::read_to_string("/proc/thread-self/net/tcp").unwrap();
        let queues: Vec<_> =
            sockets.lines().skip(1).filter_map(|line| line.split_whitespace().nth(4)).collect();
        let sent = queues.iter().all(|queue| queue.starts_with("00000000:"));
        if sent && queues.iter().any(|queue| !queue.ends_with(":00000000")) {
            return;
        }
        assert!(Instant::now() < deadline, "{sockets}");
        std::thread::yield_now();
    }
}

fn assert_silent(outcome: Result<(), Error>, cut: Instant, what: &str, (rank, size): (usize, usize)) {
    let told = cut.elapsed();
    match outcome {
        // Nobody hears anybody, so that each of several takes itself for the one that is cut off.
        Err(Error::CutOff { rank: of }) => assert!(size > 2 && of == rank, "rank {rank}: {of} of {size}"),
        Err(Error::PeerSilent { rank: peer }) => {
            assert!(size == 2 && peer != rank, "rank {rank}: {peer} of {size}");
        }
        other => panic!("{what}, rank {rank} of {size}: {other:?}"),
    }
    assert!(told < SILENCE + SLACK, "{what}: told after {told:?}");
    println!("measured: {what}, rank {rank} of {size}: told {:.2} s after the cut", told.as_secs_f64());
}

#[test]
fn a_cut_is_noticed_with_data_unacknowledged_and_with_nothing_but_a_wait() {
    if !is_inside("silence::a_cut_is_noticed_with_data_unacknowledged_and_with_nothing_but_a_wait") {
        return;
    }
    for size in [2, 3] {
        for transport in [Transport::Tcp, Transport::Shm] {
            for elements in [0, 3_000_000] {
                cut_off(World { silence: SILENCE, ..World::new(transport, size) }, elements);
            }
        }
    }
}

/// Rank 0 waits in a barrier and is cut off, or is cut off and then sends so many elements; the others come later.
fn cut_off(world: World, elements: usize) {
    loopback("up");
    let what = format!("{:?}, {elements} elements", world.transport);
    let (cutting, cut) = mpsc::channel::<Instant>();
    let (cutting, cut, gate) = (Mutex::new(cutting), Mutex::new(cut), Barrier::new(world.size));
    let cut_now = || {
        loopback("down");
        cutting.lock().unwrap().send(Instant::now()).unwrap();
    };
    world.run(|group| {
        group.barrier().unwrap();
        gate.wait();
        let at = (group.rank(), world.size);
        if group.rank() == 0 {
            if elements > 0 {
                cut_now();
            }
            let outcome =
                if elements > 0 { group.all_reduce(&mut vec![1.0; elements]) } else { group.barrier() };
            let begun = cut.lock().unwrap().recv().unwrap();
            assert_silent(outcome, begun, &what, at);
        } else if group.rank() == 1 && elements == 0 {
            if world.transport == Transport::Tcp {
                wait_until_delivered();
            }
            cut_now();
        }
        gate.wait();
        // By now the kernel of each has given the others up, and says so in the first wait.
        if group.rank() != 0 && world.transport == Transport::Tcp && elements > 0 {
            let outcome = group.all_reduce(&mut vec![1.0; elements]);
            assert_silent(outcome, Instant::now(), &what, at);
        }
        gate.wait();
    });
}

#[test]
fn a_host_that_does_not_answer_a_dial_is_told_before_the_timeout() {
    if !is_inside("silence::a_host_that_does_not_answer_a_dial_is_told_before_the_timeout") {
        return;
    }
    for size in [2, 3] {
        loopback("up");
        let listeners = listeners(size);
        let world = World { silence: SILENCE, ..World::new(Transport::Tcp, size) };
        loopback("down");
        let begun = Instant::now();
        let outcome = connect(world.config(1, &listeners[1], addresses(&listeners))).map(|_| ());
        assert_silent(outcome, begun, "a dial", (1, size));
    }
}

/// Computes, and leaves its sockets alone.
fn compute(time: Duration) {
    let end = Instant::now() + time;
    let mut value = 1.0_f64;
    while Instant::now() < end {
        value = std::hint::black_box(value * 1.000_001);
    }
}

fn assert_slow_is_not_lost(transport: Transport) {
    let world = World { silence: SILENCE, ..World::new(transport, 2) };
    world.run(|group: &mut dyn Collective| {
        group.barrier().unwrap();
        if group.rank() == 1 {
            // More than twice the silence that is allowed, while its window is closed by what it does not read.
            compute(SILENCE * 2 + SILENCE / 2);
        }
        let mut received = Vec::new();
        group.all_gather::<u8>(&vec![1; 24 << 20], &mut received).unwrap();
        assert!(received.iter().all(|message| message.len() == 24 << 20));
        // The other way around: one rank sends and the other has nothing to do but wait.
        if group.rank() == 0 {
            compute(SILENCE + SILENCE / 2);
        }
        group.barrier().unwrap();
    });
}

#[test]
fn a_peer_that_computes_for_long_is_not_lost_over_tcp() {
    assert_slow_is_not_lost(Transport::Tcp);
}

#[cfg(target_os = "linux")]
#[test]
fn a_peer_that_computes_for_long_is_not_lost_over_shared_memory() {
    assert_slow_is_not_lost(Transport::Shm);
}

//! Pieces that threads compute, several at the same time.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use super::watch::{Watch, mean};

/// The fewest calls of each part of a point.
const CALLS: usize = 4;

/// Micro-batches of a thread that are computed in turn: what is in memory of one has left the nearest caches when it is
/// called again, as in a step.
const IN_TURN: usize = 6;

/// Calls of each that go before: all parts of it have been called once.
const WARM_UP: usize = 2;

/// Runs what `make` gives on `busy` threads at the same time, at least for `time` and some calls after the first ones, which
/// warm up; returns the median time of each part of a call, averaged over threads.
pub(super) fn run<C: FnMut(&mut Watch)>(
    busy: usize,
    time: Duration,
    make: impl Fn() -> C + Sync,
) -> Vec<Duration> {
    measure((busy, 1), time, make)
}

/// As [`run`], with several of what `make` gives on each thread, called in turn.
pub(super) fn in_turn<C: FnMut(&mut Watch)>(
    busy: usize,
    time: Duration,
    make: impl Fn() -> C + Sync,
) -> Vec<Duration> {
    measure((busy, IN_TURN), time, make)
}

fn measure<C: FnMut(&mut Watch)>(
    (busy, in_turn): (usize, usize),
    time: Duration,
    make: impl Fn() -> C + Sync,
) -> Vec<Duration> {
    let start = Barrier::new(busy);
    let one = |_| {
        let mut calls: Vec<C> = (0..in_turn).map(|_| make()).collect();
        let mut watch = Watch::new();
        (0..WARM_UP).for_each(|_| calls.iter_mut().for_each(|call| call(&mut watch)));
        watch.clear();
        start.wait();
        let begun = Instant::now();
        let mut rounds = 0;
        while rounds < CALLS || begun.elapsed() < time {
            for call in &mut calls {
                watch.begin();
                call(&mut watch);
            }
            rounds += 1;
        }
        watch.medians()
    };
    let all: Vec<Vec<Duration>> = std::thread::scope(|scope| {
        let one = &one;
        let threads: Vec<_> = (0..busy).map(|thread| scope.spawn(move || one(thread))).collect();
        let ended = threads.into_iter().map(std::thread::ScopedJoinHandle::join);
        ended.map(|ended| ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    });
    mean(&all)
}

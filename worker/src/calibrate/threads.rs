//! Pieces that threads compute, several at the same time.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use super::watch::{Watch, mean};

/// The fewest calls of a point.
const CALLS: usize = 3;

/// Runs what `make` gives on `busy` threads at the same time, at least for `time` and some calls after a first one that warms
/// up; returns the median time of each part of a call, averaged over threads.
pub(super) fn run<C: FnMut(&mut Watch)>(
    busy: usize,
    time: Duration,
    make: impl Fn(usize) -> C + Sync,
) -> Vec<Duration> {
    let start = Barrier::new(busy);
    let one = |thread: usize| {
        let (mut call, mut watch) = (make(thread), Watch::new());
        call(&mut watch);
        watch.clear();
        start.wait();
        let begun = Instant::now();
        let mut calls = 0;
        while calls < CALLS || begun.elapsed() < time {
            watch.begin();
            call(&mut watch);
            calls += 1;
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

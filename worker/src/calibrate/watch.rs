//! A stopwatch with laps, and what is made of its times.

use std::time::{Duration, Instant};

/// Times of the parts of a call, call by call.
#[derive(Debug)]
pub(super) struct Watch {
    since: Instant,
    /// Per part: one time a call.
    parts: Vec<Vec<Duration>>,
}

impl Watch {
    pub(super) fn new() -> Self {
        Self { since: Instant::now(), parts: Vec::new() }
    }

    /// The next lap begins now.
    pub(super) fn begin(&mut self) {
        self.since = Instant::now();
    }

    /// The time since the lap before was that part's.
    pub(super) fn lap(&mut self, part: usize) {
        let now = Instant::now();
        self.add(part, now - self.since);
        self.since = now;
    }

    /// Adds a time of a part.
    pub(super) fn add(&mut self, part: usize, time: Duration) {
        if self.parts.len() <= part {
            self.parts.resize_with(part + 1, Vec::new);
        }
        self.parts[part].push(time);
    }

    /// Forgets all times.
    pub(super) fn clear(&mut self) {
        self.parts.clear();
    }

    /// The median of each part.
    pub(super) fn medians(mut self) -> Vec<Duration> {
        self.parts.iter_mut().map(|times| median(times)).collect()
    }
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    match times {
        [] => Duration::ZERO,
        times => (times[(times.len() - 1) / 2] + times[times.len() / 2]) / 2,
    }
}

/// The mean over several watches, part by part.
pub(super) fn mean(all: &[Vec<Duration>]) -> Vec<Duration> {
    let parts = all.iter().map(Vec::len).max().unwrap_or(0);
    let of = |part: usize| all.iter().filter_map(|times| times.get(part)).sum::<Duration>();
    (0..parts).map(|part| of(part) / (all.len().max(1) as u32)).collect()
}

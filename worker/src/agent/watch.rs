//! The watchdog of a rank: whether its job still does anything.
//!
//! A rank that hangs keeps its peers waiting, and they say so; where it has none, or all hang, nobody else would notice.
//! A job beats with each collective, step and part of an evaluation. It counts as hung where no beat came for 30 times the
//! failure detection, and for 20 times the longest pause between two beats so far: a slow job is no hung one.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// The least silence that counts, in failure detections.
const SILENCE: u32 = 30;

/// The least silence that counts, in the longest pauses of the job so far.
const PAUSES: u32 = 20;

/// What is known of a job's beats.
#[derive(Debug)]
pub(super) struct Watch {
    failure_detection: Duration,
    beats: Option<u64>,
    since: Instant,
    longest: Duration,
    next: Instant,
}

impl Watch {
    pub(super) fn new(failure_detection: Duration) -> Self {
        let now = Instant::now();
        Self {
            failure_detection,
            beats: None,
            since: now,
            longest: Duration::ZERO,
            next: now + failure_detection,
        }
    }

    /// When to look again.
    pub(super) fn next(&self) -> Instant {
        self.next
    }

    /// Looks at the beats, none where the job need not work; for how long it has been silent, if that is too long.
    pub(super) fn look(&mut self, beats: Option<u64>) -> Option<Duration> {
        let now = Instant::now();
        self.next = now + self.failure_detection;
        if beats.is_none() || beats != self.beats {
            if self.beats.is_some() && beats.is_some() {
                self.longest = self.longest.max(now - self.since);
            }
            (self.beats, self.since) = (beats, now);
            return None;
        }
        let silent = now - self.since;
        (silent >= (self.failure_detection * SILENCE).max(self.longest * PAUSES)).then_some(silent)
    }
}

/// Waits until what was told to stop should have; for ever where it was not told.
pub(super) async fn overdue(told: Option<Instant>, patience: Duration) {
    match told {
        Some(told) => sleep_until(told + patience).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Looks every second, with each of the given beats; the first silence that is too long, and the look it came at.
    async fn first_silence(beats: impl IntoIterator<Item = Option<u64>>) -> Option<(usize, Duration)> {
        let mut watch = Watch::new(SECOND);
        for (look, beats) in beats.into_iter().enumerate() {
            tokio::time::advance(watch.next() - Instant::now()).await;
            if let Some(silent) = watch.look(beats) {
                return Some((look, silent));
            }
        }
        None
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_without_a_beat_for_thirty_failure_detections_has_hung() {
        let beats = (0..5).map(Some).chain(std::iter::repeat_n(Some(4), 100));
        assert_eq!(first_silence(beats).await, Some((34, SECOND * 30)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_that_always_was_slow_is_given_twenty_times_its_longest_pause() {
        let slow = (0..12_u64).flat_map(|beat| std::iter::repeat_n(Some(beat), 3));
        let beats = slow.chain(std::iter::repeat_n(Some(11), 100));
        assert_eq!(first_silence(beats).await, Some((33 + 60, SECOND * 60)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_that_was_not_begun_or_stops_is_not_watched() {
        assert_eq!(first_silence(std::iter::repeat_n(None, 1000)).await, None);
        let stops = (0..5).map(Some).chain(std::iter::repeat_n(None, 1000));
        assert_eq!(first_silence(stops).await, None);
    }
}

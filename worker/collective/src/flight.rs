//! The flight recorder: the last collectives of a rank, for whoever asks afterwards what it was doing.
//!
//! A record is written into a ring that is made once, so that noting a collective costs two readings of the clock.

use std::time::{Duration, Instant};

use crate::signature::{Dtype, Op, Signature};

/// Collectives that are remembered.
pub(crate) const REMEMBERED: usize = 100;

/// One collective of this rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flight {
    /// Its number in the group, from 1.
    pub seq: u64,
    /// The operation.
    pub op: Op,
    /// The type of its elements.
    pub dtype: Dtype,
    /// Bytes that this rank had to give.
    pub bytes: u64,
    /// When it began, counted from when the group was made.
    pub begun: Duration,
    /// When it ended well; none while it is under way, or where it failed.
    pub ended: Option<Duration>,
}

/// The last collectives of a rank.
pub(crate) struct Recorder {
    epoch: Instant,
    ring: Vec<Flight>,
    next: usize,
    /// Time inside of collectives that have ended.
    inside: Duration,
}

impl Recorder {
    pub(crate) fn new() -> Self {
        Self { epoch: Instant::now(), ring: Vec::with_capacity(REMEMBERED), next: 0, inside: Duration::ZERO }
    }

    /// A collective begins; it takes the place of the oldest.
    pub(crate) fn begin(&mut self, signature: &Signature, bytes: u64) {
        let Signature { op, dtype, seq, .. } = *signature;
        let flight = Flight { seq, op, dtype, bytes, begun: self.epoch.elapsed(), ended: None };
        match self.ring.get_mut(self.next) {
            Some(oldest) => *oldest = flight,
            None => self.ring.push(flight),
        }
    }

    /// The collective that began last has ended.
    pub(crate) fn end(&mut self) {
        let now = self.epoch.elapsed();
        if let Some(flight) = self.ring.get_mut(self.next) {
            flight.ended = Some(now);
            self.inside += now - flight.begun;
            self.next = (self.next + 1) % REMEMBERED;
        }
    }

    /// Time inside of collectives so far.
    pub(crate) fn inside(&self) -> Duration {
        self.inside
    }

    /// Oldest first.
    pub(crate) fn flights(&self) -> Vec<Flight> {
        let mut flights = self.ring.clone();
        flights.sort_unstable_by_key(|flight| flight.seq);
        flights
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::Shape;

    fn signature(seq: u64) -> Signature {
        Signature { op: Op::Barrier, dtype: Dtype::U8, shape: Shape::Uneven, seq }
    }

    #[test]
    fn the_last_hundred_are_kept_in_order_and_the_open_one_is_open() {
        let mut recorder = Recorder::new();
        for seq in 1..=250 {
            recorder.begin(&signature(seq), seq);
            recorder.end();
        }
        recorder.begin(&signature(251), 7);
        let flights = recorder.flights();
        assert_eq!(flights.len(), REMEMBERED);
        assert!(flights.iter().map(|flight| flight.seq).eq(152..=251));
        assert!(flights[..99].iter().all(|flight| flight.ended >= Some(flight.begun)));
        assert_eq!((flights[99].ended, flights[99].bytes), (None, 7));
    }

    #[test]
    fn nothing_is_allocated_after_the_start() {
        let mut recorder = Recorder::new();
        let room = recorder.ring.as_ptr();
        for seq in 1..=1000 {
            recorder.begin(&signature(seq), 0);
            recorder.end();
        }
        assert_eq!((recorder.ring.as_ptr(), recorder.ring.capacity()), (room, REMEMBERED));
    }
}

//! When each chunk of the log takes place, how many events it has, and in which file it lies.

use muster_proto::dataset::ShopSpec;

pub(super) const DAY: i64 = 86_400_000;
const HOUR: f64 = 3_600_000.0;

/// How busy each hour of the day is, from midnight on.
const BUSY: [u32; 24] = [5, 4, 3, 3, 3, 4, 5, 6, 7, 8, 8, 8, 9, 8, 8, 8, 8, 9, 10, 11, 12, 12, 10, 7];

/// The chunks of a log.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) chunks: u64,
    chunk_events: u64,
    events: u64,
    files: u64,
    start: i64,
    days: f64,
    /// Share of the day's events before each hour, and at its end.
    until_hour: [f64; 25],
}

impl Plan {
    pub(super) fn new(spec: &ShopSpec) -> Self {
        let total: u32 = BUSY.iter().sum();
        let mut until_hour = [0.0; 25];
        let mut sum = 0;
        for (hour, busy) in BUSY.iter().enumerate() {
            sum += busy;
            until_hour[hour + 1] = f64::from(sum) / f64::from(total);
        }
        Self {
            chunks: spec.chunks(),
            chunk_events: spec.chunk_events(),
            events: spec.events,
            files: u64::from(spec.files),
            start: spec.start_millis(),
            days: f64::from(spec.days),
            until_hour,
        }
    }

    /// Number of clean events of a chunk: the same for all but the last.
    pub(super) fn events_of(&self, chunk: u64) -> u64 {
        self.chunk_events.min(self.events - chunk * self.chunk_events)
    }

    /// How much of the log lies before an event of a chunk, 0 to 1.
    pub(super) fn progress(&self, chunk: u64, event: u64) -> f64 {
        (chunk * self.chunk_events + event) as f64 / self.events as f64
    }

    /// The time at which so much of the log is past, in milliseconds since 1970.
    pub(super) fn time_at(&self, progress: f64) -> i64 {
        let days = progress * self.days;
        let share = days.fract();
        let hour = self.until_hour.partition_point(|until| *until <= share).clamp(1, 24) - 1;
        let (from, until) = (self.until_hour[hour], self.until_hour[hour + 1]);
        let in_day = (hour as f64 + (share - from) / (until - from)) * HOUR;
        self.start + days as i64 * DAY + in_day as i64
    }

    /// The file of a chunk.
    pub(super) fn file_of(&self, chunk: u64) -> u64 {
        chunk * self.files / self.chunks
    }

    pub(super) fn is_first_of_file(&self, chunk: u64) -> bool {
        chunk == 0 || self.file_of(chunk) != self.file_of(chunk - 1)
    }
}

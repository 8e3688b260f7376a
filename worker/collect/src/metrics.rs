//! Numbers for Prometheus, in its text format.

use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;

use crate::queue::Kept;

/// Upper bounds of the buckets of the time to an answer, in seconds.
const BUCKETS: [f64; 12] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0];

/// What is counted while events are collected.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) accepted: AtomicU64,
    pub(crate) duplicates: AtomicU64,
    pub(crate) rejected: AtomicU64,
    /// Requests that were told to come again, for a full queue and for a disk that takes nothing.
    pub(crate) full: AtomicU64,
    pub(crate) unwritable: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) commits: AtomicU64,
    commit_nanos: AtomicU64,
    pub(crate) files: AtomicU64,
    pub(crate) ids: AtomicU64,
    /// Whether the last write failed.
    pub(crate) is_unwritable: AtomicBool,
    answers: [AtomicU64; BUCKETS.len() + 1],
    answer_nanos: AtomicU64,
}

/// What was collected in one life of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Events that were taken.
    pub accepted: u64,
    /// Events that were taken before.
    pub duplicates: u64,
    /// Events that were refused.
    pub rejected: u64,
    /// Files that were finished.
    pub files: u64,
}

impl Metrics {
    pub(crate) fn totals(&self) -> Totals {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Totals {
            accepted: count(&self.accepted),
            duplicates: count(&self.duplicates),
            rejected: count(&self.rejected),
            files: count(&self.files),
        }
    }

    pub(crate) fn committed(&self, kept: Kept, bytes: usize, took: Duration) {
        self.accepted.fetch_add(kept.accepted, Ordering::Relaxed);
        self.duplicates.fetch_add(kept.duplicates, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.commit_nanos.fetch_add(took.as_nanos() as u64, Ordering::Relaxed);
    }

    pub(crate) fn acknowledged(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = BUCKETS.iter().position(|bound| seconds <= *bound).unwrap_or(BUCKETS.len());
        self.answers[bucket].fetch_add(1, Ordering::Relaxed);
        self.answer_nanos.fetch_add(took.as_nanos() as u64, Ordering::Relaxed);
    }

    /// The page, with the bytes of the queue that are taken and all that there are.
    pub(crate) fn page(&self, queue: (usize, usize)) -> String {
        let mut page = String::new();
        self.write(&mut page, queue).expect("writing to a string does not fail");
        page
    }

    fn write(&self, page: &mut String, (used, capacity): (usize, usize)) -> fmt::Result {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
        head(page, "muster_collect_events_total", "counter", "Events that came, by what became of them.")?;
        for (result, counter) in
            [("accepted", &self.accepted), ("duplicate", &self.duplicates), ("rejected", &self.rejected)]
        {
            writeln!(page, "muster_collect_events_total{{result=\"{result}\"}} {}", count(counter))?;
        }
        head(page, "muster_collect_turned_away_total", "counter", "Requests that were told to come again.")?;
        for (cause, counter) in [("full", &self.full), ("unwritable", &self.unwritable)] {
            writeln!(page, "muster_collect_turned_away_total{{cause=\"{cause}\"}} {}", count(counter))?;
        }
        let totals = [
            ("muster_collect_bytes_total", "Bytes of events that were written.", count(&self.bytes)),
            ("muster_collect_commits_total", "Flushes to disk.", count(&self.commits)),
            ("muster_collect_commit_seconds_total", "Time of those.", count(&self.commit_nanos) / 1e9),
            ("muster_collect_files_total", "Files that were finished.", count(&self.files)),
        ];
        for (name, help, value) in totals {
            head(page, name, "counter", help)?;
            writeln!(page, "{name} {value}")?;
        }
        let writable = if self.is_unwritable.load(Ordering::Relaxed) { 0.0 } else { 1.0 };
        let gauges = [
            ("muster_collect_queue_bytes", "Bytes of requests under way.", used as f64),
            ("muster_collect_queue_limit_bytes", "How many there may be.", capacity as f64),
            ("muster_collect_ids", "Event ids that are remembered.", count(&self.ids)),
            ("muster_collect_writable", "0 while events cannot be written.", writable),
        ];
        for (name, help, value) in gauges {
            head(page, name, "gauge", help)?;
            writeln!(page, "{name} {value}")?;
        }
        self.write_answers(page)
    }

    fn write_answers(&self, page: &mut String) -> fmt::Result {
        let name = "muster_collect_answer_seconds";
        head(page, name, "histogram", "Time from a checked request to its events on disk.")?;
        let mut total = 0;
        for (counter, bound) in self.answers.iter().zip(&BUCKETS) {
            total += counter.load(Ordering::Relaxed);
            writeln!(page, "{name}_bucket{{le=\"{bound}\"}} {total}")?;
        }
        total += self.answers[BUCKETS.len()].load(Ordering::Relaxed);
        writeln!(page, "{name}_bucket{{le=\"+Inf\"}} {total}")?;
        writeln!(page, "{name}_sum {}", self.answer_nanos.load(Ordering::Relaxed) as f64 / 1e9)?;
        writeln!(page, "{name}_count {total}")
    }
}

fn head(page: &mut String, name: &str, kind: &str, help: &str) -> fmt::Result {
    writeln!(page, "# HELP {name} {help}\n# TYPE {name} {kind}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_is_explained_and_buckets_add_up() {
        let metrics = Metrics::default();
        for millis in [0, 1, 3, 10_000] {
            metrics.acknowledged(Duration::from_millis(millis));
        }
        let page = metrics.page((5, 10));
        for line in page.lines().filter(|line| !line.starts_with('#')) {
            let name = line.split(['{', ' ']).next().unwrap();
            let name =
                ["_bucket", "_sum", "_count"].iter().fold(name, |name, end| name.trim_end_matches(end));
            assert!(page.contains(&format!("# HELP {name} ")), "{name} is not explained");
        }
        for (bound, expected) in [("0.001", 2), ("0.005", 3), ("5", 3), ("+Inf", 4)] {
            let line = format!("answer_seconds_bucket{{le=\"{bound}\"}} {expected}\n");
            assert!(page.contains(&line), "{page}");
        }
    }
}

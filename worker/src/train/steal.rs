//! Steal time: what a virtual machine's host gave of its processors to others.
//!
//! A step of a machine that shares its host takes longer by it, and differently so from minute to minute, while nothing of the
//! job has changed. Told beside the step, it keeps apart what the job takes and what its neighbours took.

use std::time::Duration;

/// Ticks of all processors since the machine came up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Ticks {
    /// In which something was done.
    busy: u64,
    /// In which something was to be done, and others had the processor.
    stolen: u64,
}

impl Ticks {
    /// Until now; none where the system does not say.
    pub(super) fn now() -> Option<Self> {
        Self::parse(&std::fs::read_to_string("/proc/stat").ok()?)
    }

    /// As Linux writes them (proc_stat(5)): user, nice, system, idle, waiting, interrupts of two kinds, steal.
    fn parse(text: &str) -> Option<Self> {
        let line = text.lines().next()?.strip_prefix("cpu ")?;
        let ticks: Result<Vec<u64>, _> = line.split_whitespace().map(str::parse).collect();
        let [user, nice, system, _idle, _waiting, hard, soft, stolen, ..] = ticks.ok()?[..] else {
            return None;
        };
        Some(Self { busy: user + nice + system + hard + soft, stolen })
    }

    /// As a test has them.
    #[cfg(test)]
    pub(super) fn of(busy: u64, stolen: u64) -> Self {
        Self { busy, stolen }
    }

    /// Of a time that the machine was busy from then until `later`, the part that others had.
    pub(super) fn steal(self, later: Self, time: Duration) -> Duration {
        let stolen = later.stolen.saturating_sub(self.stolen);
        let wanted = later.busy.saturating_sub(self.busy) + stolen;
        if wanted == 0 { Duration::ZERO } else { time.mul_f64(stolen as f64 / wanted as f64) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steal_is_the_share_of_the_ticks_in_which_something_was_to_be_done() {
        let at = |line: &str| Ticks::parse(&format!("{line}\ncpu0 1 2 3\n")).unwrap();
        let before = at("cpu  100 10 20 5000 7 1 2 40 9 9");
        let later = at("cpu  150 15 30 9000 7 2 6 70 99 9");
        // 50 + 5 + 10 + 1 + 4 ticks of work, and 30 that others had.
        assert_eq!(before.steal(later, Duration::from_millis(100)), Duration::from_millis(30));
        assert_eq!(before.steal(before, Duration::from_secs(1)), Duration::ZERO);
        assert_eq!(later.steal(before, Duration::from_secs(1)), Duration::ZERO);
    }

    #[test]
    fn what_is_no_such_file_tells_nothing() {
        for text in ["", "cpu", "cpu  1 2 3 4 5 6 7\n", "cpu  1 2 3 4 5 6 7 x\n", "intr 1 2 3 4 5 6 7 8 9\n"]
        {
            assert_eq!(Ticks::parse(text), None, "{text}");
        }
    }
}

//! Workers that are kept for the first in line, and who may use them meanwhile.
//!
//! Known as EASY backfilling (Lifka 1995; Mu'alem and Feitelson 2001): a job that is likely to end before the first in line can start, or that
//! uses what that will not need, delays nobody.

use std::time::Duration;

use muster_proto::ids::JobId;

use super::problem::Waiting;

/// For whom all free workers are kept.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) job: JobId,
    /// When it is likely to have enough; none where that is not known.
    until: Option<Duration>,
    /// Workers that are free then and that it does not need.
    extra: u32,
}

impl Kept {
    /// For `job`, with `free` workers now and others when they are likely to come.
    pub(super) fn new(job: &Waiting, free: u32, ends: &[(Option<Duration>, u32)]) -> Self {
        let mut known: Vec<(Duration, u32)> =
            ends.iter().filter_map(|(end, workers)| Some(((*end)?, *workers))).collect();
        known.sort_unstable();
        let (mut there, mut until) = (free, None);
        for (end, workers) in known {
            there += workers;
            if there >= job.min {
                until = Some(end);
                break;
            }
        }
        let extra = if until.is_some() { there - job.min } else { 0 };
        Self { job: job.job, until, extra }
    }

    /// Whether a job may have free workers though they are kept.
    pub(super) fn lets_pass(&mut self, job: &Waiting) -> bool {
        let ends_before = self.until.zip(job.expected).is_some_and(|(until, expected)| expected <= until);
        if ends_before {
            return true;
        }
        let fits = self.until.is_some() && job.min <= self.extra;
        if fits {
            self.extra -= job.min;
        }
        fits
    }
}

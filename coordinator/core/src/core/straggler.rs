//! Which rank keeps the others waiting.
//!
//! Ranks meet in collectives, so all take as long for a step as the slowest; what tells them apart is the time that each
//! spends outside of collectives.

use std::time::Duration;

use muster_proto::control::{StepTiming, Straggler};
use muster_proto::ids::{Rank, WorkerId};
use muster_proto::measured::Breakdown;

use super::Core;
use crate::assignment::{Assignment, Member};
use crate::job::Job;
use crate::phase::{Ended, Phase, Training};

/// A rank straggles if it computes for this many times as long as the median rank.
const RATIO: f64 = 1.5;

impl Core {
    /// The rank of a job for which the others wait most, if it is much.
    pub(super) fn straggler(&self, job: &Job) -> Option<Straggler> {
        let Phase::Training(training) = &job.state.phase else { return None };
        let assignment = &training.assignment;
        let timed = assignment.live().filter_map(|(rank, member)| {
            let timing = self.timing(assignment, member)?;
            Some((timing.own, rank, member.worker))
        });
        slowest(timed.collect())
    }

    /// Where the time of each rank's steps goes, in rank order; empty while some have not told.
    pub(super) fn measured(&self, job: &Job) -> Vec<Breakdown> {
        match &job.state.phase {
            Phase::Training(Training { assignment, .. }) => {
                let of = |(_, member): (Rank, &Member)| {
                    self.timing(assignment, member)?.breakdown.as_deref().cloned()
                };
                assignment.ranks().map(of).collect::<Option<_>>().unwrap_or_default()
            }
            // What ranks told at the end stands in the result.
            Phase::Ended(Ended::Finished { summary }) => {
                let told = summary.get("measured").cloned().unwrap_or_default();
                serde_json::from_value(told).unwrap_or_default()
            }
            _ => Vec::new(),
        }
    }

    fn timing(&self, assignment: &Assignment, member: &Member) -> Option<&StepTiming> {
        let running = self.members.get(member.worker)?.running.as_ref()?;
        running.timing.as_ref().filter(|_| running.fence == assignment.fence(member))
    }
}

fn slowest(mut ranks: Vec<(Duration, Rank, WorkerId)>) -> Option<Straggler> {
    ranks.sort_unstable();
    // Of two, the faster one is the rule.
    let median_seconds = ranks.get(ranks.len().checked_sub(1)? / 2)?.0.as_secs_f64();
    let (own, rank, worker) = *ranks.last()?;
    let own_seconds = own.as_secs_f64();
    (own_seconds > RATIO * median_seconds).then_some(Straggler { rank, worker, own_seconds, median_seconds })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slowest_of(millis: &[u64]) -> Option<(u32, u64)> {
        let rank = |(rank, millis): (u32, &u64)| {
            (Duration::from_millis(*millis), Rank(rank), WorkerId(10 + u64::from(rank)))
        };
        let found = slowest((0..).zip(millis).map(rank).collect())?;
        assert!(found.own_seconds > found.median_seconds);
        Some((found.rank.0, found.worker.0))
    }

    #[test]
    fn the_rank_that_computes_much_longer_than_the_median_is_named() {
        assert_eq!(slowest_of(&[10, 11, 30, 10]), Some((2, 12)));
        assert_eq!(slowest_of(&[20, 10]), Some((0, 10)));
        assert_eq!(slowest_of(&[10, 30, 30, 31]), None);
        assert_eq!(slowest_of(&[10, 12, 14]), None);
        assert_eq!(slowest_of(&[10]), None);
        assert_eq!(slowest_of(&[]), None);
    }
}

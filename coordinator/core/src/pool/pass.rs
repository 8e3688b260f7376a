//! A pass over the queue.

use std::time::Duration;

use super::free_up::Holders;
use super::growth;
use super::kept::Kept;
use super::order::Order;
use super::problem::{Problem, Waiting};
use super::solution::{Blocked, Solution, Start, Stop, Wait};

/// Says who starts, grows, gives back and waits.
#[must_use]
pub fn solve(problem: &Problem<'_>) -> Solution {
    let mut pass = Pass {
        problem,
        order: Order::new(problem),
        holders: Holders::new(problem.running, problem.policy),
        workers: problem.workers(),
        free: problem.free,
        promised: problem.running.iter().map(|running| running.leaving).sum(),
        ends: problem.running.iter().map(|running| (running.expected, running.held)).collect(),
        kept: None,
        solution: Solution::default(),
    };
    while let Some(job) = pass.order.next() {
        match pass.serve(job) {
            Ok(()) => {
                pass.order.count(&job.team, job.min);
                pass.free -= job.min;
                pass.ends.push((job.expected, job.min));
                pass.solution.starts.push(Start { job: job.job, workers: job.min });
            }
            Err(why) => {
                let place = pass.solution.waits.len() as u32 + 1;
                pass.solution.waits.push(Wait { job: job.job, place, why });
            }
        }
        pass.order.queue(&job.team);
    }
    let wants = |wait: &Wait| !matches!(wait.why, Blocked::TooLarge { .. } | Blocked::Quota { .. });
    if !pass.solution.waits.iter().any(wants) {
        growth::grow(problem, &mut pass.solution, pass.free);
    }
    pass.solution
}

struct Pass<'p, 'a> {
    problem: &'p Problem<'a>,
    order: Order<'a>,
    holders: Holders,
    /// All of the pool.
    workers: u32,
    /// Free and kept for nobody.
    free: u32,
    /// Being given back, and not counted on by anybody.
    promised: u32,
    /// When workers are likely to come free, and how many.
    ends: Vec<(Option<Duration>, u32)>,
    /// For whom free workers are kept.
    kept: Option<Kept>,
    solution: Solution,
}

impl Pass<'_, '_> {
    /// Whether a job starts now, with its minimum; if not, others may begin to give workers back for it.
    fn serve(&mut self, job: &Waiting) -> Result<(), Blocked> {
        let Waiting { min, class, .. } = *job;
        if min > self.workers {
            return Err(Blocked::TooLarge { min, workers: self.workers });
        }
        self.check_quota(job)?;
        if let Some(kept) = &mut self.kept {
            return if min <= self.free && kept.lets_pass(job) {
                Ok(())
            } else {
                Err(Blocked::Behind { job: kept.job })
            };
        }
        if min <= self.free {
            return Ok(());
        }
        let missing = min - self.free;
        let more = missing.saturating_sub(self.promised);
        let taken = if more == 0 { Some((Vec::new(), 0)) } else { self.holders.take(more, class, job.job) };
        match taken {
            Some((stops, freed)) => {
                // A job that is stopped may free more than was asked for: that is promised to nobody yet.
                self.promised = (self.promised + freed).saturating_sub(missing);
                // One that gives more than it was asked for a moment ago is asked once.
                let again = |stop: &Stop| stops.iter().any(|later| later.job == stop.job);
                self.solution.stops.retain(|stop| !again(stop));
                self.solution.stops.extend(stops);
                let kept = std::mem::take(&mut self.free);
                Err(Blocked::Promised { min, kept })
            }
            None => {
                if job.waited >= self.problem.policy.patience {
                    self.kept = Some(Kept::new(job, self.free, &self.ends));
                }
                Err(Blocked::TooFew { min, free: self.free })
            }
        }
    }

    fn check_quota(&self, job: &Waiting) -> Result<(), Blocked> {
        let (quota, held) = (self.problem.policy.quota(&job.team), self.order.held(&job.team));
        if held + job.min <= quota {
            return Ok(());
        }
        Err(Blocked::Quota { team: job.team.clone(), quota, held, min: job.min })
    }
}

//! What becomes of each fire, and of each run that ends.

use std::fmt;

use jiff::Timestamp;
use muster_proto::schedule::{Concurrency, Misfire, ScheduleSpec};

use super::cron::{Cron, Error};
use super::due::{self, Due, Fire, LATE};
use super::runs::{Attempt, Outcome, RunId, Runs, backoff};

/// A schedule, ready to fire.
#[derive(Debug, Clone)]
pub struct Schedule {
    spec: ScheduleSpec,
    cron: Cron,
}

/// Why a fire does not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// Nobody saw to it in time, and later ones are there or the rule says so.
    Missed,
    /// It was too late to start.
    Deadline,
    /// A run was at work.
    Overlap {
        /// That run.
        run: RunId,
    },
    /// Enough wait already.
    QueueFull,
    /// A later one waits in its place.
    Superseded,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missed => f.write_str("it was missed, and the misfire rule passes it over"),
            Self::Deadline => f.write_str("it could not start within its starting deadline"),
            Self::Overlap { run } => write!(f, "run {run} was still at work"),
            Self::QueueFull => f.write_str("as many as may wait were waiting"),
            Self::Superseded => f.write_str("a later one waits in its place"),
        }
    }
}

/// What is to be done, each told once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// A run starts.
    Start(Attempt),
    /// A fire waits for a run to end.
    Queue {
        /// What it is for.
        logical: Timestamp,
    },
    /// A fire does not run.
    Skip {
        /// What it is for.
        logical: Timestamp,
        /// Why.
        reason: Reason,
    },
    /// Fires too long ago to be looked at do not run.
    Forget {
        /// After this.
        after: Timestamp,
        /// Up to this.
        until: Timestamp,
    },
    /// A run is cancelled: for a later one, or because it took too long.
    Cancel {
        /// The run.
        run: RunId,
        /// Whether it took too long, and so has failed.
        timed_out: bool,
    },
    /// A run that failed is tried again later.
    Retry(Attempt),
    /// The schedule pauses after runs that failed.
    Pause {
        /// How many in a row.
        failures: u32,
    },
}

impl Schedule {
    /// Reads the pattern.
    ///
    /// # Errors
    /// A pattern or a zone that is none.
    pub fn new(spec: ScheduleSpec) -> Result<Self, Error> {
        let cron = Cron::new(&spec.cron, &spec.time_zone)?;
        Ok(Self { spec, cron })
    }

    /// When it fires next, were it not paused.
    #[must_use]
    pub fn next(&self, runs: &Runs) -> Option<Timestamp> {
        self.cron.after(runs.considered)
    }

    /// When its next fire is seen to, put off as its jitter says.
    #[must_use]
    pub fn next_at(&self, runs: &Runs) -> Option<Timestamp> {
        let logical = self.next(runs)?;
        Some(logical + due::put_off(&self.spec.name, logical, self.spec.jitter))
    }

    /// Sees to all that is due at `now`, and notes it in `runs`.
    pub fn decide(&self, runs: &mut Runs, now: Timestamp) -> Vec<Decision> {
        let mut decisions = Vec::new();
        self.end_overlong(runs, now, &mut decisions);
        self.retry(runs, now, &mut decisions);
        if !runs.paused {
            self.start_queued(runs, now, &mut decisions);
            let due = due::due(&self.cron, (&self.spec.name, self.spec.jitter), runs.considered, now);
            for fire in self.chosen(runs, due, &mut decisions) {
                self.fire(runs, fire, now, &mut decisions);
            }
        }
        decisions
    }

    /// Notes how a run ended; one that is not at work changes nothing.
    pub fn ended(&self, runs: &mut Runs, run: &RunId, outcome: Outcome, now: Timestamp) -> Vec<Decision> {
        let mut decisions = Vec::new();
        let Some(at) = runs.active.iter().position(|attempt| attempt.run == *run) else { return decisions };
        let attempt = runs.active.remove(at);
        match outcome {
            Outcome::Succeeded => runs.failures = 0,
            Outcome::Cancelled => {}
            Outcome::Failed => self.failed(runs, &attempt, now, &mut decisions),
        }
        if !runs.paused {
            self.start_queued(runs, now, &mut decisions);
        }
        decisions
    }

    /// Starts an attempt for a time of its own, whatever the rules say; none if one is at work or will be.
    pub fn trigger(
        &self,
        runs: &mut Runs,
        (logical, attempt): (Timestamp, u32),
        now: Timestamp,
    ) -> Option<Decision> {
        let known = runs.active.iter().chain(&runs.retrying).any(|attempt| attempt.logical == logical);
        (!known).then(|| start(&self.spec.name, runs, (logical, attempt), now))
    }

    fn failed(&self, runs: &mut Runs, attempt: &Attempt, now: Timestamp, decisions: &mut Vec<Decision>) {
        if attempt.attempt <= self.spec.retries {
            let (logical, next) = (attempt.logical, attempt.attempt + 1);
            let at = now + backoff(self.spec.backoff, attempt.attempt);
            let again = Attempt::new(&self.spec.name, (logical, next), at);
            runs.retrying.push(again.clone());
            decisions.push(Decision::Retry(again));
            return;
        }
        runs.failures += 1;
        if self.spec.pause_after.is_some_and(|most| runs.failures >= most) && !runs.paused {
            runs.paused = true;
            decisions.push(Decision::Pause { failures: runs.failures });
        }
    }

    fn end_overlong(&self, runs: &mut Runs, now: Timestamp, decisions: &mut Vec<Decision>) {
        let limit = self.spec.max_run_time.map(|limit| limit.0);
        let is_over = |attempt: &mut Attempt| attempt.overdue_at(limit).is_some_and(|end| end <= now);
        let over: Vec<Attempt> = runs.active.extract_if(.., is_over).collect();
        for attempt in over {
            decisions.push(Decision::Cancel { run: attempt.run.clone(), timed_out: true });
            self.failed(runs, &attempt, now, decisions);
        }
    }

    fn retry(&self, runs: &mut Runs, now: Timestamp, decisions: &mut Vec<Decision>) {
        let ready: Vec<Attempt> = runs.retrying.extract_if(.., |attempt| attempt.at <= now).collect();
        for attempt in ready {
            decisions.push(start(&self.spec.name, runs, (attempt.logical, attempt.attempt), now));
        }
    }

    fn start_queued(&self, runs: &mut Runs, now: Timestamp, decisions: &mut Vec<Decision>) {
        if runs.is_busy() {
            return;
        }
        if let Some(logical) = runs.queued.pop_front() {
            decisions.push(start(&self.spec.name, runs, (logical, 1), now));
        }
    }

    /// The fires that the deadline and the misfire rule let through; the others are skipped.
    fn chosen(&self, runs: &mut Runs, due: Due, decisions: &mut Vec<Decision>) -> Vec<Fire> {
        if let Some(until) = due.forgotten_until {
            decisions.push(Decision::Forget { after: runs.considered, until });
        }
        if let Some(last) = due.fires.last() {
            runs.considered = last.logical;
        }
        let on_time = due.fires.iter().filter(|fire| fire.by <= LATE).count();
        let late = due.fires.len() - on_time;
        let kept = match self.spec.misfire {
            Misfire::Skip => 0,
            Misfire::RunLast => usize::from(on_time == 0),
            Misfire::CatchUp(most) => most as usize,
        };
        let first_kept = late.saturating_sub(kept);
        let mut chosen = Vec::new();
        for (at, fire) in due.fires.into_iter().enumerate() {
            let too_late = self.spec.starting_deadline.is_some_and(|deadline| fire.by > deadline.0);
            let reason = match () {
                () if too_late => Reason::Deadline,
                () if at < first_kept => Reason::Missed,
                () => {
                    chosen.push(fire);
                    continue;
                }
            };
            decisions.push(Decision::Skip { logical: fire.logical, reason });
        }
        chosen
    }

    fn fire(
        &self,
        runs: &mut Runs,
        Fire { logical, .. }: Fire,
        now: Timestamp,
        decisions: &mut Vec<Decision>,
    ) {
        let busy = runs.active.iter().chain(&runs.retrying).next().map(|attempt| attempt.run.clone());
        let Some(run) = busy else {
            // What waited before it is older.
            runs.queued.push_back(logical);
            return self.start_queued(runs, now, decisions);
        };
        let skip = |logical, reason| Decision::Skip { logical, reason };
        match self.spec.concurrency {
            Concurrency::Allow => decisions.push(start(&self.spec.name, runs, (logical, 1), now)),
            Concurrency::Forbid => decisions.push(skip(logical, Reason::Overlap { run })),
            Concurrency::Replace => {
                let cancelled = runs.active.drain(..).chain(runs.retrying.drain(..));
                decisions
                    .extend(cancelled.map(|attempt| Decision::Cancel { run: attempt.run, timed_out: false }));
                decisions.push(start(&self.spec.name, runs, (logical, 1), now));
            }
            Concurrency::Queue(most) if runs.queued.len() >= most as usize => {
                decisions.push(skip(logical, Reason::QueueFull));
            }
            Concurrency::LastOnly => {
                decisions.extend(runs.queued.drain(..).map(|older| skip(older, Reason::Superseded)));
                runs.queued.push_back(logical);
                decisions.push(Decision::Queue { logical });
            }
            Concurrency::Queue(_) => {
                runs.queued.push_back(logical);
                decisions.push(Decision::Queue { logical });
            }
        }
    }
}

fn start(name: &str, runs: &mut Runs, (logical, attempt): (Timestamp, u32), now: Timestamp) -> Decision {
    let started = Attempt::new(name, (logical, attempt), now);
    runs.active.push(started.clone());
    Decision::Start(started)
}

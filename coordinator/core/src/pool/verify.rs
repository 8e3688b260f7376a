//! Checks an answer against the README's promises, without the search's code.

use std::collections::{BTreeMap, BTreeSet};

use muster_proto::ids::JobId;

use super::problem::{Problem, Running, Waiting};
use super::solution::{Blocked, Solution, Wait};

/// What an answer breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A job is named that is not there, or twice.
    #[error("{job} is not one of the jobs that this can be said of, or it is said twice")]
    Unknown {
        /// The job.
        job: JobId,
    },
    /// A gang that is none, or too large.
    #[error("{job} gets {workers} workers, it takes {min} to {max}")]
    Gang {
        /// The job.
        job: JobId,
        /// As said.
        workers: u32,
        /// The fewest.
        min: u32,
        /// The most.
        max: u32,
    },
    /// More is given than there is.
    #[error("{given} workers are given, {free} are free")]
    Overdrawn {
        /// Workers given.
        given: u32,
        /// Workers free.
        free: u32,
    },
    /// A team holds more than it may.
    #[error("team {team} would hold {held} workers, it may hold {quota}")]
    Quota {
        /// The team.
        team: String,
        /// Workers.
        held: u32,
        /// The most.
        quota: u32,
    },
    /// A job is stopped or shrunk that should not be.
    #[error("{job} must not be stopped or shrunk for {for_job}")]
    Stop {
        /// The job.
        job: JobId,
        /// The one that gets its workers.
        for_job: JobId,
    },
    /// Workers are given back for jobs that cannot all start with them.
    #[error("{needed} workers are promised, {there} come")]
    InVain {
        /// What jobs that workers are promised to need.
        needed: u32,
        /// What is free for them or given back.
        there: u32,
    },
    /// A job waits that could have started.
    #[error("{job} waits though {free} workers are free and it needs {min}")]
    Idle {
        /// The job.
        job: JobId,
        /// Workers that are free and kept for nobody.
        free: u32,
        /// Workers that it needs.
        min: u32,
    },
}

/// Checks an answer.
///
/// # Errors
/// The first promise that it breaks.
pub fn verify(problem: &Problem<'_>, solution: &Solution) -> Result<(), Fault> {
    let waiting: BTreeMap<JobId, &Waiting> = problem.waiting.iter().map(|job| (job.job, job)).collect();
    let running: BTreeMap<JobId, &Running> = problem.running.iter().map(|job| (job.job, job)).collect();
    let given = check_gangs(solution, &waiting, &running)?;
    if given > problem.free {
        return Err(Fault::Overdrawn { given, free: problem.free });
    }
    check_quotas(problem, solution, &waiting, &running)?;
    check_stops(problem, solution, (&waiting, &running), given)?;
    check_waits(problem, solution, &waiting, given)
}

/// Workers that are given.
fn check_gangs(
    solution: &Solution,
    waiting: &BTreeMap<JobId, &Waiting>,
    running: &BTreeMap<JobId, &Running>,
) -> Result<u32, Fault> {
    let (mut given, mut seen) = (0, BTreeSet::new());
    for start in &solution.starts {
        let job = waiting.get(&start.job).filter(|_| seen.insert(start.job));
        let Waiting { min, max, .. } = **job.ok_or(Fault::Unknown { job: start.job })?;
        if start.workers < min || start.workers > max {
            return Err(Fault::Gang { job: start.job, workers: start.workers, min, max });
        }
        given += start.workers;
    }
    for grow in &solution.grows {
        let job = running.get(&grow.job).filter(|_| seen.insert(grow.job));
        let Running { held, min, max, .. } = **job.ok_or(Fault::Unknown { job: grow.job })?;
        if grow.workers <= held || grow.workers > max {
            return Err(Fault::Gang { job: grow.job, workers: grow.workers, min, max });
        }
        given += grow.workers - held;
    }
    for wait in &solution.waits {
        if !waiting.contains_key(&wait.job) || !seen.insert(wait.job) {
            return Err(Fault::Unknown { job: wait.job });
        }
    }
    let silent = waiting.keys().find(|job| !seen.contains(job));
    silent.map_or(Ok(given), |job| Err(Fault::Unknown { job: *job }))
}

fn check_quotas(
    problem: &Problem<'_>,
    solution: &Solution,
    waiting: &BTreeMap<JobId, &Waiting>,
    running: &BTreeMap<JobId, &Running>,
) -> Result<(), Fault> {
    let before = problem.held_by_team();
    let mut held = before.clone();
    for start in &solution.starts {
        *held.entry(waiting[&start.job].team.as_str()).or_default() += start.workers;
    }
    for grow in &solution.grows {
        let job = running[&grow.job];
        *held.entry(job.team.as_str()).or_default() += grow.workers - job.held;
    }
    // A team whose quota was lowered holds too much until its jobs end, but it gets no more.
    let over = held.iter().find(|(team, held)| {
        **held > problem.policy.quota(team) && **held > before.get(*team).copied().unwrap_or(0)
    });
    over.map_or(Ok(()), |(team, held)| {
        let (team, quota) = ((*team).to_owned(), problem.policy.quota(team));
        Err(Fault::Quota { team, held: *held, quota })
    })
}

fn check_stops(
    problem: &Problem<'_>,
    solution: &Solution,
    (waiting, running): (&BTreeMap<JobId, &Waiting>, &BTreeMap<JobId, &Running>),
    given: u32,
) -> Result<(), Fault> {
    let mut freed = 0;
    for stop in &solution.stops {
        let fault = Fault::Stop { job: stop.job, for_job: stop.for_job };
        let (Some(job), Some(gets)) = (running.get(&stop.job), waiting.get(&stop.for_job)) else {
            return Err(fault);
        };
        let whole = stop.keeps == 0;
        let lower = job.class > gets.class && job.stopped < problem.policy.max_stops;
        let spares = job.class >= gets.class && stop.keeps >= job.min;
        if stop.keeps >= job.keeps() || !(if whole { lower } else { spares }) {
            return Err(fault);
        }
        freed += job.keeps() - stop.keeps;
    }
    let coming: u32 = problem.running.iter().map(|running| running.leaving).sum();
    let there = problem.free.saturating_sub(given) + coming + freed;
    let is_promised = |wait: &&Wait| matches!(wait.why, Blocked::Promised { .. });
    let needed = solution.waits.iter().filter(is_promised).map(|wait| waiting[&wait.job].min).sum();
    if needed > there { Err(Fault::InVain { needed, there }) } else { Ok(()) }
}

fn check_waits(
    problem: &Problem<'_>,
    solution: &Solution,
    waiting: &BTreeMap<JobId, &Waiting>,
    given: u32,
) -> Result<(), Fault> {
    let kept: u32 = solution
        .waits
        .iter()
        .map(|wait| if let Blocked::Promised { kept, .. } = wait.why { kept } else { 0 })
        .sum();
    let free = problem.free.saturating_sub(given + kept);
    for wait in &solution.waits {
        let min = waiting[&wait.job].min;
        let could = matches!(wait.why, Blocked::TooFew { .. } | Blocked::Promised { .. }) && min <= free;
        if could {
            return Err(Fault::Idle { job: wait.job, free, min });
        }
    }
    Ok(())
}

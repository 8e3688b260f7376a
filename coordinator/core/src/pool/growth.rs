//! What nobody waits for goes to jobs below their maximum.

use std::collections::BTreeMap;

use muster_proto::ids::JobId;

use super::problem::{Class, Problem};
use super::solution::{Solution, Start};

/// A job that could use more.
struct Hungry<'a> {
    class: Class,
    job: JobId,
    team: &'a str,
    has: u32,
    max: u32,
}

/// Gives `free` workers to jobs that start or run, the first served first and within their teams' quotas.
pub(super) fn grow(problem: &Problem<'_>, solution: &mut Solution, mut free: u32) {
    let waiting: BTreeMap<JobId, _> = problem.waiting.iter().map(|waiting| (waiting.job, waiting)).collect();
    let mut held = problem.held_by_team();
    let mut hungry: Vec<Hungry<'_>> = Vec::new();
    for start in &solution.starts {
        let job = waiting[&start.job];
        *held.entry(job.team.as_str()).or_default() += start.workers;
        hungry.push(Hungry {
            class: job.class,
            job: job.job,
            team: &job.team,
            has: start.workers,
            max: job.max,
        });
    }
    // One that gives workers back is about to change anyhow.
    for job in problem.running.iter().filter(|running| running.leaving == 0) {
        hungry.push(Hungry { class: job.class, job: job.job, team: &job.team, has: job.held, max: job.max });
    }
    hungry.sort_by_key(|hungry| (hungry.class, hungry.job));
    for job in hungry {
        let quota = problem.policy.quota(job.team);
        let allowed = quota.saturating_sub(held.get(job.team).copied().unwrap_or(0));
        let more = job.max.saturating_sub(job.has).min(allowed).min(free);
        if more == 0 {
            continue;
        }
        free -= more;
        *held.entry(job.team).or_default() += more;
        match solution.starts.iter_mut().find(|start| start.job == job.job) {
            Some(start) => start.workers += more,
            None => solution.grows.push(Start { job: job.job, workers: job.has + more }),
        }
    }
}

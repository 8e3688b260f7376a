//! What is true of the core after every step; checked by its tests and by debug builds of the shell.

use muster_proto::ids::{JobId, TaskId, WorkerId};

use crate::core::Core;
use crate::incident::MAX_INCIDENTS;
use crate::job::MAX_EVENTS;
use crate::membership::Hold;

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A worker believes to hold a rank that the job gave to somebody else, or to nobody.
    #[error("{worker} holds a rank of {job} that the job does not count on")]
    StrayRank {
        /// The worker.
        worker: WorkerId,
        /// The job.
        job: JobId,
    },
    /// A job counts on a worker that does not hold its rank.
    #[error("{job} counts on {worker}, which does not hold that rank")]
    UnheldRank {
        /// The job.
        job: JobId,
        /// The worker.
        worker: WorkerId,
    },
    /// A job's ranks are of another generation than the job.
    #[error("{job} has ranks of another generation")]
    MixedGenerations {
        /// The job.
        job: JobId,
    },
    /// A task counts on a worker that does not have it, or the other way round.
    #[error("{task} and {worker} do not know of each other")]
    StrayTask {
        /// The task.
        task: TaskId,
        /// The worker.
        worker: WorkerId,
    },
    /// Sessions and workers do not match.
    #[error("the session of {worker} is not tied to it")]
    StraySession {
        /// The worker.
        worker: WorkerId,
    },
    /// A team holds more than it may.
    #[error("team {team:?} holds {held} workers, at most {quota} may be")]
    OverQuota {
        /// The team.
        team: String,
        /// Workers that its jobs hold.
        held: u32,
        /// Workers that they may hold.
        quota: u32,
    },
    /// Something outgrew its bound.
    #[error("{what}: {size} are held, at most {limit} may be")]
    Unbounded {
        /// What.
        what: &'static str,
        /// How many there are.
        size: usize,
        /// How many may be.
        limit: usize,
    },
    /// An id was given out that the counters do not know of.
    #[error("an id in use is greater than the last one given out")]
    UncountedId,
}

impl Core {
    /// Looks for anything that must not be.
    ///
    /// # Errors
    /// The first violation found.
    pub fn check(&self) -> Result<(), Violation> {
        self.check_workers()?;
        self.check_jobs()?;
        self.check_quotas()?;
        self.check_tasks()?;
        self.check_bounds()
    }

    fn check_workers(&self) -> Result<(), Violation> {
        for (worker, known) in self.members.iter() {
            if let Some(session) = known.session
                && self.members.by_session(session) != Some(worker)
            {
                return Err(Violation::StraySession { worker });
            }
            if let Hold::Rank { job, generation, rank } = known.hold {
                let assignment = self.jobs.get(&job).and_then(|job| job.state.phase.assignment());
                let live = assignment.filter(|held| held.generation == generation).is_some_and(|held| {
                    let mine = held.live().find(|(live, _)| *live == rank);
                    mine.is_some_and(|(_, member)| {
                        member.worker == worker && member.incarnation == known.incarnation
                    })
                });
                if !live {
                    return Err(Violation::StrayRank { worker, job });
                }
            }
        }
        let tied = self.members.iter().filter(|(_, worker)| worker.session.is_some()).count();
        bound("sessions", self.members.sessions().count(), tied)
    }

    fn check_jobs(&self) -> Result<(), Violation> {
        for (id, job) in &self.jobs {
            let Some(assignment) = job.state.phase.assignment() else { continue };
            if assignment.generation != job.state.generation || assignment.job != *id {
                return Err(Violation::MixedGenerations { job: *id });
            }
            for (rank, member) in assignment.live() {
                let held = Hold::Rank { job: *id, generation: assignment.generation, rank };
                let worker = self.members.get(member.worker);
                if worker.is_none_or(|worker| worker.hold != held) {
                    return Err(Violation::UnheldRank { job: *id, worker: member.worker });
                }
            }
        }
        Ok(())
    }

    fn check_quotas(&self) -> Result<(), Violation> {
        for (team, quota) in &self.config.pool.quotas {
            let held = self.held_by(team);
            if held > *quota {
                return Err(Violation::OverQuota { team: team.clone(), held, quota: *quota });
            }
        }
        Ok(())
    }

    fn check_tasks(&self) -> Result<(), Violation> {
        for (worker, known) in self.members.iter() {
            if let Hold::Task { claim } = known.hold
                && self.tasks.get(claim.task).and_then(|task| task.claim(claim.task)) != Some((worker, claim))
            {
                return Err(Violation::StrayTask { task: claim.task, worker });
            }
        }
        for (id, task) in self.tasks.iter() {
            if let Some((worker, claim)) = task.claim(id)
                && self.members.get(worker).is_none_or(|known| known.hold != Hold::Task { claim })
            {
                return Err(Violation::StrayTask { task: id, worker });
            }
        }
        bound("tasks", self.tasks.iter().count(), self.tasks.len())?;
        bound("tasks", self.tasks.len(), self.config.max_tasks)
    }

    fn check_bounds(&self) -> Result<(), Violation> {
        let ended = self.jobs.values().filter(|job| job.phase().is_ended()).count();
        bound("workers", self.members.len(), self.config.max_workers)?;
        bound("jobs", self.jobs.len() - ended, self.config.max_jobs)?;
        bound("ended jobs", ended, self.config.max_ended_jobs)?;
        for job in self.jobs.values() {
            bound("events", job.state.events.len(), MAX_EVENTS)?;
            bound("incidents", job.state.incidents.len(), MAX_INCIDENTS)?;
        }
        let jobs = self.jobs.keys().next_back().map_or(0, |job| job.0);
        let workers = self.members.iter().map(|(worker, _)| worker.0).max().unwrap_or(0);
        let lives = self.members.iter().map(|(_, worker)| worker.incarnation.0).max().unwrap_or(0);
        let counted = jobs <= self.counters.jobs
            && workers <= self.counters.workers
            && lives <= self.counters.incarnations;
        if counted { Ok(()) } else { Err(Violation::UncountedId) }
    }
}

fn bound(what: &'static str, size: usize, limit: usize) -> Result<(), Violation> {
    if size <= limit { Ok(()) } else { Err(Violation::Unbounded { what, size, limit }) }
}

//! The workers that are known: who lives, and what each holds.
//!
//! A worker is in the map from its registration until it is lost; being silent for `failure_detection`, or closing its
//! session, makes it lost.

use std::collections::{BTreeMap, BTreeSet};

use muster_proto::control::{Capabilities, RankState, WorkerStatus};
use muster_proto::fence::{Fence, TaskClaim};
use muster_proto::ids::{Generation, Incarnation, JobId, Rank, WorkerId};

use crate::event::SessionId;
use crate::record::Cordon;
use crate::time::Time;

/// What a worker has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hold {
    /// Nothing: it can be given a rank.
    Idle,
    /// A rank of a job.
    Rank { job: JobId, generation: Generation, rank: Rank },
    /// A task.
    Task { claim: TaskClaim },
    /// It was told to stop and has not said that it did.
    Stopping { fence: Fence },
}

/// A worker that is known.
#[derive(Debug, Clone)]
pub(crate) struct Worker {
    pub(crate) capabilities: Capabilities,
    pub(crate) incarnation: Incarnation,
    pub(crate) session: Option<SessionId>,
    /// When it is lost, unless it is heard of before.
    pub(crate) deadline: Time,
    pub(crate) hold: Hold,
    /// What it does, by its last heartbeat.
    pub(crate) running: Option<RankState>,
    /// Whether it gets ranks.
    pub(crate) cordon: Cordon,
}

impl Worker {
    pub(crate) fn fence(&self) -> Option<Fence> {
        let incarnation = self.incarnation;
        match self.hold {
            Hold::Idle | Hold::Task { .. } => None,
            Hold::Rank { job, generation, .. } => Some(Fence { job, generation, incarnation }),
            Hold::Stopping { fence } => Some(fence),
        }
    }

    pub(crate) fn status(&self, worker: WorkerId) -> WorkerStatus {
        let assignment = match self.hold {
            Hold::Rank { rank, .. } => self.fence().map(|fence| (fence, rank)),
            Hold::Idle | Hold::Task { .. } | Hold::Stopping { .. } => None,
        };
        let task = match self.hold {
            Hold::Task { claim } => Some(claim.task),
            _ => None,
        };
        WorkerStatus {
            worker,
            incarnation: self.incarnation,
            capabilities: self.capabilities.clone(),
            connected: self.session.is_some(),
            assignment,
            running: self.running.clone(),
            cordoned: self.cordon != Cordon::Open,
            task,
        }
    }
}

/// All workers that are known.
#[derive(Debug, Default)]
pub(crate) struct Membership {
    workers: BTreeMap<WorkerId, Worker>,
    sessions: BTreeMap<SessionId, WorkerId>,
    /// No worker's time is over before this: heartbeats only put it off, so that not every one of thousands of them has
    /// all workers looked at.
    earliest: Option<Time>,
}

impl Membership {
    pub(crate) fn len(&self) -> usize {
        self.workers.len()
    }

    pub(crate) fn sessions(&self) -> impl Iterator<Item = (SessionId, WorkerId)> {
        self.sessions.iter().map(|(session, worker)| (*session, *worker))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (WorkerId, &Worker)> {
        self.workers.iter().map(|(id, worker)| (*id, worker))
    }

    pub(crate) fn get(&self, id: WorkerId) -> Option<&Worker> {
        self.workers.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: WorkerId) -> Option<&mut Worker> {
        self.workers.get_mut(&id)
    }

    /// How many workers of each host have work, with those that are `chosen` for some. A worker that does not name its host
    /// shares it with nobody.
    pub(crate) fn sharers(&self, chosen: &[WorkerId]) -> BTreeMap<&str, u32> {
        let chosen: BTreeSet<&WorkerId> = chosen.iter().collect();
        let mut sharers = BTreeMap::new();
        for (id, worker) in &self.workers {
            let host = worker.capabilities.host.as_str();
            if !host.is_empty() && (worker.hold != Hold::Idle || chosen.contains(id)) {
                *sharers.entry(host).or_insert(0) += 1;
            }
        }
        sharers
    }

    pub(crate) fn by_session(&self, session: SessionId) -> Option<WorkerId> {
        self.sessions.get(&session).copied()
    }

    pub(crate) fn by_name(&self, name: &str) -> Option<WorkerId> {
        self.iter().find(|(_, worker)| worker.capabilities.name == name).map(|(id, _)| id)
    }

    pub(crate) fn insert(&mut self, id: WorkerId, worker: Worker) {
        self.earliest = self.earliest.into_iter().chain([worker.deadline]).min();
        self.workers.insert(id, worker);
    }

    /// Takes a worker out, with its session.
    pub(crate) fn remove(&mut self, id: WorkerId) -> Option<Worker> {
        let worker = self.workers.remove(&id)?;
        if let Some(session) = worker.session {
            self.sessions.remove(&session);
        }
        Some(worker)
    }

    /// Ties a session to a worker; the session it had before is returned.
    pub(crate) fn connect(&mut self, id: WorkerId, session: SessionId) -> Option<SessionId> {
        let worker = self.workers.get_mut(&id)?;
        let before = worker.session.replace(session);
        if let Some(before) = before {
            self.sessions.remove(&before);
        }
        self.sessions.insert(session, id);
        before
    }

    /// Gives every worker until `deadline` at least.
    pub(crate) fn extend_deadlines(&mut self, deadline: Time) {
        self.workers.values_mut().for_each(|worker| worker.deadline = worker.deadline.max(deadline));
    }

    /// Workers whose time is over.
    pub(crate) fn expired(&mut self, now: Time) -> Vec<WorkerId> {
        let expired = self.iter().filter(|(_, worker)| worker.deadline <= now).map(|(id, _)| id).collect();
        let live = self.workers.values().map(|worker| worker.deadline).filter(|deadline| *deadline > now);
        self.earliest = live.min();
        expired
    }

    /// When to look for workers whose time is over; they may have been heard of until then.
    pub(crate) fn next_deadline(&self) -> Option<Time> {
        self.earliest
    }
}

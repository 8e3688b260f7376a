//! Workers come and go.

use std::time::Duration;

use muster_proto::control::{Capabilities, Directive, EventKind, Registration};
use muster_proto::ids::{Incarnation, WorkerId};

use super::{Core, Outbox};
use crate::action::{Action, Answer, SessionEnd};
use crate::event::{RequestId, SessionId};
use crate::membership::{Hold, Worker};
use crate::phase::Signal;
use crate::record::{self, Cordon, WorkerRecord};
use crate::refusal::Refusal;
use crate::time::Time;

/// Longest text among a worker's capabilities, in bytes.
const MAX_TEXT: usize = 256;

/// Most GPUs that one is said to reach.
const MAX_PEERS: usize = 64;

impl Core {
    pub(super) fn register(
        &mut self,
        now: Time,
        request: RequestId,
        capabilities: Capabilities,
        out: &mut Outbox,
    ) {
        if let Err(refusal) = check(&capabilities) {
            return out.reply(request, Err(refusal));
        }
        let before = self.members.by_name(&capabilities.name);
        // A new process of a worker that was taken out of service is out of service too.
        let cordon = before.and_then(|id| self.members.get(id)).map_or(Cordon::Open, |worker| worker.cordon);
        if before.is_none() && self.members.len() >= self.config.max_workers {
            let limit = self.config.max_workers;
            return out.reply(request, Err(Refusal::TooManyWorkers { limit }));
        }
        if let Some(worker) = before {
            self.remove(now, worker, "a new process took its name", SessionEnd::Superseded { worker }, out);
        }
        let worker = before.unwrap_or_else(|| {
            self.counters.workers += 1;
            WorkerId(self.counters.workers)
        });
        self.counters.incarnations += 1;
        let incarnation = Incarnation(self.counters.incarnations);
        out.write(record::put_counters(&self.counters));
        let known = WorkerRecord { incarnation, capabilities: capabilities.clone(), cordon };
        out.write(record::put_worker(worker, &known));
        let deadline = now + self.config.failure_detection;
        let (session, hold, running, cordon) = (None, Hold::Idle, None, known.cordon);
        let life = Worker { capabilities, incarnation, session, deadline, hold, running, cordon };
        self.members.insert(worker, life);
        let failure_detection = self.config.failure_detection;
        out.reply(request, Ok(Answer::Registered(Registration { worker, incarnation, failure_detection })));
    }

    /// A worker was silent for too long.
    pub(super) fn lose(&mut self, now: Time, worker: WorkerId, out: &mut Outbox) {
        let reason = format!("nothing was heard of it for {:?}", self.config.failure_detection);
        self.detected(worker, self.config.failure_detection);
        self.remove(now, worker, &reason, SessionEnd::Unknown { worker }, out);
    }

    /// A connection is gone: a process that ends closes its own, and one that lives comes back as a new worker.
    pub(super) fn session_closed(&mut self, now: Time, session: SessionId, out: &mut Outbox) {
        let Some(worker) = self.members.by_session(session) else { return };
        self.detected(worker, Duration::ZERO);
        self.remove(now, worker, "its connection closed", SessionEnd::Unknown { worker }, out);
    }

    fn detected(&mut self, worker: WorkerId, detect: Duration) {
        if let Some(Hold::Rank { job, .. }) = self.members.get(worker).map(|worker| worker.hold)
            && let Some(job) = self.jobs.get_mut(&job)
        {
            job.detected = detect;
        }
    }

    /// Says whether a worker gets ranks.
    pub(super) fn cordon(
        &mut self,
        request: RequestId,
        id: WorkerId,
        cordoned: bool,
        drain: bool,
        out: &mut Outbox,
    ) {
        let cordon = match (cordoned, drain) {
            (false, false) => Cordon::Open,
            (_, true) => Cordon::Draining,
            (true, false) => Cordon::Cordoned,
        };
        let known = self.set_cordon(id, cordon, out);
        let answer = if known { Ok(Answer::Accepted) } else { Err(Refusal::UnknownWorker { worker: id }) };
        out.reply(request, answer);
        self.may_gather = true;
    }

    /// Notes whether a worker gets ranks; false where there is no such worker.
    pub(super) fn set_cordon(&mut self, id: WorkerId, cordon: Cordon, out: &mut Outbox) -> bool {
        let Some(worker) = self.members.get_mut(id) else { return false };
        worker.cordon = cordon;
        let (incarnation, capabilities) = (worker.incarnation, worker.capabilities.clone());
        out.write(record::put_worker(id, &WorkerRecord { incarnation, capabilities, cordon }));
        if cordon == Cordon::Draining
            && let Some(worker) = self.members.get(id)
        {
            self.drain_task(worker, out);
        }
        true
    }

    fn remove(&mut self, now: Time, id: WorkerId, reason: &str, end: SessionEnd, out: &mut Outbox) {
        let Some(worker) = self.members.remove(id) else { return };
        out.write(record::delete_worker(id));
        if let Some(session) = worker.session {
            out.push(Action::CloseSession { session, end });
        }
        self.may_gather = true;
        if let Hold::Task { claim } = worker.hold {
            self.lose_task(id, claim.task, reason, out);
        }
        let Hold::Rank { job, rank, .. } = worker.hold else { return };
        if let Some(state) = self.jobs.get_mut(&job) {
            let event = state.record(EventKind::WorkerLost { worker: id, rank, reason: reason.to_owned() });
            out.publish(job, event);
            out.changed(job);
        }
        self.on_rank(now, job, rank, Signal::Lost { worker: id, reason: reason.to_owned() }, out);
    }

    /// Sends all workers home.
    pub(super) fn dismiss(&self, reason: &str, out: &mut Outbox) {
        for (session, _) in self.members.sessions() {
            out.send(Some(session), Directive::Shutdown { reason: reason.to_owned() });
        }
    }
}

fn check(capabilities: &Capabilities) -> Result<(), Refusal> {
    let Capabilities { name, host, data_plane_address, numerics, muster_version, gpu, .. } = capabilities;
    let mut texts = vec![
        ("name", name, true),
        ("host", host, false),
        ("data_plane_address", data_plane_address, true),
        ("numerics", numerics, true),
        ("muster_version", muster_version, false),
    ];
    if let Some(gpu) = gpu {
        if gpu.direct_peers.len() > MAX_PEERS {
            let problem = format!("has {} bus ids, at most {MAX_PEERS} are taken", gpu.direct_peers.len());
            return Err(Refusal::Invalid { field: "gpu.direct_peers", problem });
        }
        texts.extend([("gpu.name", &gpu.name, false), ("gpu.pci_bus_id", &gpu.pci_bus_id, true)]);
        texts.extend(gpu.direct_peers.iter().map(|peer| ("gpu.direct_peers", peer, true)));
    }
    for (field, text, required) in texts {
        if text.len() > MAX_TEXT {
            let problem = format!("has {} bytes, at most {MAX_TEXT} are taken", text.len());
            return Err(Refusal::Invalid { field, problem });
        }
        if required && text.is_empty() {
            return Err(Refusal::Invalid { field, problem: "must not be empty".to_owned() });
        }
    }
    Ok(())
}

//! Workers come and go.

use muster_proto::control::{Capabilities, Directive, EventKind, Registration};
use muster_proto::ids::{Incarnation, WorkerId};

use super::{Core, Outbox};
use crate::action::{Action, Answer, SessionEnd};
use crate::event::RequestId;
use crate::membership::{Hold, Worker};
use crate::phase::Signal;
use crate::record::{self, WorkerRecord};
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
        let known = WorkerRecord { incarnation, capabilities: capabilities.clone() };
        out.write(record::put_worker(worker, &known));
        let deadline = now + self.config.failure_detection;
        let (session, hold, running) = (None, Hold::Idle, None);
        self.members.insert(worker, Worker { capabilities, incarnation, session, deadline, hold, running });
        let failure_detection = self.config.failure_detection;
        out.reply(request, Ok(Answer::Registered(Registration { worker, incarnation, failure_detection })));
    }

    /// A worker was silent, or away, for too long.
    pub(super) fn lose(&mut self, now: Time, worker: WorkerId, out: &mut Outbox) {
        let connected = self.members.get(worker).is_some_and(|worker| worker.session.is_some());
        let reason = if connected {
            format!("nothing was heard of it for {:?}", self.config.failure_detection)
        } else {
            format!(
                "its connection broke, and it did not come back within {:?}",
                self.config.reconnect_grace()
            )
        };
        self.remove(now, worker, &reason, SessionEnd::Unknown { worker }, out);
    }

    fn remove(&mut self, now: Time, id: WorkerId, reason: &str, end: SessionEnd, out: &mut Outbox) {
        let Some(worker) = self.members.remove(id) else { return };
        out.write(record::delete_worker(id));
        if let Some(session) = worker.session {
            out.push(Action::CloseSession { session, end });
        }
        self.may_gather = true;
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

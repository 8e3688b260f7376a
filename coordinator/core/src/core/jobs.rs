//! Jobs come, move from phase to phase, and go.

use muster_proto::control::{CancelMode, Directive, EventKind, JobPhase, Submission};
use muster_proto::fence::Fence;
use muster_proto::ids::{JobId, Rank};

use super::{Core, Outbox};
use crate::action::Answer;
use crate::assignment::Assignment;
use crate::config::Config;
use crate::event::RequestId;
use crate::job::Job;
use crate::membership::Hold;
use crate::phase::{Context, Phase, Signal, Verdict};
use crate::record;
use crate::refusal::Refusal;
use crate::submission;
use crate::time::Time;

impl Core {
    pub(super) fn submit(&mut self, now: Time, request: RequestId, job: Submission, out: &mut Outbox) {
        let waiting = self.jobs.values().filter(|job| !job.phase().is_ended()).count();
        if waiting >= self.config.max_jobs {
            let limit = self.config.max_jobs;
            return out.reply(request, Err(Refusal::TooManyJobs { limit }));
        }
        if let Err(refusal) = submission::check(&job, &self.config) {
            return out.reply(request, Err(refusal));
        }
        self.counters.jobs += 1;
        let id = JobId(self.counters.jobs);
        out.write(record::put_counters(&self.counters));
        out.write(record::put_submission(id, &job));
        let mut job = Job::new(job, now);
        let reason = format!("asks for {} workers", job.submission.world_size);
        let event = job.record(EventKind::PhaseChanged { phase: JobPhase::Gathering, reason });
        self.jobs.insert(id, job);
        out.changed(id);
        out.reply(request, Ok(Answer::Submitted(id)));
        out.publish(id, event);
        self.may_gather = true;
    }

    pub(super) fn cancel(
        &mut self,
        now: Time,
        request: RequestId,
        id: JobId,
        mode: CancelMode,
        out: &mut Outbox,
    ) {
        let answer = match self.jobs.get(&id).map(Job::phase) {
            None => Err(Refusal::UnknownJob { job: id }),
            Some(phase) if phase.is_ended() => Err(Refusal::Ended { job: id, phase }),
            Some(_) => Ok(Answer::Accepted),
        };
        let accepted = answer.is_ok();
        out.reply(request, answer);
        if accepted {
            self.on_job(now, id, out, |phase, config| phase.on_cancel(mode, Context { now, config }));
        }
    }

    pub(super) fn checkpoint(&self, request: RequestId, id: JobId, out: &mut Outbox) {
        let phase = self.jobs.get(&id).map(|job| &job.state.phase);
        let answer = match phase {
            None => Err(Refusal::UnknownJob { job: id }),
            Some(Phase::Training(training)) => {
                self.tell(&training.assignment, out, |fence| Directive::Checkpoint { fence });
                Ok(Answer::Accepted)
            }
            Some(phase) => Err(Refusal::NotTraining { job: id, phase: phase.name() }),
        };
        out.reply(request, answer);
    }

    /// Changes how many ranks a job should have; at once where it trains and that can be.
    pub(super) fn scale(&mut self, request: RequestId, id: JobId, workers: u32, out: &mut Outbox) {
        let limit = self.config.max_workers;
        let answer = match self.jobs.get_mut(&id) {
            None => Err(Refusal::UnknownJob { job: id }),
            Some(job) if job.phase().is_ended() => Err(Refusal::Ended { job: id, phase: job.phase() }),
            Some(_) if workers == 0 || workers as usize > limit => {
                let problem = format!("{workers} workers are asked for: ask for 1 to {limit}");
                Err(Refusal::Invalid { field: "workers", problem })
            }
            Some(job) => {
                job.state.scaled = Some(workers);
                out.changed(id);
                self.may_gather = true;
                Ok(Answer::Accepted)
            }
        };
        out.reply(request, answer);
    }

    /// Tells a job what a rank did, or what became of it.
    pub(super) fn on_rank(&mut self, now: Time, id: JobId, rank: Rank, signal: Signal, out: &mut Outbox) {
        self.on_job(now, id, out, |phase, config| phase.on_rank(rank, signal, Context { now, config }));
    }

    /// Has a job's phase decide, and carries its verdict out.
    pub(super) fn on_job(
        &mut self,
        now: Time,
        id: JobId,
        out: &mut Outbox,
        decide: impl FnOnce(&mut Phase, &Config) -> Verdict,
    ) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        match decide(&mut job.state.phase, &self.config) {
            Verdict::Stay => {}
            Verdict::Changed => out.changed(id),
            Verdict::Saved { step, manifest } => {
                if job.state.saved.as_ref().is_none_or(|(before, _)| *before <= step) {
                    job.state.saved = Some((step, manifest.clone()));
                }
                // What a coordinator knows that takes over now.
                job.count(now);
                let event = job.record(EventKind::CheckpointSaved { step, manifest });
                out.changed(id);
                out.publish(id, event);
            }
            Verdict::CaughtUp { steps_redone, recompute } => {
                job.state.fruitless = 0;
                job.state.suspicion.forget();
                out.changed(id);
                self.may_gather = true;
                let closed = job.close_incident(now, steps_redone, recompute);
                closed.into_iter().for_each(|event| out.publish(id, event));
            }
            Verdict::Go(phase, reason) => self.enter(now, id, *phase, reason, out),
            Verdict::Regroup(recovering) => self.regroup(now, id, *recovering, out),
        }
    }

    pub(super) fn enter(&mut self, now: Time, id: JobId, phase: Phase, reason: String, out: &mut Outbox) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let before = std::mem::replace(&mut job.state.phase, phase);
        job.note_transition(&before, now);
        let event = match &job.state.phase {
            Phase::Ended(ended) => job.record(ended.event()),
            phase => job.record(EventKind::PhaseChanged { phase: phase.name(), reason }),
        };
        out.changed(id);
        out.publish(id, event);
        let Some(assignment) = self.jobs[&id].state.phase.assignment().cloned() else {
            return self.let_go(before.assignment(), out);
        };
        // A job that trains again may have been asked for another size meanwhile.
        self.may_gather |= self.jobs[&id].phase() == JobPhase::Training;
        for (rank, member) in assignment.live() {
            let session = self.members.get(member.worker).and_then(|worker| worker.session);
            if let Some(directive) = self.jobs[&id].directive(rank) {
                out.send(session, directive);
            }
        }
    }

    /// A job has ended: who has not said so of its rank is waited for before it gets another one.
    pub(super) fn let_go(&mut self, assignment: Option<&Assignment>, out: &mut Outbox) {
        for (_, member) in assignment.into_iter().flat_map(Assignment::ranks) {
            let Some(worker) = self.members.get_mut(member.worker) else { continue };
            let (Hold::Rank { job, .. }, Some(fence)) = (worker.hold, worker.fence()) else { continue };
            if assignment.is_some_and(|assignment| assignment.job == job) {
                worker.hold = Hold::Stopping { fence };
            }
        }
        self.may_gather = true;
        let ended = self.jobs.iter().filter(|(_, job)| job.phase().is_ended()).map(|(id, _)| *id);
        let ended: Vec<JobId> = ended.collect();
        let surplus = ended.len().saturating_sub(self.config.max_ended_jobs);
        for id in &ended[..surplus] {
            self.jobs.remove(id);
            record::delete_job(*id).into_iter().for_each(|write| out.write(write));
        }
    }

    fn tell(&self, assignment: &Assignment, out: &mut Outbox, directive: impl Fn(Fence) -> Directive) {
        for (_, member) in assignment.live() {
            let session = self.members.get(member.worker).and_then(|worker| worker.session);
            out.send(session, directive(assignment.fence(member)));
        }
    }
}

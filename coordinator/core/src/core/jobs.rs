//! Jobs come, move from phase to phase, and go.

use muster_proto::control::{CancelMode, Directive, EventKind, JobPhase, Submission};
use muster_proto::fence::Fence;
use muster_proto::ids::{Generation, JobId, Rank, WorkerId};

use super::{Core, Outbox};
use crate::action::Answer;
use crate::assignment::{Assignment, Member};
use crate::config::Config;
use crate::event::RequestId;
use crate::explain::NotReady;
use crate::job::Job;
use crate::membership::Hold;
use crate::phase::{self, Candidate, Context, Ended, Loading, Phase, Planning, Signal, Verdict};
use crate::record;
use crate::refusal::Refusal;
use crate::submission;
use crate::time::Time;

impl Core {
    pub(super) fn submit(&mut self, request: RequestId, job: Submission, out: &mut Outbox) {
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
        let mut job = Job::new(job);
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
            self.on_job(id, out, |phase, config| phase.on_cancel(mode, Context { now, config }));
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

    /// Tells a job what a rank did, or what became of it.
    pub(super) fn on_rank(&mut self, now: Time, id: JobId, rank: Rank, signal: Signal, out: &mut Outbox) {
        self.on_job(id, out, |phase, config| phase.on_rank(rank, signal, Context { now, config }));
    }

    /// Has a job's phase decide, and carries its verdict out.
    pub(super) fn on_job(
        &mut self,
        id: JobId,
        out: &mut Outbox,
        decide: impl FnOnce(&mut Phase, &Config) -> Verdict,
    ) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        match decide(&mut job.state.phase, &self.config) {
            Verdict::Stay => {}
            Verdict::Changed => out.changed(id),
            Verdict::Saved { step, manifest } => {
                job.state.saved = Some((step, manifest.clone()));
                let event = job.record(EventKind::CheckpointSaved { step, manifest });
                out.changed(id);
                out.publish(id, event);
            }
            Verdict::Go(phase, reason) => self.enter(id, *phase, reason, out),
        }
    }

    fn enter(&mut self, id: JobId, phase: Phase, reason: String, out: &mut Outbox) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let before = std::mem::replace(&mut job.state.phase, phase);
        let event = match &job.state.phase {
            Phase::Ended(ended) => job.record(ended.event()),
            phase => job.record(EventKind::PhaseChanged { phase: phase.name(), reason }),
        };
        out.changed(id);
        out.publish(id, event);
        let Some(assignment) = self.jobs[&id].state.phase.assignment().cloned() else {
            return self.let_go(before.assignment(), out);
        };
        for (rank, member) in assignment.live() {
            let session = self.members.get(member.worker).and_then(|worker| worker.session);
            let job = &self.jobs[&id];
            if let Some(directive) = job.state.phase.directive(&job.submission, rank) {
                out.send(session, directive);
            }
        }
    }

    /// A job has ended: who has not said so of its rank is waited for before it gets another one.
    fn let_go(&mut self, assignment: Option<&Assignment>, out: &mut Outbox) {
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

    /// Gives workers without work to the jobs that wait, in the order in which those came.
    pub(super) fn gather(&mut self, now: Time, out: &mut Outbox) {
        let waits = |(id, job): (&JobId, &Job)| (job.phase() == JobPhase::Gathering).then_some(*id);
        let waiting: Vec<JobId> = self.jobs.iter().filter_map(waits).collect();
        let mut first: Option<JobId> = None;
        for id in waiting {
            let chosen = match first {
                Some(job) => Err(NotReady::Behind { job }),
                None => self.choose(id),
            };
            match chosen {
                Ok(workers) => self.begin(now, id, &workers, out),
                Err(reason) => {
                    first = first.or(Some(id));
                    self.explain(id, reason, out);
                }
            }
        }
    }

    fn choose(&self, id: JobId) -> Result<Vec<WorkerId>, NotReady> {
        let idle: Vec<Candidate<'_>> = self
            .members
            .iter()
            .filter(|(_, worker)| worker.hold == Hold::Idle && worker.session.is_some())
            .map(|(worker, known)| Candidate {
                worker,
                device: known.capabilities.device,
                numerics: &known.capabilities.numerics,
            })
            .collect();
        let job = &self.jobs[&id];
        phase::choose(&job.submission, job.state.numerics.as_deref(), &idle).map_err(|reason| match reason {
            NotReady::TooFewWorkers { have, want, .. } => {
                NotReady::TooFewWorkers { have, want, others: self.members.len() - have }
            }
            reason => reason,
        })
    }

    /// Says why a job waits, if that is news.
    fn explain(&mut self, id: JobId, reason: NotReady, out: &mut Outbox) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let text = reason.to_string();
        if let Phase::Gathering(gathering) = &mut job.state.phase
            && gathering.reason.replace(reason.clone()) != Some(reason)
        {
            let event = job.event(EventKind::PhaseChanged { phase: JobPhase::Gathering, reason: text });
            out.publish(id, event);
        }
    }

    /// Opens a new generation of a job.
    fn begin(&mut self, now: Time, id: JobId, workers: &[WorkerId], out: &mut Outbox) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let generation = job.state.generation.next();
        job.state.generation = generation;
        let member = |worker: &WorkerId| {
            let known = self.members.get(*worker)?;
            let (incarnation, address) = (known.incarnation, known.capabilities.data_plane_address.clone());
            Some(Member { worker: *worker, incarnation, address })
        };
        let members: Vec<Member> = workers.iter().filter_map(member).collect();
        if job.submission.reproducible && job.state.numerics.is_none() {
            let first = members.first().and_then(|member| self.members.get(member.worker));
            job.state.numerics = first.map(|worker| worker.capabilities.numerics.clone());
        }
        let submission = &job.submission;
        let planned = phase::plan(Planning { job: id, submission, generation, members, seed: &self.seed });
        let assignment = match planned {
            Ok(assignment) => assignment,
            Err(error) => {
                let error = format!("no plan places the job's tables: {error}");
                return self.enter(id, Phase::Ended(Ended::Failed { error: error.clone() }), error, out);
            }
        };
        let summary = assignment.summary();
        let event = job.record(EventKind::PhaseChanged { phase: JobPhase::Planning, reason: summary });
        out.publish(id, event);
        self.hold_ranks(id, generation, workers);
        let reason = "ranks connect to each other and load".to_owned();
        let loading = Loading::new(assignment, self.context(now));
        self.enter(id, Phase::Loading(loading), reason, out);
    }

    fn hold_ranks(&mut self, job: JobId, generation: Generation, workers: &[WorkerId]) {
        for (rank, worker) in (0..).map(Rank).zip(workers) {
            if let Some(worker) = self.members.get_mut(*worker) {
                worker.hold = Hold::Rank { job, generation, rank };
            }
        }
    }
}

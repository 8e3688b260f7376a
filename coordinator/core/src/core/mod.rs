//! The state machine: everything the coordinator knows, and one function that changes it.

mod generations;
mod jobs;
mod outbox;
mod queue;
mod restore;
mod sessions;
mod straggler;
mod tasks;
mod workers;

use std::collections::BTreeMap;

use muster_proto::control::{JobEvent, JobPhase, JobStatus, WorkerStatus};
use muster_proto::ids::JobId;

use self::outbox::Outbox;
use crate::action::{Action, Answer};
use crate::config::Config;
use crate::event::Event;
use crate::job::Job;
use crate::membership::Membership;
use crate::phase::Context;
use crate::record::Counters;
use crate::task::Tasks;
use crate::time::Time;

/// Everything the coordinator knows.
#[derive(Debug)]
pub struct Core {
    pub(crate) config: Config,
    /// From which the secrets of generations are made.
    seed: [u8; 32],
    pub(crate) counters: Counters,
    pub(crate) members: Membership,
    pub(crate) jobs: BTreeMap<JobId, Job>,
    pub(crate) tasks: Tasks,
    /// Whether a waiting job or task may find workers now.
    may_gather: bool,
    last_tick: Time,
}

impl Core {
    /// Takes in what happened at `now` and returns what to do, in order.
    pub fn step(&mut self, now: Time, event: Event) -> Vec<Action> {
        self.step_all(now, [event])
    }

    /// Takes in what happened until `now`, in order, and returns what to do, in order. Whatever has to be durable is
    /// one write, so that many events at once cost little more than one.
    pub fn step_all(&mut self, now: Time, events: impl IntoIterator<Item = Event>) -> Vec<Action> {
        if self.members.len() == 0 {
            // Nobody to watch: no ticks were asked for, so their absence says nothing.
            self.last_tick = now;
        }
        let mut out = Outbox::default();
        events.into_iter().for_each(|event| self.take_in(now, event, &mut out));
        // What one job gives up, another may take.
        while std::mem::take(&mut self.may_gather) {
            self.gather(now, &mut out);
            self.give_tasks(&mut out);
        }
        out.into_actions(&self.jobs, &self.tasks)
    }

    fn take_in(&mut self, now: Time, event: Event, out: &mut Outbox) {
        match event {
            Event::Register { request, capabilities } => self.register(now, request, capabilities, out),
            Event::SessionOpened { session, hello } => self.open_session(now, session, &hello, out),
            Event::SessionClosed { session } => self.session_closed(now, session, out),
            Event::Reported { session, report } => self.on_report(now, session, report, out),
            Event::Submit { request, submission } => self.submit(now, request, *submission, out),
            Event::Cancel { request, job, mode } => self.cancel(now, request, job, mode, out),
            Event::Scale { request, job, workers } => self.scale(request, job, workers, out),
            Event::Cordon { request, worker, cordoned, drain } => {
                self.cordon(request, worker, cordoned, drain, out);
            }
            Event::Checkpoint { request, job } => self.checkpoint(request, job, out),
            Event::CreateTasks { request, owner, tasks } => {
                self.create_tasks(now, request, owner, tasks, out);
            }
            Event::HoldTasks { request, owner } => self.hold_tasks(now, request, owner, out),
            Event::ReleaseTasks { request, owner } => {
                self.release_tasks(owner, "nobody needs it any more", out);
                out.reply(request, Ok(Answer::Accepted));
            }
            Event::Dismiss { reason } => self.dismiss(&reason, out),
            Event::Tick => self.tick(now, out),
        }
    }

    /// When the next [`Event::Tick`] is due, if nothing happens before. Looks at every job.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        let jobs = self.jobs.values().filter_map(|job| job.state.phase.deadline());
        let earliest = jobs.chain(self.members.next_deadline()).chain(self.tasks.next_deadline()).min()?;
        Some(earliest.min(self.last_tick + self.config.tick_interval()))
    }

    /// All jobs, newest last.
    #[must_use]
    pub fn jobs(&self, now: Time) -> Vec<JobStatus> {
        self.jobs.keys().filter_map(|id| self.job(*id, now)).collect()
    }

    /// One job.
    #[must_use]
    pub fn job(&self, id: JobId, now: Time) -> Option<JobStatus> {
        self.jobs.get(&id).map(|job| job.status(id, now, (self.straggler(job), self.measured(job))))
    }

    /// All workers, in order of their ids.
    #[must_use]
    pub fn workers(&self) -> Vec<WorkerStatus> {
        self.members.iter().map(|(id, worker)| worker.status(id)).collect()
    }

    /// What there is to tell somebody who has seen the events of a job up to the one numbered `after`: those that
    /// are kept, then how things stand. `None` if there is no such job.
    #[must_use]
    pub fn events_after(&self, job: JobId, after: u64) -> Option<Vec<JobEvent>> {
        let job = self.jobs.get(&job)?;
        let kept = job.state.events.iter().filter(|event| event.sequence > after).cloned();
        Some(kept.chain(job.standing()).collect())
    }

    pub(crate) fn context(&self, now: Time) -> Context<'_> {
        Context { now, config: &self.config }
    }

    /// Looks for workers and phases whose time is over.
    fn tick(&mut self, now: Time, out: &mut Outbox) {
        let absent = now > self.last_tick + self.config.tick_interval() + self.config.own_absence();
        self.last_tick = now;
        if absent {
            self.members.extend_deadlines(now + self.config.reconnect_grace());
            self.tasks.extend_deadlines(now + self.config.reconnect_grace());
            return;
        }
        // Jobs that wait grow older, and by that come first.
        self.may_gather |= self.jobs.values().any(|job| job.phase() == JobPhase::Gathering);
        for owner in self.tasks.expired(now) {
            self.release_tasks(owner, "its owner was not heard of for too long", out);
        }
        for worker in self.members.expired(now) {
            self.lose(now, worker, out);
        }
        let due = |(id, job): (&JobId, &Job)| (job.state.phase.deadline()? <= now).then_some(*id);
        let due: Vec<JobId> = self.jobs.iter().filter_map(due).collect();
        for id in due {
            self.on_job(now, id, out, |phase, config| phase.on_deadline(Context { now, config }));
        }
    }
}

//! What workers say on their sessions.
//!
//! The conversation is about states, not about messages: a worker repeats on each new session what is not known
//! to have arrived, and is told again what it has to do. So a broken connection loses nothing.

use muster_proto::control::{Directive, EventKind, Hello, Progress, RankState, Report};
use muster_proto::fence::{self, Fence, Stale};
use muster_proto::ids::{Incarnation, JobId, Rank, WorkerId};

use super::{Core, Outbox};
use crate::action::{Action, SessionEnd};
use crate::event::SessionId;
use crate::membership::Hold;
use crate::phase::{Phase, Signal};
use crate::record::Cordon;
use crate::task::Stage;
use crate::time::Time;

impl Core {
    pub(super) fn open_session(&mut self, now: Time, session: SessionId, hello: &Hello, out: &mut Outbox) {
        let worker = hello.worker;
        let end = match self.members.get(worker) {
            None => Some(SessionEnd::Unknown { worker }),
            Some(known) => match fence::admit_incarnation(known.incarnation, hello.incarnation) {
                Ok(()) => None,
                Err(_) if hello.incarnation < known.incarnation => Some(SessionEnd::Superseded { worker }),
                Err(_) => Some(SessionEnd::Unknown { worker }),
            },
        };
        if let Some(end) = end {
            return out.push(Action::CloseSession { session, end });
        }
        if let Some(before) = self.members.connect(worker, session) {
            out.push(Action::CloseSession { session: before, end: SessionEnd::Replaced { worker } });
        }
        self.heard(now, worker);
        out.send(Some(session), Directive::Welcome { incarnation: hello.incarnation });
        self.reconcile(now, worker, hello.running, out);
    }

    /// Brings what a worker says it runs and what it should run together, at the beginning of a session.
    fn reconcile(&mut self, now: Time, id: WorkerId, running: Option<Fence>, out: &mut Outbox) {
        let Some(worker) = self.members.get_mut(id) else { return };
        let (session, held) = (worker.session, worker.fence());
        if let Some(other) = running.filter(|running| Some(*running) != held) {
            let reason = "the coordinator does not count on this rank".to_owned();
            out.send(session, Directive::Abort { fence: other, reason });
        }
        match (worker.hold, running) {
            (Hold::Idle, Some(fence)) => worker.hold = Hold::Stopping { fence },
            (Hold::Idle, None) => self.may_gather = true,
            (Hold::Task { .. }, Some(fence)) => {
                self.leave_task(id, Stage::Waiting, out);
                self.stopping(id, fence);
            }
            (Hold::Task { claim }, None) => {
                if let Some(task) = self.tasks.get(claim.task) {
                    out.send(session, Directive::RunTask { claim, work: task.work.clone() });
                }
                if let Some(worker) = self.members.get(id).filter(|worker| worker.cordon == Cordon::Draining)
                {
                    self.drain_task(worker, out);
                }
            }
            (Hold::Stopping { fence }, _) if running == Some(fence) => {
                let reason = "the job has ended".to_owned();
                out.send(session, Directive::Abort { fence, reason });
            }
            (Hold::Stopping { .. }, Some(fence)) => worker.hold = Hold::Stopping { fence },
            (Hold::Stopping { .. }, None) => {
                worker.hold = Hold::Idle;
                self.may_gather = true;
            }
            (Hold::Rank { job, rank, .. }, _) => {
                let Some(state) = self.jobs.get(&job) else { return };
                let forgotten = running.is_none() && !matches!(state.state.phase, Phase::Loading(_));
                if forgotten {
                    worker.hold = Hold::Idle;
                    self.may_gather = true;
                    let reason = "it does not know its rank any more".to_owned();
                    self.on_rank(now, job, rank, Signal::Lost { worker: id, reason }, out);
                } else if let Some(directive) = state.directive(rank) {
                    out.send(session, directive);
                }
            }
        }
    }

    pub(super) fn on_report(&mut self, now: Time, session: SessionId, report: Report, out: &mut Outbox) {
        // A session that was closed from this side may still have reports under way.
        let Some(worker) = self.members.by_session(session) else { return };
        let (fence, signal) = match report {
            Report::Hello(_) => return,
            Report::Heartbeat { incarnation, running } => {
                return match self.admit_incarnation(worker, incarnation) {
                    Ok(()) => self.on_heartbeat(now, worker, running, out),
                    Err(stale) => out.push(Action::Refused { worker, stale }),
                };
            }
            Report::Progress { fence, progress } => {
                return match self.admit(worker, &fence) {
                    Ok(Some((job, rank))) => self.on_progress(job, rank, progress, out),
                    Ok(None) => {}
                    Err(stale) => {
                        out.push(Action::Refused { worker, stale });
                        self.stop_stray(worker, fence, &stale, out);
                    }
                };
            }
            Report::TaskRunning { claim, progress } => {
                return self.on_task_running(worker, claim, progress, out);
            }
            Report::TaskEnded { claim, end } => return self.on_task_ended(worker, claim, end, out),
            Report::JobReady { fence, restored } => (fence, Signal::Ready(restored)),
            Report::CaughtUp { fence, steps_redone, recompute } => {
                (fence, Signal::CaughtUp { steps_redone, recompute })
            }
            Report::Yielded { fence, step } => (fence, Signal::Yielded { step }),
            Report::PiecesSaved { fence, saved } => (fence, Signal::Saved(saved)),
            Report::Finished { fence, summary } => (fence, Signal::Finished { summary }),
            Report::Failed { fence, failure } => (fence, Signal::Failed(failure)),
        };
        let is_end = matches!(signal, Signal::Finished { .. } | Signal::Failed(_) | Signal::Yielded { .. });
        match self.admit(worker, &fence) {
            Ok(held) => {
                if is_end {
                    self.release(worker);
                }
                if let Some((job, rank)) = held {
                    self.on_rank(now, job, rank, signal, out);
                }
            }
            Err(stale) => {
                out.push(Action::Refused { worker, stale });
                if !is_end {
                    self.stop_stray(worker, fence, &stale, out);
                }
            }
        }
        if is_end {
            // After what it changed: the worker may forget its end only when the store has it.
            out.send(Some(session), Directive::Acknowledged { fence });
        }
    }

    fn heard(&mut self, now: Time, id: WorkerId) {
        let deadline = now + self.config.failure_detection;
        if let Some(worker) = self.members.get_mut(id) {
            worker.deadline = deadline;
        }
    }

    fn on_heartbeat(&mut self, now: Time, id: WorkerId, running: Option<RankState>, out: &mut Outbox) {
        self.heard(now, id);
        let Some(worker) = self.members.get_mut(id) else { return };
        let runs = running.as_ref().map(|state| state.fence);
        worker.running = running;
        if runs.is_some() && matches!(worker.hold, Hold::Task { .. }) {
            self.leave_task(id, Stage::Waiting, out);
        }
        let Some(worker) = self.members.get_mut(id) else { return };
        match (worker.hold, runs) {
            (Hold::Stopping { fence }, runs) if runs != Some(fence) => self.release(id),
            (Hold::Idle, Some(fence)) => {
                worker.hold = Hold::Stopping { fence };
                let reason = "the coordinator does not count on this rank".to_owned();
                out.send(worker.session, Directive::Abort { fence, reason });
            }
            _ => {}
        }
    }

    /// How far the job is, as rank 0 says; the others see the same.
    fn on_progress(&mut self, id: JobId, rank: Rank, progress: Progress, out: &mut Outbox) {
        let Some(job) = self.jobs.get_mut(&id).filter(|_| rank == Rank(0)) else { return };
        job.progress = Some(progress.clone());
        let event = if progress.metrics.is_empty() {
            job.event(EventKind::Progress(progress))
        } else {
            out.changed(id);
            job.record(EventKind::Progress(progress))
        };
        out.publish(id, event);
    }

    /// Lets a claim pass if it is about what the worker holds; the rank, if the job still counts on it.
    fn admit(&self, id: WorkerId, claimed: &Fence) -> Result<Option<(JobId, Rank)>, Stale> {
        let worker = self.members.get(id).ok_or(Stale::Unassigned { claimed: *claimed })?;
        fence::admit_held(worker.fence().as_ref(), claimed)?;
        Ok(match worker.hold {
            Hold::Rank { job, rank, .. } => Some((job, rank)),
            Hold::Idle | Hold::Task { .. } | Hold::Stopping { .. } => None,
        })
    }

    fn admit_incarnation(&self, id: WorkerId, claimed: Incarnation) -> Result<(), Stale> {
        self.members.get(id).map_or(Ok(()), |worker| fence::admit_incarnation(worker.incarnation, claimed))
    }

    /// A rank that nobody counts on is told to stop.
    fn stop_stray(&self, worker: WorkerId, fence: Fence, stale: &Stale, out: &mut Outbox) {
        let session = self.members.get(worker).and_then(|worker| worker.session);
        out.send(session, Directive::Abort { fence, reason: stale.to_string() });
    }

    /// The worker has to stop what it runs.
    fn stopping(&mut self, id: WorkerId, fence: Fence) {
        if let Some(worker) = self.members.get_mut(id) {
            worker.hold = Hold::Stopping { fence };
        }
    }

    /// The worker has nothing to do any more.
    fn release(&mut self, id: WorkerId) {
        if let Some(worker) = self.members.get_mut(id) {
            worker.hold = Hold::Idle;
            worker.running = None;
            self.may_gather = true;
        }
    }
}

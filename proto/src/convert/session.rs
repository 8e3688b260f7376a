//! Conversions of what passes over a session.

use super::{Error, duration, duration_from, json, missing, task};
use crate::control::{
    Directive, Failure, FailureCause, Hello, PiecesSaved, Registration, Report, Restored, RestoredFrom,
};
use crate::fence::Fence;
use crate::ids::{Incarnation, Rank, Step, WorkerId};
use crate::wire::{self, session_request as up, session_response as down};

pub(super) fn fence(fence: Option<wire::Fence>, message: &'static str) -> Result<Fence, Error> {
    fence.map(Fence::from).ok_or(missing(message, "fence"))
}

impl From<Registration> for wire::RegisterResponse {
    fn from(registration: Registration) -> Self {
        Self {
            worker: registration.worker.0,
            incarnation: registration.incarnation.0,
            failure_detection: Some(duration(registration.failure_detection)),
        }
    }
}

impl TryFrom<wire::RegisterResponse> for Registration {
    type Error = Error;

    fn try_from(response: wire::RegisterResponse) -> Result<Self, Error> {
        Ok(Self {
            worker: WorkerId(response.worker),
            incarnation: Incarnation(response.incarnation),
            failure_detection: duration_from(
                response.failure_detection,
                "RegisterResponse",
                "failure_detection",
            )?,
        })
    }
}

impl From<FailureCause> for wire::FailureCause {
    fn from(cause: FailureCause) -> Self {
        match cause {
            FailureCause::Own => Self::Own,
            FailureCause::Peer => Self::Peer,
            FailureCause::Aborted => Self::Aborted,
            FailureCause::Panic => Self::Panic,
        }
    }
}

fn cause_from(value: i32) -> Result<FailureCause, Error> {
    match wire::FailureCause::try_from(value) {
        Ok(wire::FailureCause::Own) => Ok(FailureCause::Own),
        Ok(wire::FailureCause::Peer) => Ok(FailureCause::Peer),
        Ok(wire::FailureCause::Aborted) => Ok(FailureCause::Aborted),
        Ok(wire::FailureCause::Panic) => Ok(FailureCause::Panic),
        Ok(wire::FailureCause::Unspecified) => Err(missing("Failed", "cause")),
        Err(_) => Err(Error::UnknownValue { message: "Failed", field: "cause", value }),
    }
}

impl From<&RestoredFrom> for wire::RestoredFrom {
    fn from(from: &RestoredFrom) -> Self {
        match from {
            RestoredFrom::Start => Self::Start,
            RestoredFrom::Memory => Self::Memory,
            RestoredFrom::Checkpoint(_) => Self::Checkpoint,
        }
    }
}

/// A source of parameters, with the checkpoint's path where it is one.
pub(super) fn restored_from(
    value: i32,
    checkpoint: String,
    message: &'static str,
) -> Result<RestoredFrom, Error> {
    match wire::RestoredFrom::try_from(value) {
        Ok(wire::RestoredFrom::Start) => Ok(RestoredFrom::Start),
        Ok(wire::RestoredFrom::Memory) => Ok(RestoredFrom::Memory),
        Ok(wire::RestoredFrom::Checkpoint) => Ok(RestoredFrom::Checkpoint(checkpoint)),
        Ok(wire::RestoredFrom::Unspecified) => Err(missing(message, "from")),
        Err(_) => Err(Error::UnknownValue { message, field: "from", value }),
    }
}

impl From<Restored> for wire::Restored {
    fn from(restored: Restored) -> Self {
        let from = wire::RestoredFrom::from(&restored.from).into();
        let checkpoint = match restored.from {
            RestoredFrom::Checkpoint(path) => path,
            RestoredFrom::Start | RestoredFrom::Memory => String::new(),
        };
        Self {
            step: restored.step.0,
            from,
            checkpoint,
            connect: Some(duration(restored.connect)),
            load: Some(duration(restored.load)),
        }
    }
}

impl TryFrom<wire::Restored> for Restored {
    type Error = Error;

    fn try_from(restored: wire::Restored) -> Result<Self, Error> {
        const MESSAGE: &str = "Restored";
        Ok(Self {
            step: Step(restored.step),
            from: restored_from(restored.from, restored.checkpoint, MESSAGE)?,
            connect: duration_from(restored.connect, MESSAGE, "connect")?,
            load: duration_from(restored.load, MESSAGE, "load")?,
        })
    }
}

impl From<Report> for wire::SessionRequest {
    fn from(report: Report) -> Self {
        let report = match report {
            Report::Hello(hello) => up::Report::Hello(wire::Hello {
                worker: hello.worker.0,
                incarnation: hello.incarnation.0,
                running: hello.running.map(Into::into),
            }),
            Report::Heartbeat { incarnation, running } => up::Report::Heartbeat(wire::Heartbeat {
                incarnation: incarnation.0,
                running: running.map(Into::into),
            }),
            Report::JobReady { fence, restored } => up::Report::JobReady(wire::JobReady {
                fence: Some(fence.into()),
                restored: Some(restored.into()),
            }),
            Report::Progress { fence, progress } => up::Report::Progress(wire::ProgressReport {
                fence: Some(fence.into()),
                progress: Some(progress.into()),
            }),
            Report::PiecesSaved { fence, saved } => up::Report::PiecesSaved(wire::PiecesSaved {
                fence: Some(fence.into()),
                step: saved.step.0,
                pieces: saved.pieces,
                bytes: saved.bytes,
                manifest: saved.manifest.unwrap_or_default(),
            }),
            Report::Finished { fence, summary } => up::Report::Finished(wire::Finished {
                fence: Some(fence.into()),
                summary_json: summary.to_string(),
            }),
            Report::Failed { fence, failure } => up::Report::Failed(wire::Failed {
                fence: Some(fence.into()),
                cause: wire::FailureCause::from(failure.cause).into(),
                message: failure.message,
                peer: failure.peer.map(|rank| rank.0),
            }),
            Report::Yielded { fence, step } => {
                up::Report::Yielded(wire::Yielded { fence: Some(fence.into()), step: step.0 })
            }
            Report::CaughtUp { fence, steps_redone, recompute } => up::Report::CaughtUp(wire::CaughtUp {
                fence: Some(fence.into()),
                steps_redone,
                recompute: Some(duration(recompute)),
            }),
            Report::TaskRunning { claim, progress } => up::Report::TaskRunning(wire::TaskRunning {
                claim: Some(claim.into()),
                progress: Some(progress.into()),
            }),
            Report::TaskEnded { claim, end } => up::Report::TaskEnded(task::ended(claim, end)),
        };
        Self { report: Some(report) }
    }
}

impl TryFrom<wire::SessionRequest> for Report {
    type Error = Error;

    fn try_from(request: wire::SessionRequest) -> Result<Self, Error> {
        Ok(match request.report.ok_or(missing("SessionRequest", "report"))? {
            up::Report::Hello(hello) => Self::Hello(Hello {
                worker: WorkerId(hello.worker),
                incarnation: Incarnation(hello.incarnation),
                running: hello.running.map(Into::into),
            }),
            up::Report::Heartbeat(heartbeat) => Self::Heartbeat {
                incarnation: Incarnation(heartbeat.incarnation),
                running: heartbeat.running.map(TryInto::try_into).transpose()?,
            },
            up::Report::JobReady(ready) => Self::JobReady {
                fence: fence(ready.fence, "JobReady")?,
                restored: ready.restored.ok_or(missing("JobReady", "restored"))?.try_into()?,
            },
            up::Report::Progress(report) => Self::Progress {
                fence: fence(report.fence, "ProgressReport")?,
                progress: report.progress.ok_or(missing("ProgressReport", "progress"))?.into(),
            },
            up::Report::PiecesSaved(saved) => Self::PiecesSaved {
                fence: fence(saved.fence, "PiecesSaved")?,
                saved: PiecesSaved {
                    step: Step(saved.step),
                    pieces: saved.pieces,
                    bytes: saved.bytes,
                    manifest: Some(saved.manifest).filter(|path| !path.is_empty()),
                },
            },
            up::Report::Finished(finished) => Self::Finished {
                fence: fence(finished.fence, "Finished")?,
                summary: json("Finished", "summary_json", &finished.summary_json)?,
            },
            up::Report::Failed(failed) => Self::Failed {
                fence: fence(failed.fence, "Failed")?,
                failure: Failure {
                    cause: cause_from(failed.cause)?,
                    message: failed.message,
                    peer: failed.peer.map(Rank),
                },
            },
            up::Report::Yielded(yielded) => {
                Self::Yielded { fence: fence(yielded.fence, "Yielded")?, step: Step(yielded.step) }
            }
            up::Report::CaughtUp(caught_up) => Self::CaughtUp {
                fence: fence(caught_up.fence, "CaughtUp")?,
                steps_redone: caught_up.steps_redone,
                recompute: duration_from(caught_up.recompute, "CaughtUp", "recompute")?,
            },
            up::Report::TaskRunning(running) => Self::TaskRunning {
                claim: task::claim(running.claim, "TaskRunning")?,
                progress: running.progress.unwrap_or_default().into(),
            },
            up::Report::TaskEnded(ended) => {
                Self::TaskEnded { claim: task::claim(ended.claim, "TaskEnded")?, end: task::end(ended.end)? }
            }
        })
    }
}

impl From<Directive> for wire::SessionResponse {
    fn from(directive: Directive) -> Self {
        let directive = match directive {
            Directive::Welcome { incarnation } => {
                down::Directive::Welcome(wire::Welcome { incarnation: incarnation.0 })
            }
            Directive::Prepare(prepare) => {
                let whole = wire::prepare::Cohort::Whole(prepare.cohort.encode());
                down::Directive::Prepare(prepare.to_wire(whole))
            }
            Directive::Start { fence } => down::Directive::Start(wire::Start { fence: Some(fence.into()) }),
            Directive::Abort { fence, reason } => {
                down::Directive::Abort(wire::Abort { fence: Some(fence.into()), reason })
            }
            Directive::Checkpoint { fence } => {
                down::Directive::Checkpoint(wire::Checkpoint { fence: Some(fence.into()) })
            }
            Directive::Drain { fence } => down::Directive::Drain(wire::Drain { fence: Some(fence.into()) }),
            Directive::Yield { fence, leaving } => down::Directive::Yield(wire::Yield {
                fence: Some(fence.into()),
                leaving: leaving.into_iter().map(|rank| rank.0).collect(),
            }),
            Directive::Shutdown { reason } => down::Directive::Shutdown(wire::Shutdown { reason }),
            Directive::Acknowledged { fence } => {
                down::Directive::Acknowledged(wire::Acknowledged { fence: Some(fence.into()) })
            }
            Directive::RunTask { claim, work } => {
                down::Directive::RunTask(wire::RunTask { claim: Some(claim.into()), work: Some(work.into()) })
            }
            Directive::StopTask { claim, reason } => {
                down::Directive::StopTask(wire::StopTask { claim: Some(claim.into()), reason })
            }
            Directive::TaskAcknowledged { claim } => {
                down::Directive::TaskAcknowledged(wire::TaskAcknowledged { claim: Some(claim.into()) })
            }
        };
        Self { directive: Some(directive) }
    }
}

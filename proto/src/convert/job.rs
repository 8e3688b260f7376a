//! Conversions of what clients ask and are told.

use super::queueing::queueing_from;
use super::session::restored_from;
use super::state::{device_from, phase_from};
use super::{Error, duration, duration_from, json, missing, spent};
use crate::control::{CancelMode, EventKind, Incident, JobEvent, JobStatus, Submission, WorkerStatus};
use crate::ids::{Generation, Incarnation, JobId, Rank, Step, WorkerId, WorldSize};
use crate::measured::Forecast;
use crate::wire::{self, watch_job_response as watch};

impl From<&Submission> for wire::SubmitJobRequest {
    fn from(job: &Submission) -> Self {
        Self {
            name: job.name.clone(),
            spec_toml: job.spec_toml.clone(),
            dataset_dir: job.dataset_dir.clone(),
            run_dir: job.run_dir.clone(),
            world_size: job.world_size.0,
            micro_batches: job.micro_batches,
            tables: job.tables.iter().map(Into::into).collect(),
            reproducible: job.reproducible,
            device: job.device.map_or(0, |device| wire::DeviceKind::from(device).into()),
            numerics: job.numerics.clone(),
            min_workers: job.min_workers,
            forecast_json: forecast_json(job.forecast.as_ref()),
            queueing: Some((&job.queueing).into()),
        }
    }
}

/// A forecast as its message has it: JSON, or nothing.
fn forecast_json(forecast: Option<&Forecast>) -> String {
    forecast.map_or_else(String::new, |forecast| {
        serde_json::to_string(forecast).expect("a forecast has only string keys")
    })
}

fn forecast_from(text: &str, message: &'static str) -> Result<Option<Forecast>, Error> {
    if text.is_empty() {
        return Ok(None);
    }
    json(message, "forecast_json", text)
}

impl TryFrom<wire::SubmitJobRequest> for Submission {
    type Error = Error;

    fn try_from(request: wire::SubmitJobRequest) -> Result<Self, Error> {
        Ok(Self {
            device: device_from(request.device, "SubmitJobRequest")?,
            tables: request.tables.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            name: request.name,
            spec_toml: request.spec_toml,
            dataset_dir: request.dataset_dir,
            run_dir: request.run_dir,
            world_size: WorldSize(request.world_size),
            micro_batches: request.micro_batches,
            reproducible: request.reproducible,
            numerics: request.numerics,
            min_workers: request.min_workers.max(1),
            forecast: forecast_from(&request.forecast_json, "SubmitJobRequest")?,
            queueing: queueing_from(request.queueing)?,
        })
    }
}

impl From<CancelMode> for wire::CancelMode {
    fn from(mode: CancelMode) -> Self {
        match mode {
            CancelMode::Abort => Self::Abort,
            CancelMode::Drain => Self::Drain,
        }
    }
}

impl TryFrom<wire::CancelJobRequest> for (JobId, CancelMode) {
    type Error = Error;

    fn try_from(request: wire::CancelJobRequest) -> Result<Self, Error> {
        let mode = match wire::CancelMode::try_from(request.mode) {
            Ok(wire::CancelMode::Unspecified | wire::CancelMode::Abort) => CancelMode::Abort,
            Ok(wire::CancelMode::Drain) => CancelMode::Drain,
            Err(_) => {
                let (message, field) = ("CancelJobRequest", "mode");
                return Err(Error::UnknownValue { message, field, value: request.mode });
            }
        };
        Ok((JobId(request.job), mode))
    }
}

impl From<Incident> for wire::Incident {
    fn from(incident: Incident) -> Self {
        Self {
            generation: incident.generation.0,
            reason: incident.reason,
            planned: incident.planned,
            before: incident.before,
            after: incident.after,
            detect: Some(duration(incident.detect)),
            abort: Some(duration(incident.abort)),
            decide: Some(duration(incident.decide)),
            rendezvous: Some(duration(incident.rendezvous)),
            reload: Some(duration(incident.reload)),
            recompute: Some(duration(incident.recompute)),
            steps_redone: incident.steps_redone,
            restored_from: wire::RestoredFrom::from(&incident.restored_from).into(),
        }
    }
}

impl TryFrom<wire::Incident> for Incident {
    type Error = Error;

    fn try_from(incident: wire::Incident) -> Result<Self, Error> {
        const MESSAGE: &str = "Incident";
        Ok(Self {
            generation: Generation(incident.generation),
            reason: incident.reason,
            planned: incident.planned,
            before: incident.before,
            after: incident.after,
            detect: duration_from(incident.detect, MESSAGE, "detect")?,
            abort: duration_from(incident.abort, MESSAGE, "abort")?,
            decide: duration_from(incident.decide, MESSAGE, "decide")?,
            rendezvous: duration_from(incident.rendezvous, MESSAGE, "rendezvous")?,
            reload: duration_from(incident.reload, MESSAGE, "reload")?,
            recompute: duration_from(incident.recompute, MESSAGE, "recompute")?,
            steps_redone: incident.steps_redone,
            // Which checkpoint it was stands in the event of its loading.
            restored_from: restored_from(incident.restored_from, String::new(), MESSAGE)?,
        })
    }
}

impl From<JobEvent> for wire::WatchJobResponse {
    fn from(event: JobEvent) -> Self {
        let kind = match event.kind {
            EventKind::PhaseChanged { phase, reason } => {
                let phase = wire::JobPhase::from(phase).into();
                watch::Event::PhaseChanged(wire::PhaseChanged { phase, reason })
            }
            EventKind::Progress(progress) => watch::Event::Progress(progress.into()),
            EventKind::WorkerLost { worker, rank, reason } => {
                watch::Event::WorkerLost(wire::WorkerLost { worker: worker.0, rank: rank.0, reason })
            }
            EventKind::CheckpointSaved { step, manifest } => {
                watch::Event::CheckpointSaved(wire::CheckpointSaved { step: step.0, manifest })
            }
            EventKind::Incident { incident } => watch::Event::Incident(incident.into()),
            EventKind::Finished { summary } => {
                watch::Event::Finished(wire::JobFinished { summary_json: summary.to_string() })
            }
            EventKind::Failed { error } => watch::Event::Failed(wire::JobFailed { error }),
            EventKind::Cancelled => watch::Event::Cancelled(wire::JobCancelled {}),
            EventKind::Missed { count } => watch::Event::Missed(wire::EventsMissed { count }),
        };
        Self { sequence: event.sequence, generation: event.generation.0, event: Some(kind) }
    }
}

impl TryFrom<wire::WatchJobResponse> for JobEvent {
    type Error = Error;

    fn try_from(response: wire::WatchJobResponse) -> Result<Self, Error> {
        let kind = match response.event.ok_or(missing("WatchJobResponse", "event"))? {
            watch::Event::PhaseChanged(changed) => EventKind::PhaseChanged {
                phase: phase_from(changed.phase, "PhaseChanged")?,
                reason: changed.reason,
            },
            watch::Event::Progress(progress) => EventKind::Progress(progress.into()),
            watch::Event::WorkerLost(lost) => EventKind::WorkerLost {
                worker: WorkerId(lost.worker),
                rank: Rank(lost.rank),
                reason: lost.reason,
            },
            watch::Event::CheckpointSaved(saved) => {
                EventKind::CheckpointSaved { step: Step(saved.step), manifest: saved.manifest }
            }
            watch::Event::Incident(incident) => EventKind::Incident { incident: incident.try_into()? },
            watch::Event::Finished(finished) => {
                EventKind::Finished { summary: json("JobFinished", "summary_json", &finished.summary_json)? }
            }
            watch::Event::Failed(failed) => EventKind::Failed { error: failed.error },
            watch::Event::Cancelled(wire::JobCancelled {}) => EventKind::Cancelled,
            watch::Event::Missed(missed) => EventKind::Missed { count: missed.count },
        };
        Ok(Self { sequence: response.sequence, generation: Generation(response.generation), kind })
    }
}

impl From<JobStatus> for wire::JobStatus {
    fn from(job: JobStatus) -> Self {
        Self {
            job: job.job.0,
            name: job.name,
            phase: wire::JobPhase::from(job.phase).into(),
            generation: job.generation.0,
            world_size: job.world_size.0,
            reason: job.reason,
            progress: job.progress.map(Into::into),
            workers: job.workers.into_iter().map(u64::from).collect(),
            run_dir: job.run_dir,
            incidents: job.incidents.into_iter().map(Into::into).collect(),
            spent: spent::spent(&job.spent),
            straggler: job.straggler.map(Into::into),
            forecast_json: forecast_json(job.forecast.as_ref()),
            measured: job.measured.iter().map(Into::into).collect(),
            queueing: Some((&job.queueing).into()),
            place: job.place,
            stops: job.stops,
        }
    }
}

impl TryFrom<wire::JobStatus> for JobStatus {
    type Error = Error;

    fn try_from(job: wire::JobStatus) -> Result<Self, Error> {
        Ok(Self {
            job: JobId(job.job),
            name: job.name,
            phase: phase_from(job.phase, "JobStatus")?,
            generation: Generation(job.generation),
            world_size: WorldSize(job.world_size),
            reason: job.reason,
            progress: job.progress.map(Into::into),
            workers: job.workers.into_iter().map(WorkerId).collect(),
            run_dir: job.run_dir,
            incidents: job.incidents.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            spent: spent::spent_from(job.spent)?,
            straggler: job.straggler.map(Into::into),
            forecast: forecast_from(&job.forecast_json, "JobStatus")?,
            measured: job.measured.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            queueing: queueing_from(job.queueing)?,
            place: job.place,
            stops: job.stops,
        })
    }
}

impl From<WorkerStatus> for wire::WorkerStatus {
    fn from(worker: WorkerStatus) -> Self {
        Self {
            worker: worker.worker.0,
            incarnation: worker.incarnation.0,
            capabilities: Some(worker.capabilities.into()),
            connected: worker.connected,
            assignment: worker.assignment.map(|(fence, _)| fence.into()),
            rank: worker.assignment.map_or(0, |(_, rank)| rank.0),
            running: worker.running.map(Into::into),
            cordoned: worker.cordoned,
            task: worker.task.map(Into::into),
        }
    }
}

impl TryFrom<wire::WorkerStatus> for WorkerStatus {
    type Error = Error;

    fn try_from(worker: wire::WorkerStatus) -> Result<Self, Error> {
        let capabilities = worker.capabilities.ok_or(missing("WorkerStatus", "capabilities"))?;
        let rank = Rank(worker.rank);
        Ok(Self {
            worker: WorkerId(worker.worker),
            incarnation: Incarnation(worker.incarnation),
            capabilities: capabilities.try_into()?,
            connected: worker.connected,
            assignment: worker.assignment.map(|fence| (fence.into(), rank)),
            running: worker.running.map(TryInto::try_into).transpose()?,
            cordoned: worker.cordoned,
            task: worker.task.map(Into::into),
        })
    }
}

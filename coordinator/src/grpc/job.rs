//! The service that people and their tools talk to.

use std::sync::Arc;

use muster_core::{Answer, Event, Refusal};
use muster_proto::control::{CancelMode, EventKind, JobEvent, Submission};
use muster_proto::ids::{Generation, JobId, WorkerId};
use muster_proto::wire;
use muster_proto::wire::job_service_server::JobService;
use prost::Message as _;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::refused;
use crate::handle::{Handle, Watching};

/// Events that may wait for one watcher's connection.
const QUEUE: usize = 16;

/// How much longer a submission is as the store keeps it than on the wire, at most.
const RECORD_TO_MESSAGE: usize = 3;

/// Takes jobs and tells what becomes of them.
pub(crate) struct JobHandlers {
    pub(crate) handle: Handle,
    /// One permit a watcher.
    pub(crate) watchers: Arc<Semaphore>,
    /// The largest value that the store takes, in bytes.
    pub(crate) largest_record: usize,
}

#[tonic::async_trait]
impl JobService for JobHandlers {
    async fn submit_job(
        &self,
        request: Request<wire::SubmitJobRequest>,
    ) -> Result<Response<wire::SubmitJobResponse>, Status> {
        let request = request.into_inner();
        let bytes = request.encoded_len() * RECORD_TO_MESSAGE;
        if bytes > self.largest_record {
            let message = format!(
                "the job takes some {bytes} bytes in the store, which takes {} at most: shorten its specification",
                self.largest_record
            );
            return Err(Status::invalid_argument(message));
        }
        let submission = Box::new(Submission::try_from(request)?);
        match self.handle.ask(|request| Event::Submit { request, submission }).await? {
            Ok(Answer::Submitted(job)) => Ok(Response::new(wire::SubmitJobResponse { job: job.0 })),
            Ok(other) => Err(Status::internal(format!("a submission was answered by {other:?}"))),
            Err(refusal) => Err(refused(&refusal)),
        }
    }

    type WatchJobStream = ReceiverStream<Result<wire::WatchJobResponse, Status>>;

    async fn watch_job(
        &self,
        request: Request<wire::WatchJobRequest>,
    ) -> Result<Response<Self::WatchJobStream>, Status> {
        let permit = Arc::clone(&self.watchers).try_acquire_owned();
        let permit =
            permit.map_err(|_| Status::resource_exhausted("too many streams of job events are open"))?;
        let request = request.into_inner();
        let job = JobId(request.job);
        let watching = self.handle.watch(job, request.after_sequence).await?;
        let watching = watching.ok_or_else(|| refused(&Refusal::UnknownJob { job }))?;
        let (events, stream) = mpsc::channel(QUEUE);
        tokio::spawn(forward(watching, events, permit));
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn list_jobs(
        &self,
        _: Request<wire::ListJobsRequest>,
    ) -> Result<Response<wire::ListJobsResponse>, Status> {
        let jobs = self.handle.jobs().await?.into_iter().map(Into::into).collect();
        Ok(Response::new(wire::ListJobsResponse { jobs }))
    }

    async fn list_workers(
        &self,
        _: Request<wire::ListWorkersRequest>,
    ) -> Result<Response<wire::ListWorkersResponse>, Status> {
        let workers = self.handle.workers().await?.into_iter().map(Into::into).collect();
        Ok(Response::new(wire::ListWorkersResponse { workers }))
    }

    async fn cancel_job(
        &self,
        request: Request<wire::CancelJobRequest>,
    ) -> Result<Response<wire::CancelJobResponse>, Status> {
        let (job, mode): (JobId, CancelMode) = request.into_inner().try_into()?;
        let answer = self.handle.ask(move |request| Event::Cancel { request, job, mode }).await?;
        answer.map_err(|refusal| refused(&refusal))?;
        Ok(Response::new(wire::CancelJobResponse {}))
    }

    async fn scale_job(
        &self,
        request: Request<wire::ScaleJobRequest>,
    ) -> Result<Response<wire::ScaleJobResponse>, Status> {
        let wire::ScaleJobRequest { job, workers } = request.into_inner();
        let job = JobId(job);
        let answer = self.handle.ask(move |request| Event::Scale { request, job, workers }).await?;
        answer.map_err(|refusal| refused(&refusal))?;
        Ok(Response::new(wire::ScaleJobResponse {}))
    }

    async fn cordon_worker(
        &self,
        request: Request<wire::CordonWorkerRequest>,
    ) -> Result<Response<wire::CordonWorkerResponse>, Status> {
        let wire::CordonWorkerRequest { worker, cordoned, drain } = request.into_inner();
        let worker = WorkerId(worker);
        let cordon = move |request| Event::Cordon { request, worker, cordoned, drain };
        self.handle.ask(cordon).await?.map_err(|refusal| refused(&refusal))?;
        Ok(Response::new(wire::CordonWorkerResponse {}))
    }

    async fn checkpoint_job(
        &self,
        request: Request<wire::CheckpointJobRequest>,
    ) -> Result<Response<wire::CheckpointJobResponse>, Status> {
        let job = JobId(request.into_inner().job);
        let answer = self.handle.ask(move |request| Event::Checkpoint { request, job }).await?;
        answer.map_err(|refusal| refused(&refusal))?;
        Ok(Response::new(wire::CheckpointJobResponse {}))
    }
}

/// Passes a job's events on until the last one, or until the watcher goes.
async fn forward(
    (past, future): Watching,
    watcher: mpsc::Sender<Result<wire::WatchJobResponse, Status>>,
    _permit: OwnedSemaphorePermit,
) {
    for event in past {
        if watcher.send(Ok(event.into())).await.is_err() {
            return;
        }
    }
    let Some(mut future) = future else { return };
    loop {
        let event = tokio::select! {
            event = future.recv() => event,
            () = watcher.closed() => return,
        };
        let event = match event {
            Ok(event) => event,
            Err(RecvError::Lagged(count)) => {
                JobEvent { sequence: 0, generation: Generation(0), kind: EventKind::Missed { count } }
            }
            // After the last event, or because the core is gone.
            Err(RecvError::Closed) => return,
        };
        if watcher.send(Ok(event.into())).await.is_err() {
            return;
        }
    }
}

//! The client of the job service.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tonic::{Request, Response, Status};

use super::{Authorized, Error, LEADER_HEADER, Target, Watch};
use crate::control::{CancelMode, JobStatus, Submission, WorkerStatus};
use crate::ids::{JobId, WorkerId};
use crate::wire;
use crate::wire::job_service_client::JobServiceClient;

/// The longest pause before a call is made again.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Talks to the coordinators for people and their tools. Clones share one connection.
///
/// A call that reaches a coordinator that does not lead goes to the one that does; while none leads it is made
/// again until the target's deadline has passed.
#[derive(Debug, Clone)]
pub struct JobClient {
    target: Target,
    connection: Arc<Mutex<Connection>>,
}

type Connection = JobServiceClient<Authorized>;

/// Whether a call that broke on the way may be made again at another coordinator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Again {
    /// Twice is as good as once.
    Yes,
    /// It may have been carried out.
    No,
}

impl JobClient {
    /// Opens a connection.
    ///
    /// # Errors
    /// [`Error::BadUrl`] or [`Error::Unreachable`].
    pub async fn connect(target: Target) -> Result<Self, Error> {
        let connection = Arc::new(Mutex::new(target.job_client().await?));
        Ok(Self { target, connection })
    }

    /// Queues a job.
    ///
    /// # Errors
    /// If the coordinator cannot be reached or refuses the job.
    pub async fn submit(&self, job: &Submission) -> Result<JobId, Error> {
        let message = wire::SubmitJobRequest::from(job);
        let call = async |mut to: Connection, request| to.submit_job(request).await;
        Ok(JobId(self.call(Again::No, message, call).await?.job))
    }

    /// Lists jobs, newest last.
    ///
    /// # Errors
    /// If the coordinator cannot be reached.
    pub async fn jobs(&self) -> Result<Vec<JobStatus>, Error> {
        let call = async |mut to: Connection, request| to.list_jobs(request).await;
        let response = self.call(Again::Yes, wire::ListJobsRequest {}, call).await?;
        Ok(response.jobs.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?)
    }

    /// Lists the workers that are known.
    ///
    /// # Errors
    /// If the coordinator cannot be reached.
    pub async fn workers(&self) -> Result<Vec<WorkerStatus>, Error> {
        let call = async |mut to: Connection, request| to.list_workers(request).await;
        let response = self.call(Again::Yes, wire::ListWorkersRequest {}, call).await?;
        Ok(response.workers.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?)
    }

    /// Ends a job early.
    ///
    /// # Errors
    /// If the coordinator cannot be reached, or does not know the job.
    pub async fn cancel(&self, job: JobId, mode: CancelMode) -> Result<(), Error> {
        let mode = wire::CancelMode::from(mode).into();
        let call = async |mut to: Connection, request| to.cancel_job(request).await;
        self.call(Again::Yes, wire::CancelJobRequest { job: job.0, mode }, call).await?;
        Ok(())
    }

    /// Has a job that trains save a checkpoint soon.
    ///
    /// # Errors
    /// If the coordinator cannot be reached, does not know the job, or the job does not train.
    pub async fn checkpoint(&self, job: JobId) -> Result<(), Error> {
        let call = async |mut to: Connection, request| to.checkpoint_job(request).await;
        self.call(Again::Yes, wire::CheckpointJobRequest { job: job.0 }, call).await?;
        Ok(())
    }

    /// Changes how many workers a job uses.
    ///
    /// # Errors
    /// If the coordinator cannot be reached, does not know the job, or the number is none that it takes.
    pub async fn scale(&self, job: JobId, workers: u32) -> Result<(), Error> {
        let call = async |mut to: Connection, request| to.scale_job(request).await;
        self.call(Again::Yes, wire::ScaleJobRequest { job: job.0, workers }, call).await?;
        Ok(())
    }

    /// Has a worker get no more ranks, or get them again; with `drain` the rank that it holds goes to another one.
    ///
    /// # Errors
    /// If the coordinator cannot be reached or does not know the worker.
    pub async fn cordon(&self, worker: WorkerId, cordoned: bool, drain: bool) -> Result<(), Error> {
        let request = wire::CordonWorkerRequest { worker: worker.0, cordoned, drain };
        let call = async |mut to: Connection, request| to.cordon_worker(request).await;
        self.call(Again::Yes, request, call).await?;
        Ok(())
    }

    /// Follows a job from the event after `after_sequence` (0: from the first that is kept) to its end.
    #[must_use]
    pub fn watch(&self, job: JobId, after_sequence: u64) -> Watch {
        Watch::new(self.target.clone(), self.connection(), job, after_sequence)
    }

    async fn call<M: Clone, T>(
        &self,
        again: Again,
        message: M,
        call: impl AsyncFn(Connection, Request<M>) -> Result<Response<T>, Status>,
    ) -> Result<T, Error> {
        let deadline = Instant::now() + self.target.deadline;
        let mut pause = Duration::from_millis(20);
        loop {
            let request = self.target.request(message.clone());
            let status = match call(self.connection(), request).await {
                Ok(response) => return Ok(response.into_inner()),
                Err(status) => status,
            };
            let error = Error::from_status(&self.target.url, &status);
            let elsewhere = self.target.url.urls().len() > 1
                && again == Again::Yes
                && matches!(error, Error::Unreachable { .. });
            let nothing_done = status.metadata().contains_key(LEADER_HEADER);
            if !(nothing_done || elsewhere) || Instant::now() + pause >= deadline {
                return Err(error);
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            // While nobody can be reached the old connection is as good as none.
            if let Ok(connection) = self.target.job_client().await {
                *self.connection.lock().unwrap_or_else(PoisonError::into_inner) = connection;
            }
        }
    }

    fn connection(&self) -> Connection {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

//! The client of the job service.

use tonic::Status;

use super::{Authorized, Error, MAX_MESSAGE_BYTES, Target, Watch};
use crate::control::{CancelMode, JobStatus, Submission, WorkerStatus};
use crate::ids::{JobId, WorkerId};
use crate::wire;
use crate::wire::job_service_client::JobServiceClient;

/// Talks to a coordinator for people and their tools. Clones share one connection.
#[derive(Debug, Clone)]
pub struct JobClient {
    target: Target,
    inner: JobServiceClient<Authorized>,
}

impl JobClient {
    /// Opens a connection.
    ///
    /// # Errors
    /// [`Error::BadUrl`] or [`Error::Unreachable`].
    pub async fn connect(target: Target) -> Result<Self, Error> {
        let inner = JobServiceClient::new(target.connect().await?)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        Ok(Self { target, inner })
    }

    /// Queues a job.
    ///
    /// # Errors
    /// If the coordinator cannot be reached or refuses the job.
    pub async fn submit(&self, job: &Submission) -> Result<JobId, Error> {
        let request = self.target.request(wire::SubmitJobRequest::from(job));
        let response = self.inner.clone().submit_job(request).await.map_err(|status| self.error(&status))?;
        Ok(JobId(response.into_inner().job))
    }

    /// Lists jobs, newest last.
    ///
    /// # Errors
    /// If the coordinator cannot be reached.
    pub async fn jobs(&self) -> Result<Vec<JobStatus>, Error> {
        let request = self.target.request(wire::ListJobsRequest {});
        let response = self.inner.clone().list_jobs(request).await.map_err(|status| self.error(&status))?;
        Ok(response.into_inner().jobs.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?)
    }

    /// Lists the workers that are known.
    ///
    /// # Errors
    /// If the coordinator cannot be reached.
    pub async fn workers(&self) -> Result<Vec<WorkerStatus>, Error> {
        let request = self.target.request(wire::ListWorkersRequest {});
        let response =
            self.inner.clone().list_workers(request).await.map_err(|status| self.error(&status))?;
        Ok(response.into_inner().workers.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?)
    }

    /// Ends a job early.
    ///
    /// # Errors
    /// If the coordinator cannot be reached, or does not know the job.
    pub async fn cancel(&self, job: JobId, mode: CancelMode) -> Result<(), Error> {
        let mode = wire::CancelMode::from(mode).into();
        let request = self.target.request(wire::CancelJobRequest { job: job.0, mode });
        self.inner.clone().cancel_job(request).await.map_err(|status| self.error(&status))?;
        Ok(())
    }

    /// Has a job that trains save a checkpoint soon.
    ///
    /// # Errors
    /// If the coordinator cannot be reached, does not know the job, or the job does not train.
    pub async fn checkpoint(&self, job: JobId) -> Result<(), Error> {
        let request = self.target.request(wire::CheckpointJobRequest { job: job.0 });
        self.inner.clone().checkpoint_job(request).await.map_err(|status| self.error(&status))?;
        Ok(())
    }

    /// Changes how many workers a job uses.
    ///
    /// # Errors
    /// If the coordinator cannot be reached, does not know the job, or the number is none that it takes.
    pub async fn scale(&self, job: JobId, workers: u32) -> Result<(), Error> {
        let request = self.target.request(wire::ScaleJobRequest { job: job.0, workers });
        self.inner.clone().scale_job(request).await.map_err(|status| self.error(&status))?;
        Ok(())
    }

    /// Has a worker get no more ranks, or get them again; with `drain` the rank that it holds goes to another one.
    ///
    /// # Errors
    /// If the coordinator cannot be reached or does not know the worker.
    pub async fn cordon(&self, worker: WorkerId, cordoned: bool, drain: bool) -> Result<(), Error> {
        let request = wire::CordonWorkerRequest { worker: worker.0, cordoned, drain };
        let request = self.target.request(request);
        self.inner.clone().cordon_worker(request).await.map_err(|status| self.error(&status))?;
        Ok(())
    }

    /// Follows a job from the event after `after_sequence` (0: from the first that is kept) to its end.
    #[must_use]
    pub fn watch(&self, job: JobId, after_sequence: u64) -> Watch {
        Watch::new(self.target.clone(), self.inner.clone(), job, after_sequence)
    }

    fn error(&self, status: &Status) -> Error {
        Error::from_status(&self.target.url, status)
    }
}

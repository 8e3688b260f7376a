//! The client of the job service.

use super::calls::{Again, Calls};
use super::{Authorized, Error, MAX_MESSAGE_BYTES, Target, Watch};
use crate::control::{CancelMode, JobStatus, Submission, WorkerStatus};
use crate::ids::{JobId, WorkerId};
use crate::wire;
use crate::wire::job_service_client::JobServiceClient;

/// Talks to the coordinators for people and their tools. Clones share one connection.
///
/// A call that reaches a coordinator that does not lead goes to the one that does; while none leads it is made
/// again until the target's deadline has passed.
#[derive(Debug, Clone)]
pub struct JobClient {
    calls: Calls,
}

impl JobClient {
    /// Opens a connection.
    ///
    /// # Errors
    /// [`Error::BadUrl`] or [`Error::Unreachable`].
    pub async fn connect(target: Target) -> Result<Self, Error> {
        Ok(Self { calls: Calls::connect(target).await? })
    }

    /// Queues a job.
    ///
    /// # Errors
    /// If the coordinator cannot be reached or refuses the job.
    pub async fn submit(&self, job: &Submission) -> Result<JobId, Error> {
        let message = wire::SubmitJobRequest::from(job);
        let call = async |to, request| jobs(to).submit_job(request).await;
        Ok(JobId(self.calls.call(Again::No, message, call).await?.job))
    }

    /// Lists jobs, newest last.
    ///
    /// # Errors
    /// If the coordinator cannot be reached.
    pub async fn jobs(&self) -> Result<Vec<JobStatus>, Error> {
        let call = async |to, request| jobs(to).list_jobs(request).await;
        let response = self.calls.call(Again::Yes, wire::ListJobsRequest {}, call).await?;
        Ok(response.jobs.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?)
    }

    /// Lists the workers that are known.
    ///
    /// # Errors
    /// If the coordinator cannot be reached.
    pub async fn workers(&self) -> Result<Vec<WorkerStatus>, Error> {
        let call = async |to, request| jobs(to).list_workers(request).await;
        let response = self.calls.call(Again::Yes, wire::ListWorkersRequest {}, call).await?;
        Ok(response.workers.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?)
    }

    /// Ends a job early.
    ///
    /// # Errors
    /// If the coordinator cannot be reached, or does not know the job.
    pub async fn cancel(&self, job: JobId, mode: CancelMode) -> Result<(), Error> {
        let mode = wire::CancelMode::from(mode).into();
        let call = async |to, request| jobs(to).cancel_job(request).await;
        self.calls.call(Again::Yes, wire::CancelJobRequest { job: job.0, mode }, call).await?;
        Ok(())
    }

    /// Has a job that trains save a checkpoint soon.
    ///
    /// # Errors
    /// If the coordinator cannot be reached, does not know the job, or the job does not train.
    pub async fn checkpoint(&self, job: JobId) -> Result<(), Error> {
        let call = async |to, request| jobs(to).checkpoint_job(request).await;
        self.calls.call(Again::Yes, wire::CheckpointJobRequest { job: job.0 }, call).await?;
        Ok(())
    }

    /// Changes how many workers a job uses.
    ///
    /// # Errors
    /// If the coordinator cannot be reached, does not know the job, or the number is none that it takes.
    pub async fn scale(&self, job: JobId, workers: u32) -> Result<(), Error> {
        let call = async |to, request| jobs(to).scale_job(request).await;
        self.calls.call(Again::Yes, wire::ScaleJobRequest { job: job.0, workers }, call).await?;
        Ok(())
    }

    /// Has a worker get no more ranks, or get them again; with `drain` the rank that it holds goes to another one.
    ///
    /// # Errors
    /// If the coordinator cannot be reached or does not know the worker.
    pub async fn cordon(&self, worker: WorkerId, cordoned: bool, drain: bool) -> Result<(), Error> {
        let request = wire::CordonWorkerRequest { worker: worker.0, cordoned, drain };
        let call = async |to, request| jobs(to).cordon_worker(request).await;
        self.calls.call(Again::Yes, request, call).await?;
        Ok(())
    }

    /// Follows a job from the event after `after_sequence` (0: from the first that is kept) to its end.
    #[must_use]
    pub fn watch(&self, job: JobId, after_sequence: u64) -> Watch {
        Watch::new(self.calls.target.clone(), jobs(self.calls.connection()), job, after_sequence)
    }
}

fn jobs(connection: Authorized) -> JobServiceClient<Authorized> {
    let client = JobServiceClient::new(connection);
    client.max_decoding_message_size(MAX_MESSAGE_BYTES).max_encoding_message_size(MAX_MESSAGE_BYTES)
}

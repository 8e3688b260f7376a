//! Follows a job's events over broken connections, from one coordinator to the next.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tonic::{Status, Streaming};

use super::{Authorized, Error, Target};
use crate::control::JobEvent;
use crate::ids::JobId;
use crate::wire;
use crate::wire::job_service_client::JobServiceClient;

/// The longest pause before a stream is opened again.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The events of a job, each once and in order.
#[derive(Debug)]
pub struct Watch {
    target: Target,
    client: JobServiceClient<Authorized>,
    job: JobId,
    seen: u64,
    patience: Duration,
    stream: Option<Streaming<wire::WatchJobResponse>>,
    done: bool,
}

impl Watch {
    pub(super) fn new(target: Target, client: JobServiceClient<Authorized>, job: JobId, seen: u64) -> Self {
        let patience = target.deadline;
        Self { target, client, job, seen, patience, stream: None, done: false }
    }

    /// Has a broken stream tried again for this long, instead of the target's deadline: the job goes on without a
    /// coordinator, and whoever follows it may want to as well.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// The next event; `None` after the job's last one or after an error.
    ///
    /// A broken stream is opened again for as long as patience lasts. Cancel safe.
    pub async fn next(&mut self) -> Option<Result<JobEvent, Error>> {
        if self.done {
            return None;
        }
        let mut broken_until = None;
        let mut pause = Duration::from_millis(20);
        loop {
            let problem = match self.try_next().await {
                Ok(event) => {
                    self.seen = self.seen.max(event.sequence);
                    self.done = event.kind.is_last();
                    return Some(Ok(event));
                }
                Err(problem) => problem,
            };
            self.stream = None;
            let now = Instant::now();
            let deadline = *broken_until.get_or_insert(now + self.patience);
            if !problem.is_retryable() || now + pause > deadline {
                self.done = true;
                return Some(Err(problem));
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            // Where nobody can be reached, the next try on the old connection says so again.
            if let Ok(client) = self.target.job_client().await {
                self.client = client;
            }
        }
    }

    async fn try_next(&mut self) -> Result<JobEvent, Error> {
        let url = self.target.url.to_string();
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => {
                let request = wire::WatchJobRequest { job: self.job.0, after_sequence: self.seen };
                let opened = timeout(self.target.share(), self.client.watch_job(request)).await;
                let opened = opened.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer in time")));
                none.insert(opened.map_err(|status| Error::from_status(&url, &status))?.into_inner())
            }
        };
        match stream.message().await {
            Ok(Some(response)) => Ok(response.try_into()?),
            Err(status) => Err(Error::from_status(&url, &status)),
            Ok(None) => Err(Error::Unreachable { url, problem: "the stream of events ended early".into() }),
        }
    }
}

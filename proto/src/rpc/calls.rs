//! Calls that find the coordinator that leads, and are made again where that is as good as once.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tonic::{Request, Response, Status};

use super::{Authorized, Error, LEADER_HEADER, Target};

/// The longest pause before a call is made again.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Whether a call that broke on the way may be made again at another coordinator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    /// Twice is as good as once.
    Yes,
    /// It may have been carried out.
    No,
}

/// A connection that is opened again elsewhere when who leads changes. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Calls {
    pub(super) target: Target,
    connection: Arc<Mutex<Authorized>>,
}

impl Calls {
    pub(super) async fn connect(target: Target) -> Result<Self, Error> {
        let connection = Arc::new(Mutex::new(target.connect().await?));
        Ok(Self { target, connection })
    }

    pub(super) fn connection(&self) -> Authorized {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) async fn call<M: Clone, T>(
        &self,
        again: Again,
        message: M,
        call: impl AsyncFn(Authorized, Request<M>) -> Result<Response<T>, Status>,
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
            if let Ok(connection) = self.target.connect().await {
                *self.connection.lock().unwrap_or_else(PoisonError::into_inner) = connection;
            }
        }
    }
}

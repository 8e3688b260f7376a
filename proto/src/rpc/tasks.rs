//! The client of the task service.

use super::calls::{Again, Calls};
use super::{Authorized, Error, MAX_MESSAGE_BYTES, Target};
use crate::control::{TaskStatus, TaskWork};
use crate::ids::TaskOwner;
use crate::wire;
use crate::wire::task_service_client::TaskServiceClient;

/// Has tasks done for an owner. Clones share one connection; calls find the coordinator that leads, as those of
/// [`super::JobClient`] do.
#[derive(Debug, Clone)]
pub struct TaskClient {
    calls: Calls,
    owner: TaskOwner,
}

impl TaskClient {
    /// Tasks that are asked for in one call, at most; more are asked for in several.
    pub const AT_A_TIME: usize = 64;

    /// Opens a connection.
    ///
    /// # Errors
    /// [`Error::BadUrl`] or [`Error::Unreachable`].
    pub async fn connect(target: Target, owner: TaskOwner) -> Result<Self, Error> {
        Ok(Self { calls: Calls::connect(target).await?, owner })
    }

    /// Makes tasks by number; those that are there already stay as they are.
    ///
    /// # Errors
    /// If the coordinator cannot be reached or takes no more tasks.
    pub async fn create(&self, tasks: Vec<(u32, TaskWork)>) -> Result<(), Error> {
        for some in tasks.chunks(Self::AT_A_TIME) {
            let message = wire::CreateTasksRequest::from((self.owner, some.to_vec()));
            let call = async |to, request| client(to).create_tasks(request).await;
            self.calls.call(Again::Yes, message, call).await?;
        }
        Ok(())
    }

    /// How tasks stand, in order of their numbers; keeps the owner's tasks for another while.
    ///
    /// # Errors
    /// If the coordinator cannot be reached, or has no tasks of this owner any more.
    pub async fn tell(&self, numbers: &[u32]) -> Result<Vec<TaskStatus>, Error> {
        let message = wire::TellTasksRequest { owner: self.owner.0, numbers: numbers.to_vec() };
        let call = async |to, request| client(to).tell_tasks(request).await;
        let response = self.calls.call(Again::Yes, message, call).await?;
        Ok(response.tasks.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?)
    }

    /// Stops what is worked on, and has all of the owner's tasks forgotten.
    ///
    /// # Errors
    /// If the coordinator cannot be reached.
    pub async fn release(&self) -> Result<(), Error> {
        let call = async |to, request| client(to).release_tasks(request).await;
        self.calls.call(Again::Yes, wire::ReleaseTasksRequest { owner: self.owner.0 }, call).await?;
        Ok(())
    }
}

fn client(connection: Authorized) -> TaskServiceClient<Authorized> {
    let client = TaskServiceClient::new(connection);
    client.max_decoding_message_size(MAX_MESSAGE_BYTES).max_encoding_message_size(MAX_MESSAGE_BYTES)
}

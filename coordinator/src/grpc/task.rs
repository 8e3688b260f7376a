//! The service of those who have tasks to be done.

use muster_core::{Answer, Event};
use muster_proto::convert::NewTasks;
use muster_proto::ids::TaskOwner;
use muster_proto::wire;
use muster_proto::wire::task_service_server::TaskService;
use tonic::{Request, Response, Status};

use super::refused;
use crate::handle::Handle;

/// Takes tasks and tells what becomes of them.
pub(crate) struct TaskHandlers {
    pub(crate) handle: Handle,
}

#[tonic::async_trait]
impl TaskService for TaskHandlers {
    async fn create_tasks(
        &self,
        request: Request<wire::CreateTasksRequest>,
    ) -> Result<Response<wire::CreateTasksResponse>, Status> {
        let (owner, tasks) = NewTasks::try_from(request.into_inner())?;
        let answer = self.handle.ask(move |request| Event::CreateTasks { request, owner, tasks }).await?;
        answer.map_err(|refusal| refused(&refusal))?;
        Ok(Response::new(wire::CreateTasksResponse {}))
    }

    async fn tell_tasks(
        &self,
        request: Request<wire::TellTasksRequest>,
    ) -> Result<Response<wire::TellTasksResponse>, Status> {
        let wire::TellTasksRequest { owner, numbers } = request.into_inner();
        let owner = TaskOwner(owner);
        // An owner that asks is there.
        let held = self.handle.ask(move |request| Event::HoldTasks { request, owner }).await?;
        let _: Answer = held.map_err(|refusal| refused(&refusal))?;
        let tasks = self.handle.tasks(owner, numbers).await?;
        Ok(Response::new(wire::TellTasksResponse { tasks: tasks.into_iter().map(Into::into).collect() }))
    }

    async fn release_tasks(
        &self,
        request: Request<wire::ReleaseTasksRequest>,
    ) -> Result<Response<wire::ReleaseTasksResponse>, Status> {
        let owner = TaskOwner(request.into_inner().owner);
        let answer = self.handle.ask(move |request| Event::ReleaseTasks { request, owner }).await?;
        answer.map_err(|refusal| refused(&refusal))?;
        Ok(Response::new(wire::ReleaseTasksResponse {}))
    }
}

//! The service that workers talk to.

use std::time::Duration;

use muster_core::{Answer, Event, SessionId};
use muster_proto::control::Report;
use muster_proto::wire;
use muster_proto::wire::worker_service_server::WorkerService;
use tokio::sync::oneshot;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use tracing::debug;

use super::refused;
use crate::handle::{Handle, Inbox, Message};
use crate::sessions::{Link, Outgoing};

/// Registers workers and carries their sessions.
pub(crate) struct WorkerHandlers {
    pub(crate) handle: Handle,
    /// How long a worker may take to say who it is.
    pub(crate) hello_deadline: Duration,
}

#[tonic::async_trait]
impl WorkerService for WorkerHandlers {
    async fn register(
        &self,
        request: Request<wire::RegisterRequest>,
    ) -> Result<Response<wire::RegisterResponse>, Status> {
        let capabilities = request.into_inner().capabilities;
        let capabilities = capabilities
            .ok_or_else(|| Status::invalid_argument("RegisterRequest: field `capabilities` is missing"))?;
        let capabilities = capabilities.try_into()?;
        match self.handle.ask(|request| Event::Register { request, capabilities }).await? {
            Ok(Answer::Registered(registration)) => Ok(Response::new(registration.into())),
            Ok(other) => Err(Status::internal(format!("a registration was answered by {other:?}"))),
            Err(refusal) => Err(refused(&refusal)),
        }
    }

    type SessionStream = ReceiverStream<Outgoing>;

    async fn session(
        &self,
        request: Request<Streaming<wire::SessionRequest>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let inbox = self.handle.inbox()?;
        let mut reports = request.into_inner();
        let first = tokio::time::timeout(self.hello_deadline, reports.message()).await;
        let first = first.map_err(|_| Status::deadline_exceeded("no Hello came in time"))??;
        let first = first.ok_or_else(|| Status::invalid_argument("the session ended before a Hello"))?;
        let Report::Hello(hello) = Report::try_from(first)? else {
            return Err(Status::invalid_argument("a session begins with a Hello"));
        };
        let (link, directives, closed) = Link::new();
        let session = inbox.open(hello, link).await?;
        tokio::spawn(read(inbox, session, reports, closed));
        Ok(Response::new(ReceiverStream::new(directives)))
    }
}

/// Passes on what a worker says until it hangs up or is hung up on.
async fn read(
    inbox: Inbox,
    session: SessionId,
    mut reports: Streaming<wire::SessionRequest>,
    mut closed: oneshot::Receiver<()>,
) {
    loop {
        let report = tokio::select! {
            report = reports.message() => report,
            _ = &mut closed => break,
        };
        let report = match report {
            Ok(Some(report)) => Report::try_from(report),
            Ok(None) => break,
            Err(status) => {
                debug!(session = session.0, %status, "session broke");
                break;
            }
        };
        let report = match report {
            Ok(report) => report,
            Err(error) => {
                debug!(session = session.0, %error, "session ended: a report cannot be read");
                break;
            }
        };
        if inbox.send(Message::Report { session, report }).await.is_err() {
            return;
        }
    }
    // If the core is gone, nobody needs to know.
    let _ = inbox.send(Message::Closed { session }).await;
}

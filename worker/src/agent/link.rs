//! One session with the coordinator.

use std::time::Duration;

use muster_proto::control::{Directive, Hello, Report};
use muster_proto::convert::Directives;
use muster_proto::rpc::{self, Target};
use muster_proto::wire;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status, Streaming};

/// Reports that may wait for the connection. More than a job keeps for a coordinator that is away, so that the
/// queue is full only where nothing gets through.
const QUEUE: usize = 1024;

/// An open session.
pub(super) struct Link {
    reports: mpsc::Sender<wire::SessionRequest>,
    directives: Streaming<wire::SessionResponse>,
    reader: Directives,
}

impl Link {
    /// Opens a session.
    pub(super) async fn open(target: &Target, hello: Hello) -> Result<Self, Status> {
        let unreachable = |error: rpc::Error| Status::unavailable(error.to_string());
        let mut client = target.worker_client().await.map_err(unreachable)?;
        let (reports, queue) = mpsc::channel(QUEUE);
        // The queue is new and empty.
        let _ = reports.try_send(Report::Hello(hello).into());
        let opening = client.session(Request::new(ReceiverStream::new(queue)));
        let opened = tokio::time::timeout(target.share(), opening).await;
        let opened =
            opened.map_err(|_| Status::deadline_exceeded("the coordinator does not answer in time"))??;
        Ok(Self { reports, directives: opened.into_inner(), reader: Directives::default() })
    }

    /// Sends reports; the session is of no use any more if they do not fit.
    pub(super) fn send(&self, reports: impl IntoIterator<Item = Report>) -> Result<(), Status> {
        reports.into_iter().try_for_each(|report| {
            let sent = self.reports.try_send(report.into());
            sent.map_err(|_| Status::unavailable("reports do not get through"))
        })
    }

    /// The next directive. Cancel safe.
    pub(super) async fn next(&mut self) -> Result<Directive, Status> {
        let response = self.directives.message().await?;
        let response = response.ok_or_else(|| Status::unavailable("the coordinator hung up"))?;
        Ok(self.reader.read(response)?)
    }

    /// Ends the session once everything is through, or after `deadline`.
    pub(super) async fn finish(self, deadline: Duration) {
        let Self { reports, mut directives, .. } = self;
        drop(reports);
        let hung_up = async { while let Ok(Some(_)) = directives.message().await {} };
        // Whether it got through is the coordinator's to say, and nobody is left to hear it.
        let _ = tokio::time::timeout(deadline, hung_up).await;
    }
}

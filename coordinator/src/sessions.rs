//! The open sessions: where directives to workers go.

mod told;

use std::collections::BTreeMap;

use muster_core::{SessionEnd, SessionId};
use muster_proto::control::Directive;
use muster_proto::wire;
use tokio::sync::{mpsc, oneshot};
use tonic::{Code, Status};
use tracing::warn;

use self::told::{Cohorts, Told};

/// Directives that may wait for one worker; one that takes none is cut off.
const QUEUE: usize = 64;

/// What goes down a session.
pub(crate) type Outgoing = Result<wire::SessionResponse, Status>;

/// The coordinator's end of a session.
pub(crate) struct Link {
    outgoing: mpsc::Sender<Outgoing>,
    told: Option<Told>,
    /// Dropped with the link, which ends the task that reads the session.
    _open: oneshot::Sender<()>,
}

impl Link {
    /// A link, what goes down it, and what ends when it is dropped.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Outgoing>, oneshot::Receiver<()>) {
        let (outgoing, responses) = mpsc::channel(QUEUE);
        let (open, closed) = oneshot::channel();
        (Self { outgoing, told: None, _open: open }, responses, closed)
    }
}

/// All open sessions.
#[derive(Default)]
pub(crate) struct Sessions {
    links: BTreeMap<SessionId, Link>,
    cohorts: Cohorts,
}

impl Sessions {
    pub(crate) fn insert(&mut self, session: SessionId, link: Link) {
        self.links.insert(session, link);
    }

    pub(crate) fn remove(&mut self, session: SessionId) {
        self.links.remove(&session);
    }

    pub(crate) fn len(&self) -> usize {
        self.links.len()
    }

    /// Sends a directive; whether the worker took it. One that takes none is cut off and has to come back.
    pub(crate) fn send(&mut self, session: SessionId, directive: Directive) -> bool {
        let Some(link) = self.links.get_mut(&session) else { return true };
        let message = match directive {
            Directive::Prepare(prepare) => {
                let prepare = self.cohorts.encode(&prepare, &mut link.told);
                let directive = Some(wire::session_response::Directive::Prepare(prepare));
                wire::SessionResponse { directive }
            }
            other => other.into(),
        };
        let sent = link.outgoing.try_send(Ok(message)).is_ok();
        if !sent {
            warn!(session = session.0, "a worker takes no directives, its session is closed");
            self.links.remove(&session);
        }
        sent
    }

    /// Ends a session with a reason.
    pub(crate) fn close(&mut self, session: SessionId, end: SessionEnd) {
        let code = match end {
            SessionEnd::Unknown { .. } => Code::NotFound,
            SessionEnd::Superseded { .. } => Code::AlreadyExists,
            SessionEnd::Replaced { .. } => Code::Aborted,
        };
        if let Some(link) = self.links.remove(&session) {
            // If its queue is full the worker sees the stream end without the reason, and asks again.
            let _ = link.outgoing.try_send(Err(Status::new(code, end.to_string())));
        }
    }
}

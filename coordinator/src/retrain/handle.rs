//! How handlers talk to the task that owns the machine.

use muster_core::retrain::command::{Question, Request};
use muster_core::retrain::machine::Refusal;
use muster_core::retrain::view::Done;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use crate::handle::{Away, Handle};

/// Messages that may wait; handlers wait when it is full.
const INBOX: usize = 64;

/// One message to the task that owns the machine.
pub(crate) enum Message {
    /// Something is to be done.
    Command { request: Request, reply: oneshot::Sender<Result<Done, Refusal>> },
    /// Something is asked.
    Tell { question: Question, reply: oneshot::Sender<Result<Value, Refusal>> },
}

/// Sends messages to the task that owns the machine.
#[derive(Debug, Clone)]
pub(crate) struct Inbox(mpsc::Sender<Message>);

impl Inbox {
    pub(crate) fn new() -> (Self, mpsc::Receiver<Message>) {
        let (sender, messages) = mpsc::channel(INBOX);
        (Self(sender), messages)
    }

    async fn call<T>(&self, message: impl FnOnce(oneshot::Sender<T>) -> Message) -> Result<T, Away> {
        let (reply, answer) = oneshot::channel();
        self.0.send(message(reply)).await.map_err(|_| Away::Gone)?;
        answer.await.map_err(|_| Away::Gone)
    }
}

impl Handle {
    /// Has a command carried out; it is durable when this answers.
    pub(crate) async fn command(&self, request: Request) -> Result<Result<Done, Refusal>, Away> {
        self.inbox()?.retrain().call(|reply| Message::Command { request, reply }).await
    }

    /// Has a question answered.
    pub(crate) async fn tell(&self, question: Question) -> Result<Result<Value, Refusal>, Away> {
        self.inbox()?.retrain().call(|reply| Message::Tell { question, reply }).await
    }
}

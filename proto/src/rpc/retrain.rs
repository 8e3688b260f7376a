//! The client of the service of schedules and models.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::calls::{Again, Calls};
use super::{Authorized, Error, MAX_MESSAGE_BYTES, Target};
use crate::wire;
use crate::wire::retrain_service_client::RetrainServiceClient;

/// Whether a command that may have been carried out can be given again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// Twice is as good as once.
    Safe,
    /// Twice would do it twice, or be refused the second time.
    Unsafe,
}

/// Asks about schedules and models and has them changed. Clones share one connection; calls find the coordinator that leads, as
/// those of [`super::JobClient`] do.
#[derive(Debug, Clone)]
pub struct RetrainClient {
    calls: Calls,
}

impl RetrainClient {
    /// Opens a connection.
    ///
    /// # Errors
    /// [`Error::BadUrl`] or [`Error::Unreachable`].
    pub async fn connect(target: Target) -> Result<Self, Error> {
        Ok(Self { calls: Calls::connect(target).await? })
    }

    /// Gives a command.
    ///
    /// # Errors
    /// If the coordinator cannot be reached or refuses, or its answer is none that is known here.
    pub async fn command<T: DeserializeOwned>(
        &self,
        command: &impl Serialize,
        repeat: Repeat,
    ) -> Result<T, Error> {
        let again = match repeat {
            Repeat::Safe => Again::Yes,
            Repeat::Unsafe => Again::No,
        };
        let message = wire::CommandRequest { json: written(command) };
        let call = async |to, request| client(to).command(request).await;
        read(&self.calls.call(again, message, call).await?.json)
    }

    /// Asks a question.
    ///
    /// # Errors
    /// As [`Self::command`].
    pub async fn tell<T: DeserializeOwned>(&self, question: &impl Serialize) -> Result<T, Error> {
        let message = wire::TellRequest { json: written(question) };
        let call = async |to, request| client(to).tell(request).await;
        read(&self.calls.call(Again::Yes, message, call).await?.json)
    }
}

fn written(asked: &impl Serialize) -> String {
    serde_json::to_string(asked)
        .expect("commands and questions have string keys and no values that JSON lacks")
}

fn read<T: DeserializeOwned>(json: &str) -> Result<T, Error> {
    serde_json::from_str(json).map_err(|error| Error::Unknown { problem: error.to_string() })
}

fn client(connection: Authorized) -> RetrainServiceClient<Authorized> {
    let client = RetrainServiceClient::new(connection);
    client.max_decoding_message_size(MAX_MESSAGE_BYTES).max_encoding_message_size(MAX_MESSAGE_BYTES)
}

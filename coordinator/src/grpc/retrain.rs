//! The service of schedules and models: what is asked and answered is JSON.

use muster_core::retrain::command::{Question, Request as Asked};
use muster_core::retrain::machine::Refusal;
use muster_core::retrain::registry;
use muster_proto::rpc::MAX_MESSAGE_BYTES;
use muster_proto::wire;
use muster_proto::wire::retrain_service_server::RetrainService;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tonic::{Request, Response, Status};

use crate::handle::Handle;

/// What a message has beside the JSON in it, at most.
const FRAME_BYTES: usize = 1024;

/// Takes commands about schedules and models, and tells how they stand.
pub(crate) struct RetrainHandlers {
    pub(crate) handle: Handle,
}

#[tonic::async_trait]
impl RetrainService for RetrainHandlers {
    async fn command(
        &self,
        request: Request<wire::CommandRequest>,
    ) -> Result<Response<wire::CommandResponse>, Status> {
        let asked: Asked = read("command", &request.into_inner().json)?;
        let done = self.handle.command(asked).await?.map_err(|refusal| refused(&refusal))?;
        Ok(Response::new(wire::CommandResponse { json: written(&done)? }))
    }

    async fn tell(
        &self,
        request: Request<wire::TellRequest>,
    ) -> Result<Response<wire::TellResponse>, Status> {
        let question: Question = read("question", &request.into_inner().json)?;
        let told = self.handle.tell(question).await?.map_err(|refusal| refused(&refusal))?;
        Ok(Response::new(wire::TellResponse { json: written(&told)? }))
    }
}

/// The one place where refusals of schedules and models become codes.
fn refused(refusal: &Refusal) -> Status {
    use registry::Error as Registry;
    let message = refusal.to_string();
    match refusal {
        Refusal::Unknown { .. }
        | Refusal::Registry(Registry::UnknownVersion { .. } | Registry::UnknownAlias { .. }) => {
            Status::not_found(message)
        }
        Refusal::Invalid { .. }
        | Refusal::Registry(
            Registry::Name { .. }
            | Registry::Reserved { .. }
            | Registry::NotFinite { .. }
            | Registry::TooLong { .. },
        ) => Status::invalid_argument(message),
        Refusal::State { .. }
        | Refusal::Registry(
            Registry::Moved { .. } | Registry::NothingBefore { .. } | Registry::Needed { .. },
        ) => Status::failed_precondition(message),
        Refusal::Registry(Registry::Full { .. }) => Status::resource_exhausted(message),
    }
}

fn read<T: DeserializeOwned>(what: &str, json: &str) -> Result<T, Status> {
    serde_json::from_str(json).map_err(|error| {
        Status::invalid_argument(format!(
            "the {what} cannot be read: {error}; do the versions of both programs agree?"
        ))
    })
}

fn written(answer: &impl Serialize) -> Result<String, Status> {
    let json = serde_json::to_string(answer)
        .map_err(|error| Status::internal(format!("the answer cannot be written as JSON: {error}")))?;
    if json.len() + FRAME_BYTES > MAX_MESSAGE_BYTES {
        let message = format!(
            "the answer has {} bytes, more than a message may have: ask for one schedule, run or model",
            json.len()
        );
        return Err(Status::out_of_range(message));
    }
    Ok(json)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_refused_with_the_place() {
        let unknown = "{\"by\":\"ann\",\"command\":{\"pause\":{\"schedule\":\"nightly\",\"til\":1}}}";
        for (json, place) in [("{\"by\":\"ann\",\n\"command\":{]", "line 2"), (unknown, "`til`")] {
            let status = read::<Asked>("command", json).unwrap_err();
            assert_eq!(status.code(), tonic::Code::InvalidArgument);
            assert!(status.message().contains(place), "{}", status.message());
        }
        assert!(read::<Question>("question", "{\"schedules\":{}}").is_ok());
    }

    #[test]
    fn an_answer_that_no_message_holds_is_an_error_and_not_a_broken_stream() {
        assert_eq!(written(&"x".repeat(100)).unwrap().len(), 102);
        let status = written(&"x".repeat(MAX_MESSAGE_BYTES)).unwrap_err();
        assert!(status.message().contains("ask for one schedule"), "{}", status.message());
    }
}

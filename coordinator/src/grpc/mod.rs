//! Thin handlers: decode, ask the core, encode.

mod job;
mod retrain;
mod task;
mod worker;

use muster_core::Refusal;
use muster_proto::rpc::LEADER_HEADER;
use tonic::Status;
use tonic::metadata::MetadataValue;

pub(crate) use self::job::JobHandlers;
pub(crate) use self::retrain::RetrainHandlers;
pub(crate) use self::task::TaskHandlers;
pub(crate) use self::worker::WorkerHandlers;
use crate::handle::Away;

/// The one place where refusals become codes.
fn refused(refusal: &Refusal) -> Status {
    let message = refusal.to_string();
    match refusal {
        Refusal::TooManyWorkers { .. } | Refusal::TooManyJobs { .. } | Refusal::TooManyTasks { .. } => {
            Status::resource_exhausted(message)
        }
        Refusal::Invalid { .. } => Status::invalid_argument(message),
        Refusal::UnknownJob { .. } | Refusal::UnknownWorker { .. } | Refusal::UnknownTasks { .. } => {
            Status::not_found(message)
        }
        Refusal::NotTraining { .. } | Refusal::Ended { .. } => Status::failed_precondition(message),
    }
}

impl From<Away> for Status {
    /// A coordinator that does not lead says who does, in words and in a header.
    fn from(away: Away) -> Self {
        let mut status = Self::unavailable(away.to_string());
        let leader = match &away {
            Away::Gone => return status,
            Away::Follows { url } => url.as_str(),
            Away::NoLeader => "",
        };
        let leader = MetadataValue::try_from(leader).unwrap_or_else(|_| MetadataValue::from_static(""));
        status.metadata_mut().insert(LEADER_HEADER, leader);
        status
    }
}

//! Thin handlers: decode, ask the core, encode.

mod job;
mod worker;

use muster_core::Refusal;
use tonic::Status;

pub(crate) use self::job::JobHandlers;
pub(crate) use self::worker::WorkerHandlers;
use crate::handle::Gone;

/// The one place where refusals become codes.
fn refused(refusal: &Refusal) -> Status {
    let message = refusal.to_string();
    match refusal {
        Refusal::TooManyWorkers { .. } | Refusal::TooManyJobs { .. } => Status::resource_exhausted(message),
        Refusal::Invalid { .. } => Status::invalid_argument(message),
        Refusal::UnknownJob { .. } | Refusal::UnknownWorker { .. } => Status::not_found(message),
        Refusal::NotTraining { .. } | Refusal::Ended { .. } => Status::failed_precondition(message),
    }
}

impl From<Gone> for Status {
    fn from(gone: Gone) -> Self {
        Self::unavailable(gone.to_string())
    }
}

//! Registers with the coordinator, keeps a session with it, and runs what it assigns.
//!
//! The job runs on a thread of its own and does not notice when the coordinator goes away: steps go on, and what
//! happened is told when a session is open again. Only a coordinator that does not know this worker any more, or
//! one that stays away after the job has ended, makes an agent give up what it has.

mod backoff;
mod config;
mod control;
mod life;
mod link;
mod runner;
mod task;
mod timing;
mod watch;
mod work;

use std::sync::Arc;

use muster_proto::rpc::Target;
use tracing::{Instrument as _, info_span};

pub use self::config::{AgentConfig, Error};
pub use self::control::{Aborted, Control};
use self::life::Life;
pub use self::runner::{Assignment, Ending, JobRunner, Outcome, RunError};
pub use self::task::{TaskControl, TaskOrder};

/// Works for the coordinator until `shutdown` resolves or the coordinator sends the worker home.
///
/// # Errors
/// If no coordinator takes this worker, or it may not work any more.
pub async fn run(
    config: AgentConfig,
    runner: Arc<dyn JobRunner>,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), Error> {
    tokio::pin!(shutdown);
    let config = Arc::new(config);
    let (url, token) = (config.coordinator.clone(), config.token.clone());
    let target = Target { url, token, deadline: config.register_deadline };
    let life = tokio::select! {
        life = Life::begin(config, runner, target) => life?,
        () = &mut shutdown => return Ok(()),
    };
    let span = info_span!("worker", worker = %life.worker());
    let live = async {
        let mut life = life;
        let outcome = tokio::select! {
            outcome = life.live() => Some(outcome),
            () = &mut shutdown => None,
        };
        match outcome {
            Some(outcome) => outcome,
            None => life.end("the worker was told to end").await,
        }
    };
    live.instrument(span).await
}

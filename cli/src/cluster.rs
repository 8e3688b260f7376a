//! Reaching a cluster: the coordinator's URL, the token, the client.

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use muster_core::retrain::command::{Command, Request};
use muster_proto::auth::Token;
use muster_proto::rpc::{JobClient, RetrainClient, Target};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::args::ClusterArgs;
use crate::error::Error;

/// How long a call to the coordinator may take before the command gives up.
pub const CALL_DEADLINE: Duration = Duration::from_secs(10);

/// Runs a command's asynchronous part to its end on a runtime of its own.
///
/// # Errors
/// Where the runtime cannot start, or as the future says.
pub fn block_on<T>(future: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    runtime()?.block_on(future)
}

/// The runtime of a command's asynchronous parts.
///
/// # Errors
/// Where it cannot start.
pub fn runtime() -> Result<Runtime, Error> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Error::failed(format!("cannot start the async runtime: {error}")))
}

/// Reads the token where a file is named.
///
/// # Errors
/// Where the file cannot be read or holds no token.
pub fn token(file: Option<&Path>) -> Result<Option<Token>, Error> {
    let Some(file) = file else { return Ok(None) };
    let token = Token::from_file(file)
        .map_err(|error| Error::from(error).with_file(file).with_field("--token-file"))?;
    Ok(Some(token))
}

/// Connects to the coordinator that the flags name.
///
/// # Errors
/// Where the URL is none, nobody answers, or the token is refused.
pub async fn connect(args: &ClusterArgs) -> Result<JobClient, Error> {
    connect_to(&args.coordinator, token(args.token_file.as_deref())?).await
}

/// Connects to the coordinator that the flags name, for schedules and models.
///
/// # Errors
/// As [`connect`].
pub async fn connect_retrain(args: &ClusterArgs) -> Result<RetrainClient, Error> {
    let token = token(args.token_file.as_deref())?;
    let target = Target { url: args.coordinator.as_str().into(), token, deadline: CALL_DEADLINE };
    RetrainClient::connect(target).await.map_err(Error::from)
}

/// A command about schedules or models, under the name of whoever runs this program.
#[must_use]
pub fn request(command: Command) -> Request {
    let named = ["USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok());
    let by = named.filter(|name| !name.is_empty());
    let by = by.unwrap_or_else(|| format!("user {}", rustix::process::getuid().as_raw()));
    Request { by, command }
}

/// Connects to a coordinator.
///
/// # Errors
/// As [`connect`].
pub async fn connect_to(url: &str, token: Option<Token>) -> Result<JobClient, Error> {
    let target = Target { url: url.into(), token, deadline: CALL_DEADLINE };
    JobClient::connect(target).await.map_err(Error::from)
}

/// The requests to stop that this process is sent: ctrl-c and SIGTERM.
///
/// A command listens before it starts anything, so that a request finds it listening at every later moment; one that
/// arrives while nobody waits is kept for the next wait.
#[derive(Debug)]
pub struct StopRequests {
    interrupt: Signal,
    terminate: Signal,
}

impl StopRequests {
    /// Listens from now on; needs the runtime of [`block_on`].
    ///
    /// # Errors
    /// Where the system lets no handler be set.
    pub fn listen() -> Result<Self, Error> {
        let on = |kind| {
            signal(kind)
                .map_err(|error| Error::failed(format!("cannot listen for requests to stop: {error}")))
        };
        Ok(Self { interrupt: on(SignalKind::interrupt())?, terminate: on(SignalKind::terminate())? })
    }

    /// Completes when the process is asked to stop.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

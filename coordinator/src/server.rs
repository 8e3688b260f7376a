//! The whole coordinator: one port, one runtime task, one order of ending.
//!
//! It ends from the outside in: workers are sent home if the cluster ends too, then the core's task ends, which
//! closes every session and stream, then the connections close.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::{Router, middleware};
use muster_proto::auth::check_exposure;
use muster_proto::rpc::MAX_MESSAGE_BYTES;
use muster_proto::wire;
use muster_proto::wire::job_service_server::JobServiceServer;
use muster_proto::wire::retrain_service_server::RetrainServiceServer;
use muster_proto::wire::task_service_server::TaskServiceServer;
use muster_proto::wire::worker_service_server::WorkerServiceServer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot};
use tokio_stream::Stream;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::Connected;
use tonic_health::server::HealthReporter;
use tracing::info;

use crate::access;
use crate::config::Config;
use crate::grpc::{JobHandlers, RetrainHandlers, TaskHandlers, WorkerHandlers};
use crate::handle::Handle;
use crate::http;
use crate::lead::Candidate;
use crate::metrics::Counters;
use crate::replica::Replica;
use crate::runtime;
use crate::store::{self, EmbeddedStore, EtcdStore, Location, MemoryStore, Store};

/// Requests of one connection that may be under way at a time.
const MAX_STREAMS: u32 = 1024;

/// Why the coordinator ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address must not be listened on like this.
    #[error("`listen`: {0}")]
    Exposed(String),
    /// The listener is of no use.
    #[error("cannot listen")]
    Listen(#[source] io::Error),
    /// The state cannot be kept.
    #[error("the coordinator cannot keep its state")]
    Store(#[source] store::Error),
    /// The state that was found cannot be taken over.
    #[error("the coordinator cannot take over the state it finds")]
    Restore(#[source] muster_core::RestoreError),
    /// The schedules and models that were found cannot be taken over.
    #[error("the coordinator cannot take over the schedules and models it finds")]
    RestoreSchedules(#[source] muster_core::RestoreError),
    /// The store was left behind by a migration that did not end.
    #[error("the store holds a copy that was not finished: migrate again, to an empty one")]
    Unfinished,
    /// The lease ran out, where nobody can take over.
    #[error("the lease of this coordinator has run out")]
    Lapsed,
    /// The system gives no random numbers.
    #[error("the system gives no random numbers: {0}")]
    Random(String),
    /// The descriptors of the services cannot be served.
    #[error("gRPC reflection cannot be set up")]
    Reflection(#[source] tonic_reflection::server::Error),
    /// The server broke.
    #[error("the server failed")]
    Transport(#[source] tonic::transport::Error),
}

impl From<runtime::Error> for Error {
    fn from(error: runtime::Error) -> Self {
        match error {
            runtime::Error::Store(error) => Self::Store(error),
            runtime::Error::Restore(error) => Self::Restore(error),
            runtime::Error::RestoreSchedules(error) => Self::RestoreSchedules(error),
            runtime::Error::Unfinished => Self::Unfinished,
            runtime::Error::Lapsed => Self::Lapsed,
            runtime::Error::Random(error) => Self::Random(error.to_string()),
        }
    }
}

/// Runs a coordinator on `listener` until `shutdown` resolves.
///
/// # Errors
/// If it cannot start, or cannot keep its state any more.
pub async fn serve(
    config: Config,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), Error> {
    let address = listener.local_addr().map_err(Error::Listen)?;
    check_exposure(address, config.token.is_some(), config.insecure).map_err(Error::Exposed)?;
    let incoming = TcpListenerStream::new(listener);
    match &config.store {
        Location::Memory => serve_on(&config, MemoryStore::default(), address, incoming, shutdown).await,
        Location::Embedded(path) => {
            let store = EmbeddedStore::open(path).await.map_err(Error::Store)?;
            serve_on(&config, store, address, incoming, shutdown).await
        }
        Location::Etcd { endpoints, prefix } => {
            // Under a third of the lease: a leader that waits in vain for one call can still make another.
            let call_deadline = lease(&config).max(SHORTEST_LEASE) * 3 / 10;
            let store = EtcdStore::new(endpoints, prefix, call_deadline).map_err(Error::Store)?;
            serve_on(&config, store, address, incoming, shutdown).await
        }
    }
}

/// etcd grants whole seconds.
const SHORTEST_LEASE: Duration = Duration::from_secs(1);

/// How long the others wait for a leader that is silent.
fn lease(config: &Config) -> Duration {
    config.core.failure_detection * 6 / 10
}

/// Runs a coordinator with state in `store` on whatever connections come in at `address`, until `shutdown` resolves.
///
/// # Errors
/// If it cannot start, or cannot keep its state any more.
pub async fn serve_on<S, I>(
    config: &Config,
    store: S,
    address: SocketAddr,
    incoming: impl Stream<Item = io::Result<I>> + Send + 'static,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), Error>
where
    S: Store,
    I: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
{
    let counters = Arc::new(Counters::default());
    let (role, handle) = Handle::new();
    let url = format!("http://{}", config.advertise.clone().unwrap_or_else(|| address.to_string()));
    let replica = Replica {
        config: config.core.clone(),
        store: Arc::new(store),
        candidate: Candidate { url, ttl: lease(config) },
        role,
        counters: Arc::clone(&counters),
        shutdown_workers: config.shutdown_workers,
        clock: config.clock.clone(),
        hooks: Arc::clone(&config.hooks),
    };
    let first = replica.begin().await?;
    let routes = routes(config, handle, counters, S::LARGEST_VALUE).await?;
    info!(%address, "the coordinator listens");

    let (stop, stopped) = oneshot::channel::<()>();
    let server = serve_routes(config.core.failure_detection, routes, incoming, stopped);
    let server = tokio::spawn(server);
    // Afterwards sessions and streams are closed, which the server waits for.
    let outcome = replica.run(first, shutdown).await;
    drop(replica);
    drop(stop);
    // Connections that do not end by themselves are cut.
    let abort = server.abort_handle();
    match tokio::time::timeout(config.core.failure_detection, server).await {
        Ok(Ok(served)) => served?,
        Ok(Err(_)) => {}
        Err(_) => abort.abort(),
    }
    Ok(outcome?)
}

async fn routes(
    config: &Config,
    handle: Handle,
    counters: Arc<Counters>,
    largest_record: usize,
) -> Result<Routes, Error> {
    let workers = WorkerHandlers { handle: handle.clone(), hello_deadline: config.core.failure_detection };
    let watchers = Arc::new(Semaphore::new(config.max_watchers));
    let jobs = JobHandlers { handle: handle.clone(), watchers, largest_record };
    let workers = WorkerServiceServer::new(workers)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let jobs = JobServiceServer::new(jobs)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let tasks = TaskServiceServer::new(TaskHandlers { handle: handle.clone() })
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let retrain = RetrainServiceServer::new(RetrainHandlers { handle: handle.clone() })
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let (health, health_service) = tonic_health::server::health_reporter();
    tokio::spawn(tell_health(health, handle.clone()));
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(wire::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .map_err(Error::Reflection)?;
    let grpc = Routes::new(workers)
        .add_service(jobs)
        .add_service(tasks)
        .add_service(retrain)
        .add_service(health_service)
        .add_service(reflection);
    let router: Router = grpc.into_axum_router().merge(http::routes(handle, counters));
    Ok(router.layer(middleware::from_fn_with_state(config.token.clone(), access::check)).into())
}

/// A coordinator that follows is well, and serves none of its services.
async fn tell_health(health: HealthReporter, mut handle: Handle) {
    loop {
        if handle.inbox().is_ok() {
            health.set_serving::<WorkerServiceServer<WorkerHandlers>>().await;
            health.set_serving::<JobServiceServer<JobHandlers>>().await;
            health.set_serving::<TaskServiceServer<TaskHandlers>>().await;
            health.set_serving::<RetrainServiceServer<RetrainHandlers>>().await;
        } else {
            health.set_not_serving::<WorkerServiceServer<WorkerHandlers>>().await;
            health.set_not_serving::<JobServiceServer<JobHandlers>>().await;
            health.set_not_serving::<TaskServiceServer<TaskHandlers>>().await;
            health.set_not_serving::<RetrainServiceServer<RetrainHandlers>>().await;
        }
        if !handle.changed().await {
            return;
        }
    }
}

async fn serve_routes<I>(
    failure_detection: Duration,
    routes: Routes,
    incoming: impl Stream<Item = io::Result<I>> + Send + 'static,
    stopped: oneshot::Receiver<()>,
) -> Result<(), Error>
where
    I: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
{
    let stopped = async { drop(stopped.await) };
    Server::builder()
        .accept_http1(true)
        .tcp_nodelay(true)
        .http2_keepalive_interval(Some(failure_detection))
        .http2_keepalive_timeout(Some(failure_detection))
        .max_concurrent_streams(MAX_STREAMS)
        .concurrency_limit_per_connection(MAX_STREAMS as usize)
        .timeout(failure_detection * 2)
        .add_routes(routes)
        .serve_with_incoming_shutdown(incoming, stopped)
        .await
        .map_err(Error::Transport)
}

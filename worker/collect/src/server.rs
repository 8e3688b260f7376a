//! The whole process: a folder, the thread that writes into it, and one port for gRPC and HTTP.
//!
//! It ends from the outside in: nobody new comes in, requests under way are answered, what waits is written, the file is finished.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::{Router, middleware};
use muster_proto::auth::{Token, check_exposure};
use muster_proto::collect::CollectSpec;
use muster_proto::wire;
use muster_proto::wire::collect_service_server::CollectServiceServer;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::service::Routes;
use tonic::transport::Server;
use tracing::info;

use crate::access::{self, Gate};
use crate::files::Folder;
use crate::finish::Finisher;
use crate::grpc::Handlers;
use crate::http;
use crate::intake::Intake;
use crate::metrics::{Metrics, Totals};
use crate::queue::{Message, Queue};
use crate::recover;
use crate::writer::Writer;

/// The most requests under way at a time, streams included.
pub const MAX_REQUESTS: usize = 1024;
/// Requests of one connection that may be under way at a time.
const MAX_STREAMS: u32 = 256;
/// How long requests under way may take once the process is to end.
const GRACE: Duration = Duration::from_secs(10);
const KEEPALIVE: Duration = Duration::from_secs(20);

/// What is collected, and where to.
#[derive(Debug, Clone)]
pub struct Config {
    /// The fields of events and the limits.
    pub spec: CollectSpec,
    /// The folder of files; it is made where it is missing.
    pub out: PathBuf,
    /// What clients must show.
    pub token: Option<Token>,
    /// Whether other addresses than loopback may be listened on without a token.
    pub insecure: bool,
}

/// Why collecting does not start, or ends.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address must not be listened on like this.
    #[error("`listen`: {0}")]
    Exposed(String),
    /// The folder cannot be taken over.
    #[error("cannot collect into the folder")]
    Folder(#[source] recover::Error),
    /// The listener is of no use.
    #[error("cannot listen")]
    Listen(#[source] io::Error),
    /// A thread cannot be started.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
    /// The thread that writes is gone.
    #[error("the thread that writes events ended by a panic")]
    Writer,
    /// The descriptors of the service cannot be served.
    #[error("gRPC reflection cannot be set up")]
    Reflection(#[source] tonic_reflection::server::Error),
    /// The server broke.
    #[error("the server failed")]
    Transport(#[source] tonic::transport::Error),
}

/// A folder that was taken over, with its thread that writes.
#[derive(Debug)]
pub struct Collector {
    config: Config,
    queue: Queue,
    writer: JoinHandle<()>,
    metrics: Arc<Metrics>,
}

impl Collector {
    /// Takes the folder over: cuts what a killed process left half written, and learns the latest ids. Reads as many files as
    /// hold `limits.ids` events.
    ///
    /// # Errors
    /// The folder is in use, damaged, or cannot be written.
    pub fn open(config: Config) -> Result<Self, Error> {
        let spec = &config.spec;
        let folder = Folder::new(&config.out, &spec.name);
        let recovered = recover::recover(folder.clone(), &spec.event_id, spec.limits.ids as usize)
            .map_err(Error::Folder)?;
        let metrics = Arc::new(Metrics::default());
        let (queue, messages) = Queue::new(spec.limits.queue.bytes() as usize, Arc::clone(&metrics));
        let finisher = Finisher::start(folder, spec.files.compression, Arc::clone(&metrics));
        let finisher = finisher.map_err(Error::Thread)?;
        let writer = Writer::new(recovered, spec.files.clone(), finisher, Arc::clone(&metrics));
        let writer = start(writer, messages).map_err(Error::Thread)?;
        Ok(Self { config, queue, writer, metrics })
    }
}

fn start(writer: Writer, messages: Receiver<Message>) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("write".to_owned()).spawn(move || writer.run(&messages))
}

/// Collects on `listener` until `shutdown` resolves, and gives what was collected.
///
/// # Errors
/// If it cannot start, or the server breaks.
pub async fn serve(
    collector: Collector,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<Totals, Error> {
    let Collector { config, queue, writer, metrics } = collector;
    let address = listener.local_addr().map_err(Error::Listen)?;
    check_exposure(address, config.token.is_some(), config.insecure).map_err(Error::Exposed)?;
    let (end, ending) = watch::channel(false);
    let intake = Intake::new(&config.spec, queue.clone(), Arc::clone(&metrics), ending.clone());
    let routes = routes(&config, intake).await?;
    info!(%address, "events are collected");
    let server = tokio::spawn(serve_routes(routes, listener, ending));
    let abort = server.abort_handle();
    tokio::pin!(server);
    let served = tokio::select! {
        served = &mut server => Some(served),
        () = shutdown => {
            end.send_replace(true);
            tokio::time::timeout(GRACE, &mut server).await.ok()
        }
    };
    // Connections that do not end by themselves are cut.
    abort.abort();
    queue.stop();
    let joined = tokio::task::spawn_blocking(move || writer.join()).await;
    if !matches!(joined, Ok(Ok(()))) {
        return Err(Error::Writer);
    }
    if let Some(Ok(served)) = served {
        served?;
    }
    Ok(metrics.totals())
}

async fn routes(config: &Config, intake: Intake) -> Result<Routes, Error> {
    let most = config.spec.limits.max_body.bytes() as usize;
    let service =
        CollectServiceServer::new(Handlers { intake: intake.clone() }).max_decoding_message_size(most);
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<CollectServiceServer<Handlers>>().await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(wire::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .map_err(Error::Reflection)?;
    let grpc = Routes::new(service).add_service(health_service).add_service(reflection);
    let router: Router = grpc.into_axum_router().merge(http::routes(intake));
    let gate = Gate { token: config.token.clone(), requests: Arc::new(Semaphore::new(MAX_REQUESTS)) };
    Ok(router.layer(middleware::from_fn_with_state(gate, access::check)).into())
}

async fn serve_routes(
    routes: Routes,
    listener: TcpListener,
    mut ending: watch::Receiver<bool>,
) -> Result<(), Error> {
    let stopped = async move {
        // A sender that is gone means the same.
        let _ = ending.wait_for(|ending| *ending).await;
    };
    Server::builder()
        .accept_http1(true)
        .tcp_nodelay(true)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .max_concurrent_streams(MAX_STREAMS)
        .add_routes(routes)
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), stopped)
        .await
        .map_err(Error::Transport)
}

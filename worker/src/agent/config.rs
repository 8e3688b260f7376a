//! What a worker is told before it starts, and why it may stop.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use muster_proto::auth::Token;
use muster_proto::control::{Capabilities, DeviceKind, Gpu};
use muster_proto::rpc;

/// What a worker is told before it starts.
#[derive(Debug)]
pub struct AgentConfig {
    /// Where the coordinators are.
    pub coordinator: rpc::Coordinators,
    /// The cluster's token, where the coordinator asks for one.
    pub token: Option<Token>,
    /// Name of this process, unique among workers and kept over restarts where the platform keeps it.
    pub name: String,
    /// Host it runs on: workers of one host are a node, and share its memory.
    pub host: String,
    /// Where the collectives of other workers connect to.
    pub listener: TcpListener,
    /// `HOST:PORT` that other workers dial; the listener's own address by default.
    pub advertise: Option<String>,
    /// CPU threads to use.
    pub threads: u32,
    /// Memory of the host, in bytes; 0 where it cannot be told.
    pub memory_bytes: u64,
    /// What to compute on.
    pub device: DeviceKind,
    /// The GPU, where it computes on one.
    pub gpu: Option<Gpu>,
    /// Names the arithmetic of this worker; ranks of a reproducible job agree in it.
    pub numerics: String,
    /// How long to try to reach a coordinator at the start.
    pub register_deadline: Duration,
}

impl AgentConfig {
    pub(super) fn capabilities(&self) -> Result<Capabilities, Error> {
        let address = match &self.advertise {
            Some(address) => address.clone(),
            None => {
                let address = self.listener.local_addr().map_err(Error::Listener)?;
                if address.ip().is_unspecified() {
                    return Err(Error::Advertise { address });
                }
                address.to_string()
            }
        };
        Ok(Capabilities {
            name: self.name.clone(),
            host: self.host.clone(),
            cpu_threads: self.threads,
            memory_bytes: self.memory_bytes,
            device: self.device,
            data_plane_address: address,
            numerics: self.numerics.clone(),
            muster_version: env!("CARGO_PKG_VERSION").to_owned(),
            gpu: self.gpu.clone(),
        })
    }
}

/// Why a worker stops.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The listener for collectives is of no use.
    #[error("the data plane's listener failed")]
    Listener(#[source] std::io::Error),
    /// Others cannot dial the address that is listened on.
    #[error(
        "collectives listen on {address}, which other workers cannot dial: say which HOST:PORT to advertise"
    )]
    Advertise {
        /// The listener's address.
        address: SocketAddr,
    },
    /// No coordinator took this worker in time.
    #[error("no coordinator took this worker within {waited:?}")]
    Register {
        /// How long it was tried.
        waited: Duration,
        /// What came of the last try.
        #[source]
        source: rpc::Error,
    },
    /// The coordinator does not want this worker.
    #[error("the coordinator does not take this worker")]
    Refused(#[source] rpc::Error),
    /// Another process took this worker's name.
    #[error("this worker is superseded: {0}")]
    Superseded(String),
    /// The coordinator stayed away.
    #[error("the coordinator was away for {away:?}, and there is nothing left to do for it")]
    Orphaned {
        /// For how long.
        away: Duration,
    },
    /// A job did not stop when it was told to; only the end of the process stops it.
    #[error("the job or task did not stop within {patience:?} of being told to")]
    Stuck {
        /// How long it was waited for.
        patience: Duration,
    },
    /// A job does nothing any more; only the end of the process stops it.
    #[error(
        "the job or task has hung: nothing of it went on for {silent:?}; this process ends, to be started again"
    )]
    Hung {
        /// For how long.
        silent: Duration,
    },
}

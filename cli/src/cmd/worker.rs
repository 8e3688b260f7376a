//! `muster worker`: the process that trains its share.

use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use muster_collective::Transport;
use muster_kernels::cuda;
use muster_proto::control::{DeviceKind, Gpu};
use muster_worker::agent::{self, AgentConfig};
use muster_worker::runner::Runner;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::train::Device;
use crate::args::ClusterArgs;
use crate::cluster::{self, StopRequests, block_on};
use crate::context::Context;
use crate::error::Error;
use crate::local::threads_each;
use crate::output::Report;

const EXAMPLES: &str = "\
Examples:
  muster worker --coordinator http://10.0.0.1:7400 --token-file token --listen 0.0.0.0:0
  muster worker --threads 8";

/// Registers with the coordinator and carries out what it says until it is stopped.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// How to reach the coordinator
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// Address for other workers; beyond loopback it takes --token-file or --insecure
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// Name or address that other workers reach it under, with a port where that differs; this host's name where
    /// it listens on all addresses
    #[arg(long, value_name = "HOST[:PORT]")]
    pub advertise: Option<String>,
    /// Name of the machine it runs on: workers with the same one share its memory, and a table that is table-row-wise lies
    /// on workers of one; this host's name where absent
    #[arg(long, value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub host: Option<String>,
    /// Listen beyond loopback without a token
    #[arg(long)]
    pub insecure: bool,
    /// Threads to use; all cores where absent
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub threads: Option<u32>,
    /// What to compute on
    #[arg(long, value_enum, default_value_t = Device::Auto)]
    pub device: Device,
    /// Number of the GPU to use, from 0, among those that are visible (CUDA_VISIBLE_DEVICES)
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub gpu: u32,
    /// End when standard input closes, so that a worker does not outlive the process that started it
    #[arg(long)]
    pub stop_with_stdin: bool,
}

/// How long a worker looks for its coordinator at the start.
const REGISTER_DEADLINE: Duration = Duration::from_secs(30);

/// Works until ctrl-c, SIGTERM, or the coordinator's word.
///
/// # Errors
/// Where the address is refused or taken, or the coordinator cannot be reached or refuses.
pub fn run(context: &Context, args: &Args) -> Result<(), Error> {
    let token = cluster::token(args.cluster.token_file.as_deref())?;
    if !args.listen.ip().is_loopback() && token.is_none() && !args.insecure {
        let message = format!(
            "refusing to listen on {} without a token; give --token-file, or --insecure",
            args.listen
        );
        return Err(Error::bad_input(message).with_field("--listen"));
    }
    let listener = TcpListener::bind(args.listen).map_err(|error| {
        let message =
            format!("cannot listen on {}: {error}; choose another address with --listen", args.listen);
        Error::failed(message).with_field("--listen")
    })?;
    let here = args.device.here()?;
    if let Some(note) = &here.note {
        tracing::info!(device = %here.kind, note, "device chosen");
    }
    let numerics = match here.kind {
        DeviceKind::Cpu => muster_worker::NUMERICS,
        DeviceKind::Cuda => muster_worker::CUDA_NUMERICS,
    };
    let gpu = match here.kind {
        DeviceKind::Cpu => None,
        DeviceKind::Cuda => Some(describe(args.gpu)?),
    };
    let config = AgentConfig {
        coordinator: args.cluster.coordinator.as_str().into(),
        token,
        name: format!("{}-{}", host(), std::process::id()),
        host: args.host.clone().unwrap_or_else(host),
        advertise: advertised(args, &listener)?,
        listener,
        threads: args.threads.unwrap_or_else(|| threads_each(1)),
        memory_bytes: memory_bytes(),
        device: here.kind,
        gpu,
        numerics: numerics.to_owned(),
        register_deadline: REGISTER_DEADLINE,
    };
    let (stop_with_stdin, number) = (args.stop_with_stdin, args.gpu as usize);
    block_on(async {
        let mut requests = StopRequests::listen()?;
        let stop = async move {
            tokio::select! {
                () = requests.next() => {}
                () = stdin_closed(), if stop_with_stdin => {}
            }
        };
        agent::run(config, Arc::new(Runner::new(Transport::Auto, number)), stop).await?;
        context.output.report(&Stopped)
    })
}

/// The GPU of that number, as the coordinator is told of it.
fn describe(number: u32) -> Result<Gpu, Error> {
    let gpu = cuda::Gpu::describe(number as usize)
        .map_err(|error| Error::bad_input(error.to_string()).with_field("--gpu"))?;
    let (compute_major, compute_minor) = gpu.compute_capability;
    Ok(Gpu {
        name: gpu.name,
        memory_bytes: gpu.memory_bytes,
        compute_major,
        compute_minor,
        pci_bus_id: gpu.pci_bus_id,
        ordinal: number,
        visible: gpu.visible as u32,
        direct_peers: gpu.direct_peers,
    })
}

/// What other workers dial, where that is not the listener's own address.
fn advertised(args: &Args, listener: &TcpListener) -> Result<Option<String>, Error> {
    let host = match &args.advertise {
        Some(address) if address.contains(':') => return Ok(Some(address.clone())),
        Some(host) => host.clone(),
        None if args.listen.ip().is_unspecified() => host(),
        None => return Ok(None),
    };
    let address = listener.local_addr();
    let address =
        address.map_err(|error| Error::failed(format!("cannot tell the port that was taken: {error}")))?;
    Ok(Some(format!("{host}:{}", address.port())))
}

/// Completes when standard input is at its end: the process that started this one is gone or wants it gone.
async fn stdin_closed() {
    let (closed, told) = oneshot::channel::<()>();
    // A thread of its own: a blocking read of the runtime's pool would keep the process from ending.
    std::thread::spawn(move || {
        let mut bytes = [0u8; 64];
        while matches!(std::io::stdin().lock().read(&mut bytes), Ok(1..)) {}
        drop(closed);
    });
    let _ = told.await;
}

fn host() -> String {
    let read = std::fs::read_to_string("/proc/sys/kernel/hostname");
    read.map_or_else(|_| "localhost".to_owned(), |name| name.trim().to_owned())
}

/// Memory of this machine; 0 where it cannot be told.
fn memory_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = total.and_then(|total| total.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

struct Stopped;

impl Report for Stopped {
    fn text(&self) -> String {
        "worker stopped".to_owned()
    }

    fn json(&self) -> Value {
        json!({"stopped": true})
    }
}

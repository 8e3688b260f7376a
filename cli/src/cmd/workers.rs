//! `muster workers`: the workers of a cluster.

use clap::Subcommand;
use muster_proto::control::{Gpu, WorkerStatus};
use muster_proto::ids::WorkerId;
use serde_json::{Value, json};

use crate::args::ClusterArgs;
use crate::cluster::{block_on, connect};
use crate::context::Context;
use crate::error::Error;
use crate::output::{Report, Told};
use crate::table::Table;

/// Lists workers, and takes them out of service.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  muster workers list --coordinator http://10.0.0.1:7400")]
pub struct Args {
    /// What to do
    #[command(subcommand)]
    pub action: Action,
}

/// What to do with workers.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// List all workers
    #[command(after_help = "Example:\n  muster workers list --output json")]
    List(ListArgs),
    /// Give a worker no more ranks; the one that it holds stays
    #[command(after_help = "Example:\n  muster workers cordon 7")]
    Cordon(WorkerArgs),
    /// Give a worker ranks again
    #[command(after_help = "Example:\n  muster workers uncordon 7")]
    Uncordon(WorkerArgs),
    /// Give a worker no more ranks, and the one that it holds to another, between two steps
    #[command(after_help = "Example:\n  muster workers drain 7")]
    Drain(WorkerArgs),
}

/// Flags of a command on one worker.
#[derive(Debug, clap::Args)]
pub struct WorkerArgs {
    /// The worker's number
    #[arg(value_name = "WORKER")]
    pub worker: u64,
    /// How to reach the coordinator
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Flags of `workers list`.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// How to reach the coordinator
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Does what the flags ask.
///
/// # Errors
/// Where the coordinator cannot be reached or refuses.
pub fn run(context: &Context, args: &Args) -> Result<(), Error> {
    let (args, cordoned, drain, what) = match &args.action {
        Action::List(args) => {
            return block_on(async {
                let workers = connect(&args.cluster).await?.workers().await?;
                context.output.report(&Workers(&workers))
            });
        }
        Action::Cordon(args) => (args, true, false, "cordoned"),
        Action::Uncordon(args) => (args, false, false, "uncordoned"),
        Action::Drain(args) => (args, true, true, "draining"),
    };
    block_on(async {
        let client = connect(&args.cluster).await?;
        let told = client.cordon(WorkerId(args.worker), cordoned, drain).await;
        told.map_err(|error| Error::from(error).with_field("WORKER"))?;
        context.output.report(&Told { thing: "worker", number: args.worker, what })
    })
}

fn gibibytes(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / f64::from(1u32 << 30))
}

/// A GPU in a cell: what it is, where, and how many of the others that its worker sees it reaches directly.
fn gpu(gpu: &Gpu) -> String {
    let Gpu { name, compute_major, compute_minor, pci_bus_id, ordinal, visible, direct_peers, .. } = gpu;
    let memory = gibibytes(gpu.memory_bytes);
    let (reached, others) = (direct_peers.len(), visible.saturating_sub(1));
    format!(
        "{ordinal}: {name}, {memory}, sm {compute_major}.{compute_minor}, {pci_bus_id}, reaches {reached} of {others}"
    )
}

struct Workers<'a>(&'a [WorkerStatus]);

impl Report for Workers<'_> {
    fn text(&self) -> String {
        if self.0.is_empty() {
            return "no workers".to_owned();
        }
        let mut table =
            Table::new(["worker", "host", "device", "threads", "memory", "gpu", "session", "works for"]);
        for worker in self.0 {
            let has = &worker.capabilities;
            let rank = worker.assignment.map(|(fence, rank)| format!("{} rank {}", fence.job, rank.0));
            let works_for = rank.or_else(|| worker.task.map(|task| task.to_string()));
            table.row([
                worker.worker.0.to_string(),
                has.host.clone(),
                has.device.to_string(),
                has.cpu_threads.to_string(),
                gibibytes(has.memory_bytes),
                has.gpu.as_ref().map_or_else(String::new, gpu),
                match (worker.connected, worker.cordoned) {
                    (false, _) => "lost".to_owned(),
                    (true, false) => "open".to_owned(),
                    (true, true) => "open, cordoned".to_owned(),
                },
                works_for.unwrap_or_default(),
            ]);
        }
        table.render()
    }

    fn json(&self) -> Value {
        json!({"workers": self.0})
    }
}

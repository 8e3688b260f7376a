//! `muster workers`: the workers of a cluster.

use clap::Subcommand;
use muster_proto::control::WorkerStatus;
use serde_json::{Value, json};

use crate::args::ClusterArgs;
use crate::cluster::{block_on, connect};
use crate::context::Context;
use crate::error::Error;
use crate::output::Report;
use crate::table::Table;

/// Lists workers.
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
    let Action::List(args) = &args.action;
    block_on(async {
        let workers = connect(&args.cluster).await?.workers().await?;
        context.output.report(&Workers(&workers))
    })
}

struct Workers<'a>(&'a [WorkerStatus]);

impl Report for Workers<'_> {
    fn text(&self) -> String {
        if self.0.is_empty() {
            return "no workers".to_owned();
        }
        let mut table = Table::new(["worker", "host", "device", "threads", "memory", "session", "works for"]);
        for worker in self.0 {
            let has = &worker.capabilities;
            let works_for = worker.assignment.as_ref();
            table.row([
                worker.worker.0.to_string(),
                has.host.clone(),
                has.device.to_string(),
                has.cpu_threads.to_string(),
                format!("{:.1} GiB", has.memory_bytes as f64 / f64::from(1u32 << 30)),
                if worker.connected { "open" } else { "lost" }.to_owned(),
                works_for.map_or_else(String::new, |(fence, rank)| format!("{} rank {}", fence.job, rank.0)),
            ]);
        }
        table.render()
    }

    fn json(&self) -> Value {
        json!({"workers": self.0})
    }
}

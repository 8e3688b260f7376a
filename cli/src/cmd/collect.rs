//! `muster collect`: takes events over gRPC and HTTP, and keeps them in files that `prepare` reads.

use std::path::PathBuf;

use muster_collect::{Collector, Config, Totals, serve};
use muster_proto::collect::CollectSpec;
use muster_proto::config;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::cluster::{StopRequests, block_on, token};
use crate::context::Context;
use crate::error::Error;
use crate::output::Report;
use crate::table::grouped;

const EXAMPLES: &str = "\
Examples:
  muster collect collect.toml --out events
  muster collect collect.toml --out /data/events --listen 0.0.0.0:7500 --token-file token
  curl -s localhost:7500/v1/events -H 'content-type: application/x-ndjson' --data-binary @events.jsonl
  muster prepare dataset.toml --set input=events --out prepared";

/// Takes events over gRPC (muster.v1.CollectService) and HTTP (POST /v1/events) of the same port, checks each against the file,
/// and answers once those it keeps are on disk. Finished files are JSON lines that `muster prepare` reads; /healthz and
/// /metrics tell how it does.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The fields of events, and how they are kept; see docs/reference/collect.md
    #[arg(value_name = "COLLECT.toml")]
    pub spec: PathBuf,
    /// Folder of files; one process at a time collects into it
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Address to listen on; beyond loopback it takes --token-file or --insecure
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:7500")]
    pub listen: String,
    /// File with the token that clients must show, one line
    #[arg(long, value_name = "FILE", env = "MUSTER_TOKEN_FILE", hide_env_values = true)]
    pub token_file: Option<PathBuf>,
    /// Listen beyond loopback without a token
    #[arg(long)]
    pub insecure: bool,
    /// Override a key of the file
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
}

/// Collects until ctrl-c or SIGTERM.
///
/// # Errors
/// Where the file or a flag is refused, the folder cannot be taken over, the port is taken, or the server fails.
pub fn run(context: &Context, args: &Args) -> Result<(), Error> {
    let spec: CollectSpec = config::load(&args.spec, &args.sets)?;
    let token = token(args.token_file.as_deref())?;
    let listen: std::net::SocketAddr = args.listen.parse().map_err(|_| {
        let message = format!("`{}` is not an address: write IP:PORT, like 127.0.0.1:7500", args.listen);
        Error::bad_input(message).with_field("--listen")
    })?;
    muster_proto::auth::check_exposure(listen, token.is_some(), args.insecure)
        .map_err(|message| Error::bad_input(message).with_field("--listen"))?;
    block_on(async {
        // A request to stop counts from here on, also while the folder is taken over.
        let mut requests = StopRequests::listen()?;
        let config = Config { spec, out: args.out.clone(), token, insecure: args.insecure };
        let collector = tokio::task::spawn_blocking(move || Collector::open(config))
            .await
            .map_err(|error| Error::failed(format!("cannot take the folder over: {error}")))??;
        let listener = TcpListener::bind(listen).await.map_err(|error| {
            let message = format!("cannot listen on {listen}: {error}; choose another address with --listen");
            Error::failed(message).with_field("--listen")
        })?;
        let address = listener
            .local_addr()
            .map_err(|error| Error::failed(format!("cannot tell the port that was taken: {error}")))?;
        context.output.say(&format!("collecting at http://{address} into {}", args.out.display()))?;
        let totals = serve(collector, listener, async move { requests.next().await }).await?;
        context.output.report(&Collected { out: args.out.clone(), totals })
    })
}

struct Collected {
    out: PathBuf,
    totals: Totals,
}

impl Report for Collected {
    fn text(&self) -> String {
        let Totals { accepted, duplicates, rejected, files } = self.totals;
        let [accepted, duplicates, rejected, files] = [accepted, duplicates, rejected, files].map(grouped);
        format!(
            "{accepted} events taken, {duplicates} duplicates, {rejected} rejected; {files} files finished in {}",
            self.out.display()
        )
    }

    fn json(&self) -> Value {
        let mut json = json!(self.totals);
        json["out"] = self.out.display().to_string().into();
        json
    }
}

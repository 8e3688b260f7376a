//! `muster coordinator`: the process that decides which worker holds which piece.

use std::path::{Path, PathBuf};

use muster_coordinator::{Problems, Settings};
use muster_proto::config;
use muster_proto::hooks::HooksSpec;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::cluster::{StopRequests, block_on};
use crate::context::Context;
use crate::error::{Error, Kind};
use crate::output::Report;

const EXAMPLES: &str = "\
Examples:
  muster coordinator
  muster coordinator --listen 0.0.0.0:7400 --token-file token
  muster coordinator --store state.redb --hooks hooks.toml
  muster coordinator --listen 0.0.0.0:7400 --advertise $(hostname):7400 --token-file token \
    --store etcd://10.0.0.1:2379,10.0.0.2:2379,10.0.0.3:2379/muster";

/// Serves the control plane until it is stopped: gRPC with health and reflection, and Prometheus metrics at
/// /metrics of the same port.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Address to listen on; beyond loopback it takes --token-file or --insecure
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:7400")]
    pub listen: String,
    /// Under which address workers and clients reach it; the one that it listens on where absent
    #[arg(long, value_name = "HOST:PORT")]
    pub advertise: Option<String>,
    /// Where the state is kept: `memory` keeps nothing over a restart; embedded:PATH (or PATH) is a file, made where
    /// it is missing; etcd://HOST:PORT/PREFIX is shared by coordinators that stand in for each other
    #[arg(long, value_name = "STORE", default_value = "memory")]
    pub store: String,
    /// File with the token that workers and clients must show, one line
    #[arg(long, value_name = "FILE", env = "MUSTER_TOKEN_FILE", hide_env_values = true)]
    pub token_file: Option<PathBuf>,
    /// Listen beyond loopback without a token
    #[arg(long)]
    pub insecure: bool,
    /// Rules by which jobs share the workers: patience, quotas and weights of teams; see docs/reference/pool.md
    #[arg(long, value_name = "POOL.toml")]
    pub pool: Option<PathBuf>,
    /// What schedules may have called to put models into service; see docs/reference/hooks.md
    #[arg(long, value_name = "HOOKS.toml")]
    pub hooks: Option<PathBuf>,
    /// Silence after which a worker counts as lost; other deadlines follow from it
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0)]
    pub failure_detection: f64,
}

/// Serves until ctrl-c or SIGTERM.
///
/// # Errors
/// Where a setting is refused, the port is taken, or the server fails.
pub fn run(context: &Context, args: &Args) -> Result<(), Error> {
    let settings = Settings {
        listen: Some(args.listen.clone()),
        advertise: args.advertise.clone(),
        store: Some(args.store.clone()),
        failure_detection_seconds: Some(args.failure_detection),
        token_file: args.token_file.clone(),
        insecure: Some(args.insecure),
        pool: args.pool.as_deref().map(|file| config::load(file, &[])).transpose()?,
        hooks: args.hooks.as_deref().map(load_hooks).transpose()?,
        ..Settings::default()
    };
    let config = settings.check().map_err(refused)?;
    block_on(async {
        let mut requests = StopRequests::listen()?;
        let listener = TcpListener::bind(config.listen).await.map_err(|error| {
            let message =
                format!("cannot listen on {}: {error}; choose another address with --listen", config.listen);
            Error::failed(message).with_field("--listen")
        })?;
        let address = listener
            .local_addr()
            .map_err(|error| Error::failed(format!("cannot tell the port that was taken: {error}")))?;
        context.output.say(&format!("coordinator at http://{address}"))?;
        muster_coordinator::serve(config, listener, async move { requests.next().await })
            .await
            .map_err(|error| Error::from_chain(Kind::Failed, &error))?;
        context.output.report(&Stopped { address: address.to_string() })
    })
}

/// The hooks of a file, with paths that hold whatever the working directory is.
fn load_hooks(file: &Path) -> Result<HooksSpec, Error> {
    let hooks: HooksSpec = config::load(file, &[])?;
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = std::path::absolute(folder).map_err(|error| {
        let message = format!("cannot tell where {} is: {error}", folder.display());
        Error::failed(message).with_file(file).with_field("--hooks")
    })?;
    Ok(hooks.rooted(&folder))
}

/// The settings' problems, each under the flag that it came from.
fn refused(problems: Problems) -> Error {
    let Problems(problems) = problems;
    let lines: Vec<String> = problems.iter().map(|p| format!("{}: {}", flag(p.field), p.message)).collect();
    let error = Error::bad_input(lines.join("\n"));
    match problems.first() {
        Some(first) => error.with_field(flag(first.field)),
        None => error,
    }
}

/// The flag that a setting came from.
fn flag(field: &str) -> String {
    format!("--{}", field.trim_end_matches("_seconds").replace('_', "-"))
}

struct Stopped {
    address: String,
}

impl Report for Stopped {
    fn text(&self) -> String {
        "coordinator stopped".to_owned()
    }

    fn json(&self) -> Value {
        json!({"address": self.address})
    }
}

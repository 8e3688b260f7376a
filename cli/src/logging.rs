//! Logs: structured lines on standard error, filtered by `--log-level` or `MUSTER_LOG`.

use std::io;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

/// The least severe lines that are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Level {
    /// A person must look.
    Error,
    /// Something was refused or went slower than it should.
    Warn,
    /// Milestones of a run.
    Info,
    /// Decisions and their reasons.
    Debug,
    /// Each message.
    Trace,
}

impl Level {
    /// The word of the flag, as a worker process is given it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// Starts logging for this process; a second call in one process (as tests make) changes nothing.
pub fn init(level: Level, json: bool) {
    let fallback = || EnvFilter::new(format!("warn,muster={0},{1}", level.as_str(), own_crates(level)));
    let filter = EnvFilter::try_from_env("MUSTER_LOG").unwrap_or_else(|_| fallback());
    // A line that cannot be written (a full disk under standard error) is lost: a report of that, to the same place, would panic.
    let lines =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).log_internal_errors(false);
    let started = if json {
        lines.json().try_init()
    } else {
        lines.with_target(false).with_ansi(io::IsTerminal::is_terminal(&io::stderr())).try_init()
    };
    if started.is_err() {
        tracing::debug!("logging was started before");
    }
}

fn own_crates(level: Level) -> String {
    let crates =
        ["cli", "worker", "coordinator", "core", "data", "collect", "collective", "kernels", "proto"];
    let filters: Vec<String> =
        crates.iter().map(|name| format!("muster_{name}={}", level.as_str())).collect();
    filters.join(",")
}

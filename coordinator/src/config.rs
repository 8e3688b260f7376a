//! Settings as people write them, and the checked configuration that the coordinator runs by.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use muster_core::pool::Policy;
use muster_proto::auth::{Token, check_exposure};
use muster_proto::hooks::HooksSpec;
use muster_proto::pool::PoolRules;
use serde::Deserialize;

use crate::retrain::{Clock, Hooks};
use crate::store::Location;

const DEFAULT_LISTEN: &str = "127.0.0.1:7400";

/// Settings from a file or from flags; what is not set has a default.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// `IP:PORT` to listen on; 127.0.0.1:7400 by default.
    pub listen: Option<String>,
    /// Under which `HOST:PORT` clients and workers reach this coordinator; the address that it listens on by default.
    pub advertise: Option<String>,
    /// `memory`, `embedded:PATH` or a path, or `etcd://HOST:PORT/PREFIX`; `memory` by default.
    pub store: Option<String>,
    /// How long a worker may be silent before it counts as lost; 5 by default. All other times derive from it.
    pub failure_detection_seconds: Option<f64>,
    /// File with the token that clients and workers must show.
    pub token_file: Option<PathBuf>,
    /// Listen on other than loopback addresses without a token.
    pub insecure: Option<bool>,
    /// Send workers home when this coordinator ends: for clusters that live no longer than one command.
    pub shutdown_workers: Option<bool>,
    /// Workers that may be known at a time; 4096 by default.
    pub max_workers: Option<u32>,
    /// Jobs that may wait or run at a time; 256 by default.
    pub max_jobs: Option<u32>,
    /// Streams of job events that may be open at a time; 256 by default.
    pub max_watchers: Option<u32>,
    /// The rules by which jobs share the workers.
    pub pool: Option<PoolRules>,
    /// What schedules may have called to put models into service; paths in it are absolute, or of the working directory.
    pub hooks: Option<HooksSpec>,
}

/// What the coordinator runs by.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Under which `HOST:PORT` it is reached, if not the address that it listens on.
    pub advertise: Option<String>,
    /// Where state is kept.
    pub store: Location,
    /// The knob and the bounds.
    pub core: muster_core::Config,
    /// What clients and workers must show.
    pub token: Option<Token>,
    /// Whether addresses other than loopback may be listened on without a token.
    pub insecure: bool,
    /// Whether workers are sent home when this coordinator ends.
    pub shutdown_workers: bool,
    /// Streams of job events that may be open at a time.
    pub max_watchers: usize,
    /// The time that schedules go by: the system's, unless somebody else's is put here.
    pub clock: Clock,
    /// What puts models into service.
    pub hooks: Arc<Hooks>,
}

/// A setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The setting.
    pub field: &'static str,
    /// What is wrong and what would be right.
    pub message: String,
}

/// All settings that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Problem { field, message }) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}`{field}`: {message}")?;
        }
        Ok(())
    }
}

impl Settings {
    /// Checks the settings and reads the token file.
    ///
    /// # Errors
    /// All problems at once.
    pub fn check(self) -> Result<Config, Problems> {
        let mut problems = Vec::new();
        let mut report = |field, message: String| problems.push(Problem { field, message });
        let listen = self.listen.as_deref().unwrap_or(DEFAULT_LISTEN);
        let listen = listen.parse::<SocketAddr>().map_err(|_| {
            report("listen", format!("`{listen}` is not an address: write IP:PORT, like {DEFAULT_LISTEN}"));
        });
        let store = Location::parse(self.store.as_deref().unwrap_or("memory")).unwrap_or_else(|error| {
            report("store", error.to_string());
            Location::Memory
        });
        let defaults = muster_core::Config::default();
        let seconds = self.failure_detection_seconds.unwrap_or(defaults.failure_detection.as_secs_f64());
        if !(0.05..=3600.0).contains(&seconds) {
            report("failure_detection_seconds", format!("is {seconds}, must be 0.05 to 3600"));
        }
        let mut count = |field, value: Option<u32>, default: usize| match value {
            Some(0) => {
                report(field, "must be at least 1".to_owned());
                default
            }
            Some(value) => value as usize,
            None => default,
        };
        let max_workers = count("max_workers", self.max_workers, defaults.max_workers);
        let max_jobs = count("max_jobs", self.max_jobs, defaults.max_jobs);
        let max_watchers = count("max_watchers", self.max_watchers, 256);
        let token = self.token_file.as_deref().map(Token::from_file).transpose().unwrap_or_else(|error| {
            report("token_file", with_source(&error));
            None
        });
        let insecure = self.insecure.unwrap_or(false);
        let has_token = self.token_file.is_some();
        if let Ok(address) = listen
            && let Err(message) = check_exposure(address, has_token, insecure)
        {
            report("listen", message);
        }
        if let Some(problem) = check_advertised(listen.ok(), self.advertise.as_deref(), &store) {
            report("advertise", problem);
        }
        let hooks = Hooks::open(&self.hooks.unwrap_or_default()).unwrap_or_else(|error| {
            problems.push(Problem { field: "hooks", message: with_source(&error) });
            Hooks::default()
        });
        let hooks = Arc::new(hooks);
        let (Ok(listen), true) = (listen, problems.is_empty()) else { return Err(Problems(problems)) };
        let failure_detection = Duration::from_secs_f64(seconds);
        let pool = self.pool.as_ref().map_or(defaults.pool, Policy::from);
        let core = muster_core::Config { failure_detection, max_workers, max_jobs, pool, ..defaults };
        let shutdown_workers = self.shutdown_workers.unwrap_or(false);
        let advertise = self.advertise;
        let clock = Clock::default();
        Ok(Config {
            listen,
            advertise,
            store,
            core,
            token,
            insecure,
            shutdown_workers,
            max_watchers,
            clock,
            hooks,
        })
    }
}

/// Followers send others to the leader by the name that it gives itself.
fn check_advertised(listen: Option<SocketAddr>, advertise: Option<&str>, store: &Location) -> Option<String> {
    match advertise {
        Some(address) if address.contains(['/', ',', ' ']) || !address.contains(':') => {
            Some(format!("`{address}` is not an address: write HOST:PORT"))
        }
        None if listen?.ip().is_unspecified() && matches!(store, Location::Etcd { .. }) => Some(
            "is missing: others cannot reach the address that is listened on; write HOST:PORT".to_owned(),
        ),
        _ => None,
    }
}

pub(crate) fn with_source(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {}", with_source(source)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_settings_it_listens_on_loopback_and_keeps_state_in_memory() {
        let config = Settings::default().check().unwrap();
        assert!(config.listen.ip().is_loopback());
        assert_eq!(config.store, Location::Memory);
        assert_eq!(config.core.failure_detection, Duration::from_secs(5));
    }

    #[test]
    fn all_problems_are_told_at_once_each_with_its_field() {
        let settings = Settings {
            listen: Some("nowhere".into()),
            store: Some(String::new()),
            failure_detection_seconds: Some(f64::NAN),
            token_file: Some("/does/not/exist".into()),
            max_jobs: Some(0),
            ..Settings::default()
        };
        let Problems(problems) = settings.check().unwrap_err();
        let fields: Vec<&str> = problems.iter().map(|problem| problem.field).collect();
        assert_eq!(fields, ["listen", "store", "failure_detection_seconds", "max_jobs", "token_file"]);
    }

    #[test]
    fn other_addresses_than_loopback_need_a_token_or_an_explicit_word() {
        let open = Settings { listen: Some("0.0.0.0:7400".into()), ..Settings::default() };
        let refused = open.clone().check().unwrap_err().to_string();
        assert!(refused.contains("token_file") && refused.contains("insecure"), "{refused}");
        Settings { insecure: Some(true), ..open.clone() }.check().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let token = dir.path().join("token");
        std::fs::write(&token, "0123456789abcdef").unwrap();
        Settings { token_file: Some(token), ..open }.check().unwrap();
    }
}

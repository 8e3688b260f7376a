//! Where a store is, as people write it.

use std::fmt;
use std::path::PathBuf;

const SCHEME: &str = "etcd://";
const EMBEDDED: &str = "embedded:";
const DEFAULT_PREFIX: &str = "muster";

/// Where state is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// In memory: it ends with the process.
    Memory,
    /// In an embedded database in this file.
    Embedded(PathBuf),
    /// In etcd.
    Etcd {
        /// `HOST:PORT` of its members.
        endpoints: Vec<String>,
        /// Under which all keys lie, without slashes at its ends.
        prefix: String,
    },
}

/// A place that cannot be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` {problem}: write `memory`, `embedded:PATH`, or `etcd://HOST:PORT/PREFIX`, several HOST:PORT with commas \
     between"
)]
pub struct BadLocation {
    text: String,
    problem: &'static str,
}

impl Location {
    /// Reads `memory`, `embedded:PATH`, a path, or `etcd://HOST:PORT,HOST:PORT/PREFIX`.
    ///
    /// # Errors
    /// If it is none of them.
    pub fn parse(text: &str) -> Result<Self, BadLocation> {
        let bad = |problem| BadLocation { text: text.to_owned(), problem };
        if text == "memory" {
            return Ok(Self::Memory);
        }
        if let Some(rest) = text.strip_prefix(SCHEME) {
            let (hosts, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            let endpoints: Vec<String> = hosts.split(',').map(str::to_owned).collect();
            if !endpoints.iter().all(|endpoint| is_host_and_port(endpoint)) {
                return Err(bad("names a host without a port"));
            }
            let prefix = match prefix.trim_matches('/') {
                "" => DEFAULT_PREFIX.to_owned(),
                prefix => prefix.to_owned(),
            };
            return Ok(Self::Etcd { endpoints, prefix });
        }
        match text.strip_prefix(EMBEDDED).unwrap_or(text) {
            "" => Err(bad("names no file")),
            path if path.contains("://") => Err(bad("has an unknown scheme")),
            path => Ok(Self::Embedded(path.into())),
        }
    }
}

fn is_host_and_port(endpoint: &str) -> bool {
    endpoint.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory"),
            Self::Embedded(path) => write!(f, "{EMBEDDED}{}", path.display()),
            Self::Etcd { endpoints, prefix } => write!(f, "{SCHEME}{}/{prefix}", endpoints.join(",")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_they_are_written() {
        for text in ["memory", "embedded:/var/lib/muster/store", "etcd://a:2379,b:2379/clusters/one"] {
            assert_eq!(Location::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Location::parse("state").unwrap(), Location::Embedded("state".into()));
        assert_eq!(Location::parse("etcd://a:1").unwrap().to_string(), "etcd://a:1/muster");
    }

    #[test]
    fn a_place_that_cannot_be_one_is_refused() {
        for text in ["", "embedded:", "etcd://", "etcd://host/prefix", "etcd://a:1,b/x", "redis://a:1"] {
            let refused = Location::parse(text).unwrap_err().to_string();
            assert!(refused.contains("etcd://HOST:PORT"), "{refused}");
        }
    }
}

//! Puts models into service: a program, a request or a link, as whoever runs the coordinator has set them up.
//!
//! A call may come again after it was carried out, since a coordinator that is killed cannot know; it then has the same
//! `idempotency`. A call ends within its deadline, and leaves nothing of a program that did not.

mod command;
mod link;
mod webhook;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use muster_core::retrain::machine::HookCall;
use muster_proto::auth;
use muster_proto::config::unknown_name;
use muster_proto::hooks::{HookKind, HookSpec, HooksSpec};

use self::command::Program;
use self::link::Link;
use self::webhook::Webhook;

/// Bytes of what a program or a server says that are kept for an error, the last of it.
const KEPT: usize = 4096;

/// Why a hook was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    /// There is no such hook.
    #[error("{0}; whoever runs the coordinator adds hooks to the file of its --hooks")]
    Unknown(String),
    /// The program cannot be started.
    #[error("hook {hook} cannot start {program}: {source}")]
    Start {
        /// The hook.
        hook: String,
        /// The program.
        program: String,
        /// What the system says.
        source: io::Error,
    },
    /// The program ended otherwise than well.
    #[error("hook {hook} failed with {status}{}", said(output))]
    Failed {
        /// The hook.
        hook: String,
        /// How it ended.
        status: ExitStatus,
        /// The last that it wrote.
        output: String,
    },
    /// It took too long.
    #[error("hook {hook} was not done within its deadline of {deadline:?} and was ended{}", said(output))]
    Deadline {
        /// The hook.
        hook: String,
        /// Its deadline.
        deadline: Duration,
        /// The last that it wrote.
        output: String,
    },
    /// The program's end cannot be told.
    #[error("hook {hook} cannot be waited for: {source}")]
    Wait {
        /// The hook.
        hook: String,
        /// What the system says.
        source: io::Error,
    },
    /// Nobody answers at the address.
    #[error("hook {hook} gets no answer from {url}: {problem}")]
    Unreachable {
        /// The hook.
        hook: String,
        /// The address.
        url: String,
        /// What was found.
        problem: String,
    },
    /// The server says no.
    #[error("hook {hook} is refused by {url} with status {status}{}", said(body))]
    Refused {
        /// The hook.
        hook: String,
        /// The address.
        url: String,
        /// The status code.
        status: u16,
        /// The beginning of the answer.
        body: String,
    },
    /// A link to a folder cannot name this checkpoint.
    #[error("hook {hook} cannot link to {checkpoint}: {problem}")]
    Target {
        /// The hook.
        hook: String,
        /// The checkpoint.
        checkpoint: String,
        /// Why not.
        problem: String,
    },
    /// The link cannot be set.
    #[error("hook {hook} cannot set the link {}: {source}", path.display())]
    Link {
        /// The hook.
        hook: String,
        /// The link.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Why hooks cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A webhook's token file is of no use.
    #[error("hooks.{hook}.token_file")]
    Token {
        /// The hook.
        hook: String,
        /// What is wrong with the file.
        #[source]
        source: auth::Error,
    },
    /// No client for requests can be made.
    #[error("hooks.{hook}: the system gives no means to send requests: {problem}")]
    Client {
        /// The hook.
        hook: String,
        /// What was found.
        problem: String,
    },
}

/// The end of a sentence with what a program or a server said, if it said anything.
fn said(output: &str) -> String {
    let output = output.trim();
    if output.is_empty() { String::new() } else { format!(", and said: {output}") }
}

/// All hooks that there are.
#[derive(Debug, Clone, Default)]
pub struct Hooks {
    by_name: BTreeMap<String, Hook>,
}

#[derive(Debug, Clone)]
struct Hook {
    deadline: Duration,
    way: Way,
}

#[derive(Debug, Clone)]
enum Way {
    Program(Program),
    Webhook(Webhook),
    Link(Link),
}

impl Hooks {
    /// Sets hooks up as a file says; tokens are read now.
    ///
    /// # Errors
    /// A token file that is of no use, or a system that gives no means to send requests.
    pub fn open(spec: &HooksSpec) -> Result<Self, SetupError> {
        let open = |(name, spec): (&String, &HookSpec)| {
            let way = match spec.kind {
                HookKind::Command => Way::Program(Program::new(spec)),
                HookKind::Webhook => Way::Webhook(Webhook::open(name, spec)?),
                HookKind::Link => Way::Link(Link::new(spec)),
            };
            Ok((name.clone(), Hook { deadline: spec.deadline, way }))
        };
        Ok(Self { by_name: spec.hooks.iter().map(open).collect::<Result<_, _>>()? })
    }

    /// Their names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    /// Whether there is a hook of this name.
    ///
    /// # Errors
    /// There is none, with the names that there are.
    pub fn check(&self, name: &str) -> Result<(), HookError> {
        self.hook(name).map(drop)
    }

    fn hook(&self, name: &str) -> Result<&Hook, HookError> {
        self.by_name.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.names().collect();
            HookError::Unknown(unknown_name("hook", name, &known))
        })
    }

    /// Calls a hook and waits until it is done.
    ///
    /// # Errors
    /// It is not there, or did not do what it is for.
    pub async fn call(&self, name: &str, call: &HookCall) -> Result<(), HookError> {
        let Hook { deadline, way } = self.hook(name)?;
        match way {
            Way::Program(program) => program.call(name, call, *deadline).await,
            Way::Webhook(webhook) => webhook.call(name, call, *deadline).await,
            Way::Link(link) => link.call(name, call, *deadline).await,
        }
    }
}

/// What a program reads and a server is sent.
fn json_of(call: &HookCall) -> Vec<u8> {
    serde_json::to_vec(call).expect("a call has string keys and no numbers that JSON lacks")
}

/// What fits of some bytes, as text.
fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

//! What can go wrong in a collective, and how a rank is told.

use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::handshake::Refusal;
use crate::signature::{Op, Signature};

/// Why a collective, or the connection of a group, failed.
///
/// After any error but [`Error::Argument`] the group is dead: it closed its links, and later calls return the
/// same error. Drop it and connect again with the next generation.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// This rank was told to stop.
    #[error("aborted: {reason}")]
    Aborted {
        /// What the caller of the abort gave as its reason.
        reason: String,
    },
    /// Two ranks called different collectives.
    #[error("collective {seq}: rank {rank} called {mine}, rank {peer} called {theirs}")]
    Mismatch {
        /// Sequence number on this rank.
        seq: u64,
        /// This rank.
        rank: usize,
        /// What this rank called.
        mine: Signature,
        /// The rank that disagrees.
        peer: usize,
        /// What that rank called.
        theirs: Signature,
    },
    /// Nothing arrived for as long as a wait may last.
    #[error("collective {seq}, {op}: timed out, waiting for ranks {waiting_for:?}")]
    Timeout {
        /// The operation.
        op: Op,
        /// Its sequence number.
        seq: u64,
        /// The ranks that did not deliver.
        waiting_for: Vec<usize>,
    },
    /// A peer closed its links: it died, was aborted, or failed.
    #[error("rank {rank} left the group")]
    PeerLost {
        /// The lost rank.
        rank: usize,
    },
    /// A peer's host answers nothing any more: it is down, or the network between is cut.
    #[error("rank {rank} is silent: its host is down, or cut off from this one")]
    PeerSilent {
        /// The silent rank.
        rank: usize,
    },
    /// No peer's host answers any more, of several: this rank's own host is cut off.
    #[error("rank {rank} hears none of its peers: its host is cut off")]
    CutOff {
        /// This rank.
        rank: usize,
    },
    /// A message exceeds the bound that was set at connect.
    #[error("message of {bytes} bytes from rank {from} exceeds the bound of {limit}")]
    TooLarge {
        /// The sender.
        from: usize,
        /// Size the sender announced.
        bytes: u64,
        /// The bound.
        limit: usize,
    },
    /// A peer's message has a size that this call cannot take.
    #[error("message of {bytes} bytes from rank {from} does not fit the receiver's elements")]
    Size {
        /// The sender.
        from: usize,
        /// Size of the message.
        bytes: u64,
    },
    /// A peer sent bytes that are no message of a collective.
    #[error("rank {from} sent what is no message of a collective")]
    Garbled {
        /// The sender.
        from: usize,
    },
    /// A peer does not take this rank into the group.
    #[error("rank {peer} refused this rank: {refusal}")]
    Refused {
        /// The peer that refused.
        peer: usize,
        /// Its reason.
        refusal: Refusal,
    },
    /// Not all peers joined within the timeout.
    #[error("timed out connecting, waiting for ranks {waiting_for:?}")]
    ConnectTimeout {
        /// The ranks that did not join.
        waiting_for: Vec<usize>,
    },
    /// A peer's listener does not answer.
    #[error("failed to connect to rank {peer} at {address}")]
    Connect {
        /// The peer.
        peer: usize,
        /// Its address.
        address: SocketAddr,
        /// What the operating system said.
        #[source]
        source: Arc<io::Error>,
    },
    /// Shared memory was asked for, and the ranks cannot share any.
    #[error("no shared memory between the ranks: {why}")]
    NoSharedMemory {
        /// What is in the way.
        why: String,
    },
    /// The arguments are wrong; nothing was sent.
    #[error("argument {argument}: expected {expected}, got {got}")]
    Argument {
        /// Name of the argument.
        argument: &'static str,
        /// What it must be.
        expected: String,
        /// What was passed.
        got: String,
    },
    /// The roots of all ranks together do not cover each leaf of the tree once.
    #[error("roots of {leaves} leaves: {problem}")]
    Roots {
        /// Leaves of the tree.
        leaves: usize,
        /// What is wrong, with the range in question.
        problem: String,
    },
    /// The operating system failed a call.
    #[error("failed to {action}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// What the operating system said.
        #[source]
        source: Arc<io::Error>,
    },
}

impl Error {
    /// For `map_err`: an I/O error under the name of what was tried.
    pub(crate) fn io<E: Into<io::Error>>(action: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::Io { action, source: Arc::new(source.into()) }
    }

    /// Wrong arguments of this rank's own call.
    pub(crate) fn argument(argument: &'static str, expected: &dyn Display, got: &dyn Display) -> Self {
        Self::Argument { argument, expected: expected.to_string(), got: got.to_string() }
    }
}

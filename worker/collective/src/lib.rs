//! Collectives between the workers of one job: exchanges and sums over ranks, on the caller's thread.
//!
//! * A call is agreed on before it runs: every message carries operation, element type, shape and sequence
//!   number, and ranks that disagree get [`Error::Mismatch`], all of them.
//! * Every wait has a deadline and ends with an abort, or when a peer's host goes silent; every size that a peer names is bounded before it is used.
//! * A sum has the same bits on every transport: [`Collective::all_reduce`] for a given number of ranks,
//!   [`Collective::all_reduce_tree`] for any.
//! * Zero is legal: empty vectors, ranks with nothing to send, ranks with no leaf of the tree.
//!
//! A `group` runs collectives over an `exchange`; `solo`, `tcp` and `shm` are the exchanges. There is no
//! async here and no thread: who wants overlap calls from a thread of their own.

mod abort;
mod config;
mod error;
mod exchange;
mod flight;
mod group;
mod handshake;
mod host;
mod lifeline;
mod link;
mod mesh;
mod plan;
mod receive;
mod reduce;
mod segment;
#[cfg(target_os = "linux")]
mod shm;
mod signature;
mod solo;
mod tcp;
mod tree;
mod typed;
mod wait;

use std::time::Duration;

pub use abort::AbortHandle;
pub use config::{Config, Transport, connect};
pub use error::Error;
pub use flight::Flight;
pub use handshake::Refusal;
pub use receive::{Element, Receive};
pub use segment::segment;
pub use signature::{Dtype, Op, Shape, Signature};
pub use tree::{Root, RootSums};
pub use typed::CollectiveExt;

/// The collectives of one rank of a group.
///
/// All ranks call the same operations in the same order. After any error but [`Error::Argument`] the group is
/// dead and later calls return that error again.
///
/// # Errors
/// Every call may return [`Error::Aborted`], [`Error::Mismatch`], [`Error::Timeout`], [`Error::PeerLost`],
/// [`Error::PeerSilent`], [`Error::CutOff`], [`Error::TooLarge`], [`Error::Size`] or [`Error::Garbled`], and [`Error::Argument`] for arguments that this
/// rank alone can see are wrong.
pub trait Collective: Send {
    /// This rank, below [`Self::world_size`].
    fn rank(&self) -> usize;

    /// Number of ranks.
    fn world_size(&self) -> usize;

    /// What carries the messages: [`Transport::Tcp`] or [`Transport::Shm`]; for one rank, what was asked for.
    fn transport(&self) -> Transport;

    /// Sends `send[r]` to each rank r and receives a message of each rank; sizes may differ and may be zero.
    ///
    /// # Errors
    /// See [`Collective`].
    fn all_to_all_bytes(&mut self, dtype: Dtype, send: &[&[u8]], recv: &mut dyn Receive)
    -> Result<(), Error>;

    /// Sends `mine` to all ranks and receives the message of each; sizes may differ and may be zero.
    ///
    /// # Errors
    /// See [`Collective`].
    fn all_gather_bytes(&mut self, dtype: Dtype, mine: &[u8], recv: &mut dyn Receive) -> Result<(), Error>;

    /// Overwrites `data` with that of rank `root`; as long on all ranks.
    ///
    /// # Errors
    /// See [`Collective`].
    fn broadcast_bytes(&mut self, dtype: Dtype, root: usize, data: &mut [u8]) -> Result<(), Error>;

    /// Sums `data` over ranks, in rank order: ((rank 0 + rank 1) + rank 2) + ...
    ///
    /// The bits depend on the number of ranks, not on the transport or on timing.
    ///
    /// # Errors
    /// See [`Collective`].
    fn all_reduce(&mut self, data: &mut [f32]) -> Result<(), Error>;

    /// Sums over the leaves `0..leaves` along the canonical binary tree; overwrites `out`.
    ///
    /// Each rank passes the roots of its own maximal subtrees, [`RootSums::roots`] for instance; ranks without
    /// leaves pass none. All ranks' roots together cover each leaf once. The bits depend on the leaves alone,
    /// not on how they are spread over ranks. No leaves at all sum to zero.
    ///
    /// # Errors
    /// [`Error::Roots`] where leaves are missing or repeated, on all ranks; else see [`Collective`].
    fn all_reduce_tree(&mut self, roots: &[Root<'_>], leaves: usize, out: &mut [f32]) -> Result<(), Error>;

    /// Sums `data` over ranks, in rank order; `mine` gets this rank's [`segment()`] of it.
    ///
    /// # Errors
    /// See [`Collective`].
    fn reduce_scatter(&mut self, data: &[f32], mine: &mut [f32]) -> Result<(), Error>;

    /// Returns when all ranks have called.
    ///
    /// # Errors
    /// See [`Collective`].
    fn barrier(&mut self) -> Result<(), Error>;

    /// This rank's last collectives, oldest first: at most 100.
    fn flights(&self) -> Vec<Flight>;

    /// Time that this rank has spent inside of collectives, where it may have waited for others; what is left of a step
    /// is the rank's own.
    fn inside(&self) -> Duration;

    /// A handle that ends this rank's pending and later calls from any thread.
    fn abort_handle(&self) -> AbortHandle;
}

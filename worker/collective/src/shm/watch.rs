//! Waiting for a counter in shared memory: spin briefly, then sleep, and look around now and then.
//!
//! A sleeper looks whether its rank was aborted, whether the peer it waits for still has its socket open and its
//! host answers, and whether the deadline has passed.

use std::time::Duration;

use super::region::Counter;
use crate::error::Error;
use crate::signature::Signature;
use crate::tcp::Tcp;
use crate::wait::Deadline;

/// Longest sleep before a waiter looks around.
const SLICE: Duration = Duration::from_millis(5);
/// Looks at a counter before sleeping, where each rank has a core to itself; some 20 microseconds.
const SPINS: u32 = 1000;
/// The same where ranks share cores, so that who waits soon makes room.
const SPINS_SHARED: u32 = 20;

/// What a wait needs to know of its call.
pub(crate) struct Watch<'a> {
    pub(crate) signature: &'a Signature,
    pub(crate) tcp: &'a Tcp,
    pub(crate) spins: u32,
}

/// How often a rank looks at a counter before it sleeps.
pub(crate) fn spins(world_size: usize) -> u32 {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    if world_size <= cores { SPINS } else { SPINS_SHARED }
}

impl Watch<'_> {
    /// Waits until `peer` has brought the counter to where `is_there` holds.
    pub(crate) fn wait(
        &self,
        peer: usize,
        counter: &Counter,
        is_there: impl Fn(u32) -> bool,
    ) -> Result<(), Error> {
        self.tcp.abort.check()?;
        for _ in 0..self.spins {
            if is_there(counter.get()) {
                return Ok(());
            }
            std::hint::spin_loop();
        }
        let deadline = Deadline::after(self.tcp.timeout);
        loop {
            let value = counter.get();
            if is_there(value) {
                return Ok(());
            }
            let Some(left) = deadline.remaining() else {
                let Signature { op, seq, .. } = *self.signature;
                return Err(Error::Timeout { op, seq, waiting_for: vec![peer] });
            };
            counter.sleep(value, left.min(SLICE));
            self.tcp.abort.check()?;
            // What the peer published before it left counts, so the counter has the last word.
            if counter.get() == value && self.tcp.has_left(peer) && counter.get() == value {
                return Err(Error::PeerLost { rank: peer });
            }
            if self.tcp.lifelines.look_at(peer) {
                self.tcp.lifelines.look();
                return Err(self.tcp.lifelines.loss(self.tcp.rank, peer));
            }
        }
    }
}

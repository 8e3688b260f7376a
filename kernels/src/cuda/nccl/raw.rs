//! The bare communicator: made without blocking, asked for its state, aborted.
#![allow(unsafe_code, reason = "calls of NCCL on a bare communicator; each block says what makes it sound")]

use cudarc::nccl::result::{self, NcclError, NcclStatus};
use cudarc::nccl::sys;

use super::UniqueId;

/// Says that an integer of NCCL's settings is left to NCCL.
const UNDEFINED: i32 = i32::MIN;
/// What NCCL's settings begin with.
const MAGIC: u32 = 0xcafe_beef;
/// NCCL 2.18, the first version whose settings all of our supported ones take.
const SETTINGS_VERSION: u32 = 21_800;

/// A communicator that is alive: [`Raw::abort`] takes it.
#[derive(Debug)]
pub(super) struct Raw(sys::ncclComm_t);

// SAFETY: NCCL allows a communicator to be used from any thread, one at a time; whoever shares one keeps it in a mutex.
unsafe impl Send for Raw {}

/// Settings that leave everything to NCCL, but that calls do not block.
fn settings() -> sys::ncclConfig_t {
    sys::ncclConfig_t {
        size: size_of::<sys::ncclConfig_t>(),
        magic: MAGIC,
        version: SETTINGS_VERSION,
        blocking: 0,
        cgaClusterSize: UNDEFINED,
        minCTAs: UNDEFINED,
        maxCTAs: UNDEFINED,
        netName: std::ptr::null(),
        splitShare: UNDEFINED,
        trafficClass: UNDEFINED,
        commName: std::ptr::null(),
        collnetEnable: UNDEFINED,
        CTAPolicy: UNDEFINED,
        shrinkShare: UNDEFINED,
        nvlsCTAs: UNDEFINED,
        nChannelsPerNetPeer: UNDEFINED,
        nvlinkCentricSched: UNDEFINED,
        graphUsageMode: UNDEFINED,
        numRmaCtx: UNDEFINED,
        maxP2pPeers: UNDEFINED,
    }
}

impl Raw {
    /// Begins to join the communicator of `id` on the current device; [`Raw::is_settled`] tells when all ranks have.
    pub(super) fn join(rank: usize, world_size: usize, id: UniqueId) -> Result<Self, NcclError> {
        assert!(rank < world_size, "rank {rank} of {world_size}");
        let id = sys::ncclUniqueId { internal: id.to_bytes().map(|byte| byte as std::ffi::c_char) };
        let mut settings = settings();
        let mut comm: sys::ncclComm_t = std::ptr::null_mut();
        // SAFETY: `comm` and `settings` are valid for the call, which keeps neither address.
        unsafe {
            let settings = &raw mut settings;
            result::comm_init_rank_config(&raw mut comm, world_size as i32, id, rank as i32, settings)
        }?;
        Ok(Self(comm))
    }

    /// Returns the address that NCCL's calls take; good for as long as this value is.
    pub(super) fn address(&self) -> sys::ncclComm_t {
        self.0
    }

    /// Returns whether earlier calls are through.
    pub(super) fn is_settled(&self) -> Result<bool, NcclError> {
        let mut state = sys::ncclResult_t::ncclSuccess;
        // SAFETY: the communicator is alive, since only `abort` ends it and takes it; `state` is valid for the call.
        unsafe { sys::ncclCommGetAsyncError(self.0, &raw mut state) }.result()?;
        Ok(state.result()? == NcclStatus::Success)
    }

    /// Ends the communicator at once, whatever the peers do; its work on the stream is given up.
    pub(super) fn abort(self) -> Result<(), NcclError> {
        // SAFETY: the communicator is alive, and with `self` nothing is left that could use it after this.
        unsafe { result::comm_abort(self.0) }.map(drop)
    }
}

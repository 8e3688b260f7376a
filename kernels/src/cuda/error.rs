//! What can go wrong on a device.

/// An error of the CUDA backend.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A library is missing, or no device is there.
    #[error("CUDA cannot be used: {reason}")]
    Unavailable {
        /// One sentence that names what is missing.
        reason: String,
    },
    /// The driver refused a call, or a kernel failed earlier.
    #[error("CUDA driver: {call} failed: {text} (code {code})")]
    Driver {
        /// What was being done.
        call: &'static str,
        /// The driver's number.
        code: u32,
        /// The driver's words.
        text: String,
    },
    /// The memory bound of the device, or the device itself, is exhausted.
    #[error("out of device memory: {requested} bytes asked for, {in_use} of {bound} in use")]
    OutOfMemory {
        /// Bytes asked for.
        requested: usize,
        /// Bytes in use by buffers.
        in_use: usize,
        /// The bound.
        bound: usize,
    },
    /// A graph was captured before its memory was there.
    #[error("a graph needs {requested} bytes that are not at hand; run the step once before capturing it")]
    ColdCapture {
        /// Bytes asked for.
        requested: usize,
    },
    /// Arguments do not fit together.
    #[error(transparent)]
    Arguments(#[from] crate::Error),
    /// A count does not fit the 32 bits that kernels index with.
    #[error("{op}: {what} is {got}, more than 32 bits hold")]
    TooLarge {
        /// The op that refused.
        op: &'static str,
        /// The quantity.
        what: &'static str,
        /// Its value.
        got: usize,
    },
    /// cuBLAS refused a call.
    #[error("cuBLAS: {call} failed: {text}")]
    Blas {
        /// What was being done.
        call: &'static str,
        /// cuBLAS's status.
        text: String,
    },
    /// NCCL refused a call that is no communicator's.
    #[error("NCCL: {call} failed: {text}")]
    Nccl {
        /// What was being done.
        call: &'static str,
        /// NCCL's status.
        text: String,
    },
    /// A communicator ended.
    #[error("NCCL, rank {rank} of {world_size}: {failure}")]
    Communicator {
        /// This rank.
        rank: usize,
        /// How many ranks there are.
        world_size: usize,
        /// What ended it.
        failure: super::nccl::Failure,
    },
}

impl Error {
    /// Wraps the driver's error.
    pub(super) fn driver(call: &'static str) -> impl FnOnce(cudarc::driver::DriverError) -> Self {
        move |error| {
            let text = match error.error_string() {
                Ok(text) => text.to_string_lossy().into_owned(),
                Err(_) => "no description".to_owned(),
            };
            Self::Driver { call, code: error.0 as u32, text }
        }
    }
}

/// Narrows a count to the 32 bits that kernels index with.
///
/// # Errors
/// [`Error::TooLarge`] where it does not fit.
pub(super) fn count(op: &'static str, what: &'static str, value: usize) -> Result<u32, Error> {
    u32::try_from(value).map_err(|_| Error::TooLarge { op, what, got: value })
}

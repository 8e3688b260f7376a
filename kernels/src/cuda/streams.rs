//! The three streams of a device, with explicit order between them.

use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaEvent, CudaStream};

use super::Error;

/// The compute stream, on which all memory is used and freed, and the communication stream and that of copies from the
/// host beside it.
#[derive(Debug)]
pub(super) struct Streams {
    pub(super) context: Arc<CudaContext>,
    pub(super) compute: Arc<CudaStream>,
    pub(super) communication: Arc<CudaStream>,
    pub(super) copies: Arc<CudaStream>,
}

impl Streams {
    pub(super) fn new(context: Arc<CudaContext>) -> Result<Self, Error> {
        let stream = || context.new_stream().map_err(Error::driver("make a stream"));
        let (compute, communication, copies) = (stream()?, stream()?, stream()?);
        Ok(Self { context, compute, communication, copies })
    }

    /// Makes the device current on this thread.
    pub(super) fn bind(&self) -> Result<(), Error> {
        self.context.bind_to_thread().map_err(Error::driver("bind the device to the thread"))
    }

    /// What is launched on the compute stream from now on comes after what the communication stream has now.
    pub(super) fn compute_waits_for_communication(&self) -> Result<(), Error> {
        order(&self.communication, &self.compute)
    }

    /// What is launched on the communication stream from now on comes after what the compute stream has now.
    pub(super) fn communication_waits_for_compute(&self) -> Result<(), Error> {
        order(&self.compute, &self.communication)
    }

    /// What is launched on the copies' stream from now on comes after what the compute stream has now.
    pub(super) fn copies_wait_for_compute(&self) -> Result<(), Error> {
        order(&self.compute, &self.copies)
    }
}

/// Marks the present end of a stream.
pub(super) fn mark(stream: &CudaStream) -> Result<CudaEvent, Error> {
    stream.record_event(None).map_err(Error::driver("record an event"))
}

/// What is launched on the stream from now on comes after the event.
pub(super) fn wait_for(stream: &CudaStream, event: &CudaEvent) -> Result<(), Error> {
    stream.wait(event).map_err(Error::driver("wait for an event"))
}

fn order(first: &CudaStream, then: &CudaStream) -> Result<(), Error> {
    wait_for(then, &mark(first)?)
}

//! Device memory: buffers from a caching pool with a bound, and views into them.
//!
//! All work on a buffer goes through its device's streams, and memory goes back to the pool in the order of the compute
//! stream: whoever gets it next writes to it after everything that was launched before. A buffer that the communication
//! stream has used makes the compute stream wait for that stream before its memory is used again.
#![allow(
    unsafe_code,
    reason = "allocation, release and copies of device memory; each block says what makes it sound"
)]

mod pool;
mod view;

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cudarc::driver::result;

use super::Error;
use super::streams::Streams;
pub use pool::Usage;
pub(super) use pool::{Block, Pool};

pub use view::{Scalar, View, ViewMut};

/// A typed array in device memory; it goes back to its pool when dropped.
#[derive(Debug)]
pub struct Buffer<T: Scalar> {
    pool: Arc<Pool>,
    block: Option<Block>,
    len: usize,
    on_communication: AtomicBool,
    element: PhantomData<T>,
}

impl<T: Scalar> Buffer<T> {
    /// Returns memory for `len` elements with unspecified contents.
    pub(super) fn uninitialized(pool: &Arc<Pool>, len: usize) -> Result<Self, Error> {
        let block = (len > 0).then(|| pool.take(len * size_of::<T>())).transpose()?;
        let on_communication = AtomicBool::new(false);
        Ok(Self { pool: Arc::clone(pool), block, len, on_communication, element: PhantomData })
    }

    /// Returns the number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns a view of all elements.
    pub fn view(&self) -> View<'_, T> {
        View::new(self.address(), self.len)
    }

    /// Returns a writable view of all elements.
    pub fn view_mut(&mut self) -> ViewMut<'_, T> {
        ViewMut::new(self.address(), self.len)
    }

    /// Notes that the communication stream uses this buffer.
    pub(super) fn used_by_communication(&self) {
        self.on_communication.store(true, Ordering::Relaxed);
    }

    fn address(&self) -> u64 {
        self.block.as_ref().map_or(0, |block| block.address)
    }
}

impl<T: Scalar> Drop for Buffer<T> {
    fn drop(&mut self) {
        if let Some(block) = self.block.take() {
            self.pool.give_back(block, *self.on_communication.get_mut());
        }
    }
}

/// Copies host memory that is not pinned to the device.
pub(super) fn upload<T: Scalar>(streams: &Streams, to: &mut ViewMut<'_, T>, from: &[T]) -> Result<(), Error> {
    assert_eq!(to.len(), from.len(), "lengths of a copy");
    if from.is_empty() {
        return Ok(());
    }
    streams.bind()?;
    // SAFETY: `to` spans as many elements as `from` in a live buffer (its lifetime); the copy is ordered by the compute
    // stream. From memory that is not pinned (`Pinned` gives out no slices) the driver has read when the call returns.
    unsafe { result::memcpy_htod_async(to.address(), from, streams.compute.cu_stream()) }
        .map_err(Error::driver("copy to the device"))
}

/// Copies device memory to the host and waits for it.
pub(super) fn download<T: Scalar>(streams: &Streams, from: View<'_, T>, to: &mut [T]) -> Result<(), Error> {
    assert_eq!(to.len(), from.len(), "lengths of a copy");
    if to.is_empty() {
        return Ok(());
    }
    streams.bind()?;
    // SAFETY: `from` spans as many elements as `to` in a live buffer; the copy comes after all work on the compute
    // stream, and `to` stays borrowed until the stream has been waited for below.
    unsafe { result::memcpy_dtoh_async(to, from.address(), streams.compute.cu_stream()) }
        .map_err(Error::driver("copy to the host"))?;
    streams.compute.synchronize().map_err(Error::driver("wait for a copy to the host"))
}

/// Copies on the device.
pub(super) fn copy<T: Scalar>(
    streams: &Streams,
    from: View<'_, T>,
    to: &mut ViewMut<'_, T>,
) -> Result<(), Error> {
    assert_eq!(to.len(), from.len(), "lengths of a copy");
    if from.is_empty() {
        return Ok(());
    }
    streams.bind()?;
    let bytes = from.len() * size_of::<T>();
    // SAFETY: both views span `bytes` in live buffers and cannot overlap (one is borrowed exclusively); the copy is
    // ordered by the compute stream.
    unsafe {
        result::memcpy_dtod_async(to.address(), from.address(), bytes, streams.compute.cu_stream())
            .map_err(Error::driver("copy on the device"))
    }
}

/// Fills with zero bytes, which are the value 0 of every element type.
pub(super) fn zero<T: Scalar>(streams: &Streams, to: &mut ViewMut<'_, T>) -> Result<(), Error> {
    if to.is_empty() {
        return Ok(());
    }
    streams.bind()?;
    // SAFETY: the view spans that many bytes in a live buffer; the fill is ordered by the compute stream.
    unsafe {
        result::memset_d8_async(to.address(), 0, to.len() * size_of::<T>(), streams.compute.cu_stream())
            .map_err(Error::driver("fill with zeros"))
    }
}

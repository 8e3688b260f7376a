//! Page-locked host memory, from which copies run beside the host: the next batch, while a step is computed.
#![allow(
    unsafe_code,
    reason = "page-locked memory is allocated by the driver; each block says what makes it sound"
)]

use std::sync::Arc;

use cudarc::driver::{CudaEvent, CudaStream, result};

use super::Error;
use super::device::Device;
use super::memory::{Scalar, ViewMut};
use super::streams::{Streams, mark};

/// A fixed number of elements in page-locked memory.
///
/// It gives out no slices, so nothing reads or writes it while a copy is under way.
#[derive(Debug)]
pub struct Pinned<T: Scalar> {
    start: *mut T,
    len: usize,
    /// Of the last copy from here.
    copied: Option<CudaEvent>,
    streams: Arc<Streams>,
}

// SAFETY: the memory is this value's own, and its elements are plain numbers.
unsafe impl<T: Scalar> Send for Pinned<T> {}

// SAFETY: a shared reference gives the length and nothing of the memory; whatever touches that takes a unique one.
unsafe impl<T: Scalar> Sync for Pinned<T> {}

impl<T: Scalar> Pinned<T> {
    /// Returns memory for `len` elements, all zero.
    ///
    /// # Errors
    /// The driver's.
    pub fn new(device: &Device, len: usize) -> Result<Self, Error> {
        let streams = Arc::clone(device.streams());
        streams.bind()?;
        let bytes = (len * size_of::<T>()).max(1);
        // SAFETY: the flags are none; a device is current on this thread.
        let start = unsafe { result::malloc_host(bytes, 0) }
            .map_err(Error::driver("allocate page-locked memory"))?
            .cast::<T>();
        // SAFETY: the driver returned at least `len` elements, aligned to a page, and zero bytes are a value of T.
        unsafe { start.write_bytes(0, len) };
        Ok(Self { start, len, copied: None, streams })
    }

    /// Returns the number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Waits for the last copy from here and lets `write` fill the memory.
    ///
    /// # Errors
    /// The driver's.
    pub fn fill(&mut self, write: impl FnOnce(&mut [T])) -> Result<(), Error> {
        if let Some(event) = self.copied.take() {
            event.synchronize().map_err(Error::driver("wait for a copy to the device"))?;
        }
        // SAFETY: `start` points to `len` initialized elements that this value owns, and no copy is under way.
        write(unsafe { std::slice::from_raw_parts_mut(self.start, self.len) });
        Ok(())
    }

    /// Starts the copy of the first `to.len()` elements; it is ordered by the compute stream.
    ///
    /// # Errors
    /// The driver's. Panics where `to` is longer.
    pub fn upload(&mut self, to: &mut ViewMut<'_, T>) -> Result<(), Error> {
        let compute = Arc::clone(&self.streams.compute);
        self.upload_on(&compute, to)
    }

    /// As [`Pinned::upload`], on another stream: the caller orders it after what used the memory before, and what uses it
    /// next after it.
    pub(super) fn upload_on(&mut self, stream: &CudaStream, to: &mut ViewMut<'_, T>) -> Result<(), Error> {
        assert!(to.len() <= self.len, "a copy of {} from {} elements", to.len(), self.len);
        if to.is_empty() {
            return Ok(());
        }
        self.streams.bind()?;
        // SAFETY: both sides span `to.len()` elements; this value frees or rewrites its memory only after the event
        // below. The buffer's memory is used again after the copy: in the order of the same stream where that is compute's,
        // else by the order that the caller makes.
        unsafe {
            let from = std::slice::from_raw_parts(self.start, to.len());
            result::memcpy_htod_async(to.address(), from, stream.cu_stream())
                .map_err(Error::driver("copy to the device"))?;
        }
        self.copied = Some(mark(stream)?);
        Ok(())
    }
}

impl<T: Scalar> Drop for Pinned<T> {
    fn drop(&mut self) {
        let waited = self.copied.take().is_none_or(|event| event.synchronize().is_ok());
        if waited && self.streams.bind().is_ok() {
            // SAFETY: the memory came from `malloc_host`, and no copy from it is under way.
            let _ = unsafe { result::free_host(self.start.cast()) };
        }
    }
}

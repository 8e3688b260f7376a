//! Row ids in device memory.

use crate::cuda::Error;
use crate::cuda::device::Device;
use crate::cuda::memory::{Buffer, View};
use crate::error::check_shape;

/// Row ids, all below a bound that the host knows.
#[derive(Debug)]
pub struct Ids {
    buffer: Buffer<u32>,
    below: usize,
}

impl Ids {
    /// Copies ids to the device and notes the largest.
    ///
    /// # Errors
    /// The device's.
    pub fn upload(device: &Device, ids: &[u32]) -> Result<Self, Error> {
        Ok(Self { buffer: device.upload(ids)?, below: bound(ids) })
    }

    /// Replaces the ids by as many others, in the same memory.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] where the number differs, else the device's.
    pub fn replace(&mut self, device: &Device, ids: &[u32]) -> Result<(), Error> {
        check_shape("ids", "number of ids", self.buffer.len(), ids.len())?;
        self.below = bound(ids);
        device.write(&mut self.buffer.view_mut(), ids)
    }

    /// Wraps ids that a kernel made, which are all below `below`.
    pub(in crate::cuda) fn made(buffer: Buffer<u32>, below: usize) -> Self {
        Self { buffer, below }
    }

    /// Returns the number of ids.
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Returns a number that all ids are below.
    pub fn below(&self) -> usize {
        self.below
    }

    /// Returns the memory of the ids, to be sent to other ranks.
    pub fn buffer(&self) -> &Buffer<u32> {
        &self.buffer
    }

    /// Returns the ids.
    pub fn view(&self) -> View<'_, u32> {
        self.buffer.view()
    }
}

fn bound(ids: &[u32]) -> usize {
    ids.iter().max().map_or(0, |&id| id as usize + 1)
}

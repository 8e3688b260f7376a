//! Ids of the next step on their way to the device while the present step is computed.
//!
//! They go from page-locked memory on the stream of copies into memory of the device that is theirs alone, so the copy
//! waits for no kernel of the present step. Two events make the order: a copy comes after what last took from that memory
//! ([`Prefetch::receive`]), and what takes from it comes after the copy.

use std::sync::Arc;

use cudarc::driver::CudaEvent;

use super::Error;
use super::device::Device;
use super::embedding::Ids;
use super::memory::{Buffer, copy};
use super::pinned::Pinned;
use super::streams::{Streams, mark, wait_for};

/// The memory that one set of ids at a time goes through.
#[derive(Debug)]
pub struct Prefetch {
    host: Pinned<u32>,
    device: Buffer<u32>,
    /// Of the last copy, until the compute stream waits for it.
    copied: Option<CudaEvent>,
    /// After what the compute stream last took.
    taken: Option<CudaEvent>,
    /// Of sets of ids that were sent.
    number: u64,
    streams: Arc<Streams>,
}

/// A set of ids under way; [`Prefetch::receive`] takes it.
#[derive(Debug)]
pub struct Sent {
    number: u64,
    /// Of each list: its length, and a number that its ids are below.
    lists: Vec<(usize, usize)>,
}

impl Prefetch {
    /// Makes one without memory; it grows with what is sent.
    ///
    /// # Errors
    /// The driver's.
    pub fn new(device: &Device) -> Result<Self, Error> {
        let streams = Arc::clone(device.streams());
        let (host, memory) = (Pinned::new(device, 0)?, device.buffer(0)?);
        Ok(Self { host, device: memory, copied: None, taken: None, number: 0, streams })
    }

    /// Begins to copy lists of ids, beside what is computed. What was sent before and not received is given up.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] beyond the bound, else the driver's.
    pub fn send(&mut self, device: &Device, lists: &[&[u32]]) -> Result<Sent, Error> {
        self.arrive()?;
        self.number += 1;
        let bound = |ids: &[u32]| ids.iter().max().map_or(0, |&id| id as usize + 1);
        let sent =
            Sent { number: self.number, lists: lists.iter().map(|ids| (ids.len(), bound(ids))).collect() };
        let total = lists.iter().map(|ids| ids.len()).sum();
        self.grow(device, total)?;
        self.host.fill(|memory| {
            let mut left = memory;
            for ids in lists {
                let (here, rest) = left.split_at_mut(ids.len());
                here.copy_from_slice(ids);
                left = rest;
            }
        })?;
        self.streams.bind()?;
        let copies = Arc::clone(&self.streams.copies);
        if let Some(taken) = self.taken.take() {
            wait_for(&copies, &taken)?;
        }
        self.host.upload_on(&copies, &mut self.device.view_mut().range(0..total))?;
        self.copied = Some(mark(&copies)?);
        Ok(sent)
    }

    /// Returns the lists that were sent, as the compute stream has them once it comes there; the host does not wait.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] beyond the bound, else the driver's.
    ///
    /// # Panics
    /// Where others were sent since.
    pub fn receive(&mut self, device: &Device, sent: Sent) -> Result<Vec<Ids>, Error> {
        assert_eq!(sent.number, self.number, "the ids that were sent last are received");
        self.arrive()?;
        let mut start = 0;
        let take = |(len, below)| {
            let mut ids = device.buffer(len)?;
            copy(&self.streams, self.device.view().range(start..start + len), &mut ids.view_mut())?;
            start += len;
            Ok(Ids::made(ids, below))
        };
        let lists = sent.lists.into_iter().map(take).collect();
        self.taken = Some(mark(&self.streams.compute)?);
        lists
    }

    /// Orders the compute stream after the last copy.
    fn arrive(&mut self) -> Result<(), Error> {
        let Some(copied) = self.copied.take() else { return Ok(()) };
        self.streams.bind()?;
        wait_for(&self.streams.compute, &copied)
    }

    fn grow(&mut self, device: &Device, total: usize) -> Result<(), Error> {
        if total <= self.host.len() {
            return Ok(());
        }
        let len = total.next_power_of_two();
        self.host = Pinned::new(device, len)?;
        self.device = device.buffer(len)?;
        // The memory may have been somebody else's on the compute stream.
        self.taken = None;
        self.streams.copies_wait_for_compute()
    }
}

impl Drop for Prefetch {
    fn drop(&mut self) {
        // The device's memory goes back in the order of the compute stream, so a copy into it has to come before. Where
        // that cannot be said, the device has failed, and the memory is not used again.
        let _ = self.arrive();
    }
}

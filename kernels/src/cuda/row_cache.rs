//! Hot rows of a table that is in the host's memory: a cache of them on the device, of bounded size.
//!
//! A row has several columns: its values, and each slot of the optimizer's state. [`RowCache::fetch`] brings rows to the
//! device, from the cache where they are there, else through page-locked memory; [`RowCache::store`] takes them back: into
//! the cache, in the place of the rows that were longest unused, and to the host where even that has no room. Both copy
//! and never compute, so bits are those of a table that is on the device whole, whatever the cache holds.

use std::collections::{BTreeMap, BTreeSet};

use super::Error;
use super::device::Device;
use super::embedding::{Combine, Ids, Table, gather};
use super::exchange::unpack_rows;
use super::memory::{Buffer, View};
use super::pinned::Pinned;

/// Rows in the host's memory. Those that a cache has changed are stale until [`RowCache::flush`].
pub trait HostRows {
    /// Copies a column of a row.
    fn read(&self, row: u32, column: usize, to: &mut [f32]);
}

/// Where changed rows go.
pub trait HostRowsMut {
    /// Replaces a column of a row.
    fn write(&mut self, row: u32, column: usize, from: &[f32]);
}

/// What a cache was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CacheUse {
    /// Rows that were there.
    pub hits: u64,
    /// Rows that came from the host.
    pub misses: u64,
}

/// Copies of some rows in device memory.
#[derive(Debug)]
pub struct RowCache {
    columns: Vec<Column>,
    capacity: usize,
    slot_of: BTreeMap<u32, u32>,
    /// Slots that hold no row.
    free: Vec<u32>,
    /// Slots that hold one, by the time of their last use.
    oldest: BTreeSet<(u64, u32)>,
    /// Of each slot: its last use, and its row.
    held: Vec<(u64, u32)>,
    clock: u64,
    stage: Pinned<f32>,
    seen: CacheUse,
}

#[derive(Debug)]
struct Column {
    width: usize,
    /// `[capacity, width]`.
    values: Buffer<f32>,
}

/// Places of a list of rows.
#[derive(Default)]
struct Split {
    /// In the list, and in the cache.
    cached: (Vec<u32>, Vec<u32>),
    /// In the list, and the rows themselves.
    absent: (Vec<u32>, Vec<u32>),
}

impl RowCache {
    /// Makes an empty cache of at most `bytes`, and no more than `rows` rows, of columns of these widths.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] beyond the device's bound.
    pub fn new(device: &Device, widths: &[usize], rows: usize, bytes: usize) -> Result<Self, Error> {
        let row_bytes = widths.iter().sum::<usize>() * size_of::<f32>();
        let capacity = bytes.checked_div(row_bytes).unwrap_or(0).min(rows);
        let column = |&width| Ok(Column { width, values: device.buffer(capacity * width)? });
        Ok(Self {
            columns: widths.iter().map(column).collect::<Result<_, Error>>()?,
            capacity,
            slot_of: BTreeMap::new(),
            free: (0..capacity as u32).rev().collect(),
            oldest: BTreeSet::new(),
            held: vec![(0, 0); capacity],
            clock: 0,
            stage: Pinned::new(device, 0)?,
            seen: CacheUse::default(),
        })
    }

    /// Returns how many rows there is room for.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Returns the bytes of device memory that the rows take, which is all but what a call needs while it runs.
    pub fn bytes(&self) -> usize {
        self.columns.iter().map(|column| column.values.len() * size_of::<f32>()).sum()
    }

    /// Returns what was asked for so far.
    pub fn usage(&self) -> CacheUse {
        self.seen
    }

    /// Returns some columns of distinct rows, each `[rows, width]`.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] beyond the device's bound, else the driver's.
    pub fn fetch(
        &mut self,
        device: &Device,
        rows: &[u32],
        columns: &[usize],
        host: &dyn HostRows,
    ) -> Result<Vec<Buffer<f32>>, Error> {
        let Split { cached, absent } = self.split(rows);
        self.seen.hits += cached.0.len() as u64;
        self.seen.misses += absent.0.len() as u64;
        let (at, slots) = (Ids::upload(device, &cached.0)?, Ids::upload(device, &cached.1)?);
        let absent_at = Ids::upload(device, &absent.0)?;
        let mut found = Vec::new();
        for &column in columns {
            let width = self.columns[column].width;
            let mut out = device.buffer(rows.len() * width)?;
            let hot = picked(device, self.columns[column].values.view(), width, &slots)?;
            unpack_rows(device, hot.view(), &at, width, &mut out.view_mut())?;
            let cold = self.bring(device, &absent.1, column, host)?;
            unpack_rows(device, cold.view(), &absent_at, width, &mut out.view_mut())?;
            found.push(out);
        }
        Ok(found)
    }

    /// Takes all columns of distinct rows, as [`RowCache::fetch`] gives them.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] beyond the device's bound, else the driver's.
    pub fn store(
        &mut self,
        device: &Device,
        rows: &[u32],
        values: &[Buffer<f32>],
        host: &mut dyn HostRowsMut,
    ) -> Result<(), Error> {
        let Split { cached: (mut at, mut slots), absent } = self.split(rows);
        self.clock += 1;
        slots.iter().for_each(|slot| self.touch(*slot));
        // Rows of this call are the youngest, so none of them is taken for old as long as there are others.
        let room = self.capacity - slots.len();
        let admitted = absent.0.len().min(room);
        self.evict(device, admitted.saturating_sub(self.free.len()), host)?;
        for (place, row) in absent.0.iter().zip(&absent.1).take(admitted) {
            let slot = self.free.pop().expect("room was made for each admitted row");
            self.slot_of.insert(*row, slot);
            self.held[slot as usize] = (self.clock, *row);
            self.oldest.insert((self.clock, slot));
            at.push(*place);
            slots.push(slot);
        }
        let (at, slots) = (Ids::upload(device, &at)?, Ids::upload(device, &slots)?);
        let (left_at, left) = (Ids::upload(device, &absent.0[admitted..])?, &absent.1[admitted..]);
        for (column, from) in values.iter().enumerate() {
            let Column { width, values: cache } = &mut self.columns[column];
            let hot = picked(device, from.view(), *width, &at)?;
            unpack_rows(device, hot.view(), &slots, *width, &mut cache.view_mut())?;
            take_home(device, &picked(device, from.view(), *width, &left_at)?, left, column, host)?;
        }
        Ok(())
    }

    /// Brings the host's rows up to date; the cache stays as it is.
    ///
    /// # Errors
    /// The driver's.
    pub fn flush(&self, device: &Device, host: &mut dyn HostRowsMut) -> Result<(), Error> {
        let rows: Vec<u32> = self.slot_of.keys().copied().collect();
        let slots: Vec<u32> = self.slot_of.values().copied().collect();
        self.write_back(device, &rows, &slots, host)
    }

    fn split(&self, rows: &[u32]) -> Split {
        let mut split = Split::default();
        for (at, row) in (0..).zip(rows) {
            let (places, what) = match self.slot_of.get(row) {
                Some(slot) => (&mut split.cached, *slot),
                None => (&mut split.absent, *row),
            };
            places.0.push(at);
            places.1.push(what);
        }
        split
    }

    fn touch(&mut self, slot: u32) {
        let (used, _) = &mut self.held[slot as usize];
        self.oldest.remove(&(*used, slot));
        *used = self.clock;
        self.oldest.insert((self.clock, slot));
    }

    /// Makes room by sending home the rows that were longest unused.
    fn evict(&mut self, device: &Device, count: usize, host: &mut dyn HostRowsMut) -> Result<(), Error> {
        let (mut rows, mut slots) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let (_, slot) = self.oldest.pop_first().expect("as many rows are cached as are sent home");
            let (_, row) = self.held[slot as usize];
            self.slot_of.remove(&row);
            self.free.push(slot);
            rows.push(row);
            slots.push(slot);
        }
        self.write_back(device, &rows, &slots, host)
    }

    fn write_back(
        &self,
        device: &Device,
        rows: &[u32],
        slots: &[u32],
        host: &mut dyn HostRowsMut,
    ) -> Result<(), Error> {
        let slots = Ids::upload(device, slots)?;
        for (column, Column { width, values }) in self.columns.iter().enumerate() {
            take_home(device, &picked(device, values.view(), *width, &slots)?, rows, column, host)?;
        }
        Ok(())
    }

    /// Copies a column of rows from the host.
    fn bring(
        &mut self,
        device: &Device,
        rows: &[u32],
        column: usize,
        host: &dyn HostRows,
    ) -> Result<Buffer<f32>, Error> {
        let width = self.columns[column].width;
        let len = rows.len() * width;
        if len > self.stage.len() {
            self.stage = Pinned::new(device, len.next_power_of_two())?;
        }
        self.stage.fill(|memory| {
            for (row, to) in rows.iter().zip(memory.chunks_exact_mut(width.max(1))) {
                host.read(*row, column, to);
            }
        })?;
        let mut brought = device.buffer(len)?;
        self.stage.upload(&mut brought.view_mut())?;
        Ok(brought)
    }
}

/// Copies rows of `width` values into a buffer of their own.
fn picked(device: &Device, rows: View<'_, f32>, width: usize, ids: &Ids) -> Result<Buffer<f32>, Error> {
    let mut out = device.buffer(ids.len() * width)?;
    gather(device, Table { rows, dim: width }, ids, &mut out.view_mut(), width, Combine::Replace)?;
    Ok(out)
}

/// Copies a column of rows to the host, and waits for it.
fn take_home(
    device: &Device,
    values: &Buffer<f32>,
    rows: &[u32],
    column: usize,
    host: &mut dyn HostRowsMut,
) -> Result<(), Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let values = device.download(values.view())?;
    for (row, value) in rows.iter().zip(values.chunks_exact(values.len() / rows.len())) {
        host.write(*row, column, value);
    }
    Ok(())
}

//! Which occurrences belong to which row: a stable sort of the ids, and the segments of equal ones.

use super::{Bags, Ids};
use crate::cuda::Error;
use crate::cuda::device::Device;
use crate::cuda::error::count;
use crate::cuda::launch::Shape;
use crate::cuda::memory::{Buffer, View};

/// Pairs that one block sorts; `SORT_TILE` of `sort.cu`.
const TILE: usize = 2048;
/// Values of a digit, and its bits.
const DIGITS: usize = 256;
const DIGIT_BITS: u32 = 8;

/// Occurrences of rows, sorted by row; the order of occurrence is kept within a row. All of it stays on the device,
/// the number of distinct rows included.
#[derive(Debug)]
pub struct Segments {
    /// Sorted ids `[n]`.
    pub(super) keys: Buffer<u32>,
    /// Where each sorted id's gradient is `[n]`.
    pub(super) origins: Buffer<u32>,
    /// Distinct ids, ascending, then zeros: `[n]`, of which the first `count` count.
    unique: Ids,
    /// Where each segment starts `[n + 1]`.
    pub(super) starts: Buffer<u32>,
    /// Each occurrence's segment `[n]`.
    slots: Option<Ids>,
    /// Number of segments `[1]`.
    pub(super) count: Buffer<u32>,
    /// A number that all origins are below.
    pub(super) origins_below: usize,
}

impl Segments {
    /// Sorts the occurrences of a lookup: occurrence i has the gradient's row i.
    ///
    /// # Errors
    /// The device's.
    pub fn of_ids(device: &Device, ids: &Ids) -> Result<Self, Error> {
        let n = ids.len();
        let mut origins = device.buffer(n)?;
        write_places(device, &mut origins)?;
        Self::new(device, ids, origins, n, true)
    }

    /// Sorts the occurrences of a pooled lookup: each occurrence has the gradient of its bag.
    ///
    /// # Errors
    /// The device's.
    pub fn of_bags(device: &Device, bags: &Bags) -> Result<Self, Error> {
        let mut origins = device.buffer(bags.ids().len())?;
        bags.write_origins(device, &mut origins.view_mut())?;
        Self::new(device, bags.ids(), origins, bags.len(), false)
    }

    /// Every row of a table of `n` rows once, for a gradient `[n, dim]` of all rows; made once and kept.
    ///
    /// # Errors
    /// The device's.
    pub fn of_all_rows(device: &Device, n: usize) -> Result<Self, Error> {
        let [mut keys, mut origins, mut unique, mut slots, mut starts] = [
            device.buffer(n)?,
            device.buffer(n)?,
            device.buffer(n)?,
            device.buffer(n)?,
            device.buffer(n + 1)?,
        ];
        for places in [&mut keys, &mut origins, &mut unique, &mut slots, &mut starts] {
            write_places(device, places)?;
        }
        let count = device.upload(&[count("segments", "number of rows", n)?])?;
        let (unique, slots) = (Ids::made(unique, n), Some(Ids::made(slots, n)));
        Ok(Self { keys, origins, unique, starts, slots, count, origins_below: n })
    }

    fn new(
        device: &Device,
        ids: &Ids,
        origins: Buffer<u32>,
        origins_below: usize,
        with_slots: bool,
    ) -> Result<Self, Error> {
        let n = ids.len();
        let (keys, origins) = sort_pairs(device, ids.view(), origins, ids.below())?;
        // Past the distinct ids there stay zeros, which are ids as well: a lookup of all of them reads no other memory.
        let mut unique = device.zeros(n)?;
        let mut starts = device.zeros(n + 1)?;
        let mut slots = if with_slots { Some(device.buffer(n)?) } else { None };
        let mut count_of = device.zeros(1)?;
        if n > 0 {
            let tiles = n.div_ceil(TILE);
            let mut heads = device.buffer(tiles)?;
            let n = count("segments", "number of ids", n)?;
            device
                .launch("segment_count_kernel")
                .input(keys.view())
                .output(&mut heads.view_mut())
                .value(n)
                .run(Shape::blocks(tiles))?;
            scan(device, &mut heads)?;
            device
                .launch("segment_write_kernel")
                .input(keys.view())
                .input(origins.view())
                .input(heads.view())
                .output(&mut unique.view_mut())
                .output(&mut starts.view_mut())
                .output_or_null(slots.as_mut().map(Buffer::view_mut).as_mut())
                .output(&mut count_of.view_mut())
                .value(n)
                .run(Shape::blocks(tiles))?;
        }
        let slots = slots.map(|slots| Ids::made(slots, n));
        let unique = Ids::made(unique, ids.below());
        Ok(Self { keys, origins, unique, starts, slots, count: count_of, origins_below })
    }

    /// Returns the most segments that there can be: the number of occurrences.
    pub fn most(&self) -> usize {
        self.keys.len()
    }

    /// Returns the distinct ids, ascending, then zeros up to [`Segments::most`]; the first [`Segments::count`] count.
    ///
    /// A lookup of these and then one of [`Segments::slots`] in its result reads each row of the table once.
    pub fn unique(&self) -> &Ids {
        &self.unique
    }

    /// Returns the number of distinct ids `[1]`, on the device.
    pub fn count(&self) -> View<'_, u32> {
        self.count.view()
    }

    /// Returns each occurrence's place among the distinct ids; none for bags.
    pub fn slots(&self) -> Option<&Ids> {
        self.slots.as_ref()
    }
}

fn write_places(device: &Device, origins: &mut Buffer<u32>) -> Result<(), Error> {
    let n = origins.len();
    device
        .launch("sort_origins_kernel")
        .output(&mut origins.view_mut())
        .value(count("sort", "number of ids", n)?)
        .run(Shape::items(n))
}

/// Replaces counts by the sum of those before.
fn scan(device: &Device, counts: &mut Buffer<u32>) -> Result<(), Error> {
    let n = count("scan", "number of counts", counts.len())?;
    device
        .launch("sort_scan_kernel")
        .output(&mut counts.view_mut())
        .value(n)
        .run(Shape { threads: 1024, ..Shape::blocks(1) })
}

/// Sorts pairs by key, stably; keys are below `below`.
pub(in crate::cuda) fn sort_pairs(
    device: &Device,
    keys: View<'_, u32>,
    origins: Buffer<u32>,
    below: usize,
) -> Result<(Buffer<u32>, Buffer<u32>), Error> {
    let n = keys.len();
    let mut sorted = device.buffer(n)?;
    if n == 0 || below <= 1 {
        device.copy(keys, &mut sorted.view_mut())?;
        return Ok((sorted, origins));
    }
    let bits = usize::BITS - (below - 1).leading_zeros();
    let tiles = n.div_ceil(TILE);
    let mut counts = device.buffer(DIGITS * tiles)?;
    let (mut from, mut origins): (Option<Buffer<u32>>, _) = (None, origins);
    let mut spare = Some(sorted);
    let (length, n_tiles) = (count("sort", "number of ids", n)?, count("sort", "number of tiles", tiles)?);
    for shift in (0..bits).step_by(DIGIT_BITS as usize) {
        let input = from.as_ref().map_or(keys, Buffer::view);
        device
            .launch("sort_histogram_kernel")
            .input(input)
            .output(&mut counts.view_mut())
            .value(length)
            .value(shift)
            .value(n_tiles)
            .run(Shape::blocks(tiles))?;
        scan(device, &mut counts)?;
        let mut keys_out = match spare.take() {
            Some(buffer) => buffer,
            None => device.buffer(n)?,
        };
        let mut origins_out = device.buffer(n)?;
        device
            .launch("sort_scatter_kernel")
            .input(input)
            .input(origins.view())
            .input(counts.view())
            .output(&mut keys_out.view_mut())
            .output(&mut origins_out.view_mut())
            .value(length)
            .value(shift)
            .value(n_tiles)
            .run(Shape::blocks(tiles))?;
        spare = from.replace(keys_out);
        origins = origins_out;
    }
    let sorted = from.expect("there is at least one digit");
    Ok((sorted, origins))
}

//! Pooled lookup: the sum of each bag's rows.

use super::{Ids, Table, check_below, lane_shift};
use crate::cuda::Error;
use crate::cuda::device::Device;
use crate::cuda::error::count;
use crate::cuda::launch::{Shape, THREADS};
use crate::cuda::memory::{Buffer, ViewMut};
use crate::embedding::Bags as HostBags;
use crate::error::check_shape;

/// The ids of each bag, one bag after the other, in device memory.
#[derive(Debug)]
pub struct Bags {
    ids: Ids,
    offsets: Buffer<u32>,
    bags: usize,
}

impl Bags {
    /// Copies bags to the device.
    ///
    /// # Errors
    /// [`crate::Error`] where offsets do not ascend from 0 to the number of ids, else the device's.
    pub fn upload(device: &Device, bags: HostBags<'_>) -> Result<Self, Error> {
        const OP: &str = "bags";
        let HostBags { ids, offsets } = bags;
        check_shape(OP, "first offset", 0, offsets.first().copied().unwrap_or(0))?;
        check_shape(OP, "last offset", ids.len(), offsets.last().copied().unwrap_or(0))?;
        if !offsets.is_sorted() {
            let got = "an offset under its predecessor".to_owned();
            return Err(crate::Error::Value { op: OP, what: "offsets", expected: "ascending", got }.into());
        }
        count(OP, "number of ids", ids.len())?;
        let narrow: Vec<u32> = offsets.iter().map(|&offset| offset as u32).collect();
        let bags = offsets.len().saturating_sub(1);
        Ok(Self { ids: Ids::upload(device, ids)?, offsets: device.upload(&narrow)?, bags })
    }

    /// Returns the number of bags.
    pub fn len(&self) -> usize {
        self.bags
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bags == 0
    }

    /// Returns the ids of all bags.
    pub fn ids(&self) -> &Ids {
        &self.ids
    }

    /// Writes the bag of each id into `origins` `[ids]`.
    pub(super) fn write_origins(&self, device: &Device, origins: &mut ViewMut<'_, u32>) -> Result<(), Error> {
        device
            .launch("embedding_bag_origins_kernel")
            .input(self.offsets.view())
            .output(origins)
            .value(count("bags", "number of bags", self.bags)?)
            .run(Shape::items(self.bags))
    }
}

/// Writes the sum of each bag's rows, added in the order of its ids, into `out` `[bags, dim]`; an empty bag gives zeros.
///
/// # Errors
/// [`crate::Error`] where lengths differ or an id may be no row of the table, else the device's.
pub fn bag_forward(
    device: &Device,
    table: Table<'_>,
    bags: &Bags,
    out: &mut ViewMut<'_, f32>,
) -> Result<(), Error> {
    const OP: &str = "bag_forward";
    let dim = table.dim;
    check_shape(OP, "length of the pooled rows", bags.bags * dim, out.len())?;
    check_below(OP, bags.ids.below(), table.n_rows())?;
    if bags.bags == 0 || dim == 0 {
        return Ok(());
    }
    let wide = dim.is_multiple_of(4) && table.rows.is_aligned() && out.is_aligned();
    let kernel = if wide { "embedding_bag_vec4_kernel" } else { "embedding_bag_kernel" };
    let shift = lane_shift(dim / if wide { 4 } else { 1 });
    device
        .launch(kernel)
        .input(table.rows)
        .input(bags.ids.view())
        .input(bags.offsets.view())
        .output(out)
        .value(count(OP, "number of bags", bags.bags)?)
        .value(count(OP, "dimension", dim)?)
        .value(shift)
        .run(Shape::blocks(bags.bags.div_ceil(THREADS as usize >> shift)))
}

//! Packing of an all-to-all on the device: ids in the order of their owners, answers back in their places.

use super::Error;
use super::device::Device;
use super::embedding::{Ids, sort_pairs};
use super::error::count;
use super::launch::Shape;
use super::memory::{Buffer, View, ViewMut};
use crate::error::check_shape;

/// Which rank owns each row block; row r lies in block r mod the number of blocks.
#[derive(Debug)]
pub struct Owners {
    of_block: Buffer<u32>,
    world_size: usize,
}

impl Owners {
    /// Copies the owners of the row blocks to the device.
    ///
    /// # Errors
    /// [`crate::Error::Value`] where an owner is no rank, else the device's.
    pub fn upload(device: &Device, of_block: &[u32], world_size: usize) -> Result<Self, Error> {
        if let Some(&owner) = of_block.iter().find(|&&owner| owner as usize >= world_size) {
            let got = format!("{owner} of {world_size} ranks");
            let (op, what, expected) = ("owners", "owner", "a rank");
            return Err(crate::Error::Value { op, what, expected, got }.into());
        }
        if of_block.is_empty() {
            let (op, what) = ("owners", "number of row blocks");
            return Err(crate::Error::Shape { op, what, expected: 1, got: 0 }.into());
        }
        Ok(Self { of_block: device.upload(of_block)?, world_size })
    }
}

/// Ids in the order in which they are sent.
#[derive(Debug)]
pub struct Outgoing {
    /// The ids' rows within their shards `[n]`, owner after owner.
    pub rows: Ids,
    /// Where each sent id stood among the ids `[n]`.
    pub places: Ids,
    /// How many ids each rank gets `[world_size]`.
    pub counts: Buffer<u32>,
}

/// Sorts ids by owner, stably.
///
/// # Errors
/// The device's.
pub fn pack_ids(device: &Device, ids: &Ids, owners: &Owners) -> Result<Outgoing, Error> {
    const OP: &str = "pack_ids";
    let n = ids.len();
    let blocks = owners.of_block.len();
    let (mut owner, mut rows) = (device.buffer::<u32>(n)?, device.buffer::<u32>(n)?);
    let n_ids = count(OP, "number of ids", n)?;
    device
        .launch("exchange_owners_kernel")
        .input(ids.view())
        .input(owners.of_block.view())
        .output(&mut owner.view_mut())
        .output(&mut rows.view_mut())
        .value(n_ids)
        .value(count(OP, "number of row blocks", blocks)?)
        .run(Shape::items(n))?;
    let mut places = device.buffer(n)?;
    device.launch("sort_origins_kernel").output(&mut places.view_mut()).value(n_ids).run(Shape::items(n))?;
    let (sorted, places) = sort_pairs(device, owner.view(), places, owners.world_size)?;
    let mut counts = device.zeros(owners.world_size)?;
    device
        .launch("exchange_counts_kernel")
        .input(sorted.view())
        .output(&mut counts.view_mut())
        .value(n_ids)
        .value(count(OP, "number of ranks", owners.world_size)?)
        .run(Shape::items(owners.world_size))?;
    let mut sent = device.buffer(n)?;
    device
        .launch("exchange_pack_ids_kernel")
        .input(rows.view())
        .input(places.view())
        .output(&mut sent.view_mut())
        .value(n_ids)
        .run(Shape::items(n))?;
    let rows = Ids::made(sent, ids.below().div_ceil(blocks));
    Ok(Outgoing { rows, places: Ids::made(places, n), counts })
}

/// Takes ids that came from other ranks as rows below `below`. One that is not is taken as row 0 and counted in
/// `refused` `[1]`, which the caller reads when it reads the step's loss: a peer's mistake never leaves the table.
///
/// # Errors
/// [`crate::Error`] where there is no row to stand in or `refused` is not one number, else the device's.
pub fn received_ids(
    device: &Device,
    mut ids: Buffer<u32>,
    below: usize,
    refused: &mut ViewMut<'_, u32>,
) -> Result<Ids, Error> {
    const OP: &str = "received_ids";
    check_shape(OP, "length of refused", 1, refused.len())?;
    if below == 0 && !ids.is_empty() {
        let (what, expected) = ("ids for a shard without rows", "none");
        return Err(crate::Error::Value { op: OP, what, expected, got: ids.len().to_string() }.into());
    }
    let n = ids.len();
    device
        .launch("exchange_bound_kernel")
        .output(&mut ids.view_mut())
        .output(refused)
        .value(count(OP, "number of ids", n)?)
        .value(count(OP, "number of rows", below)?)
        .run(Shape::items(n))?;
    Ok(Ids::made(ids, below))
}

/// Writes answered rows `[n, dim]` to their places in `out` `[places, dim]`; no place occurs twice.
///
/// # Errors
/// [`crate::Error`] where lengths differ or a place may lie outside of `out`, else the device's.
pub fn unpack_rows(
    device: &Device,
    rows: View<'_, f32>,
    places: &Ids,
    dim: usize,
    out: &mut ViewMut<'_, f32>,
) -> Result<(), Error> {
    const OP: &str = "unpack_rows";
    let n = places.len();
    check_shape(OP, "length of the rows", n * dim, rows.len())?;
    if out.len() < places.below() * dim {
        check_shape(OP, "length of out", places.below() * dim, out.len())?;
    }
    if n == 0 || dim == 0 {
        return Ok(());
    }
    let wide = dim.is_multiple_of(4) && rows.is_aligned() && out.is_aligned();
    let kernel = if wide { "exchange_unpack_vec4_kernel" } else { "exchange_unpack_kernel" };
    device
        .launch(kernel)
        .input(rows)
        .input(places.view())
        .output(out)
        .value(count(OP, "number of rows", n)?)
        .value(count(OP, "dimension", dim)?)
        .run(Shape::items(n * (dim / if wide { 4 } else { 1 })))
}

//! Sums along the canonical tree of what lies in device memory.

use std::collections::BTreeMap;

use muster_kernels::cuda::reduce::add_assign;
use muster_kernels::cuda::{Buffer, Device, Error};

use crate::tree::{self, Roots};

/// Sums of held leaves up to their maximal subtrees, as [`tree::roots`].
pub(super) fn roots(
    device: &Device,
    leaves: usize,
    held: BTreeMap<usize, Buffer<f32>>,
) -> Result<Roots<Buffer<f32>>, Error> {
    tree::roots_with(leaves, held, &mut |left: &mut Buffer<f32>, right: &Buffer<f32>| {
        add_assign(device, &mut left.view_mut(), right.view())
    })
}

/// Copies sums to the host, to be sent.
pub(super) fn download(device: &Device, roots: &Roots<Buffer<f32>>) -> Result<Roots<Vec<f32>>, Error> {
    roots.iter().map(|(node, values)| Ok((node.clone(), device.download(values.view())?))).collect()
}

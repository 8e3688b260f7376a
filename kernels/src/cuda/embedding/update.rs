//! Where the gradients of rows lie.

use super::Segments;
use crate::cuda::Error;
use crate::cuda::device::Device;
use crate::cuda::error::count;
use crate::cuda::launch::{Launch, Shape, THREADS};
use crate::cuda::memory::{Buffer, View};
use crate::error::check_shape;

/// Sorted places that one warp sums; `STRETCH` of `embedding_update.cu`.
const STRETCH: usize = 64;
/// Rows that a block works on: one a warp.
pub(super) const ROWS_OF_BLOCK: usize = THREADS as usize / 32;

/// Gradients of looked-up rows, one per occurrence or bag, that are summed per row.
#[derive(Debug, Clone, Copy)]
pub struct RowGradients<'a> {
    /// Which gradient belongs to which row.
    pub segments: &'a Segments,
    /// `[occurrences or bags]` rows of `dim`, `stride` apart.
    pub grads: View<'a, f32>,
    /// Values of a row.
    pub dim: usize,
    /// The distance of gradients; `dim` where they lie back to back.
    pub stride: usize,
    /// A factor on the summed gradients `[1]`, such as that of clipping; 1 where not given.
    pub factor: Option<View<'a, f32>>,
}

impl RowGradients<'_> {
    pub(super) fn check(&self, op: &'static str) -> Result<(), Error> {
        let rows = self.segments.origins_below;
        let span = if rows == 0 { 0 } else { (rows - 1) * self.stride + self.dim };
        if self.grads.len() < span || self.stride < self.dim {
            check_shape(op, "length of the gradients", span, self.grads.len())?;
            check_shape(op, "distance of gradients", self.dim, self.stride)?;
        }
        if let Some(factor) = self.factor {
            check_shape(op, "length of the factor", 1, factor.len())?;
        }
        Ok(())
    }

    /// Whether gradients can be read four values at a time.
    pub(super) fn is_wide(&self) -> bool {
        self.dim.is_multiple_of(4) && self.stride.is_multiple_of(4) && self.grads.is_aligned()
    }

    /// Sums, per stretch of sorted places, the gradients of rows that reach over several stretches.
    pub(super) fn partials(&self, device: &Device, wide: bool) -> Result<Buffer<f32>, Error> {
        let Segments { keys, origins, .. } = self.segments;
        let n = keys.len();
        let stretches = n.div_ceil(STRETCH);
        // Up to one stretch no row reaches over its end.
        if stretches <= 1 {
            return device.buffer(0);
        }
        let mut partials = device.buffer(2 * stretches * self.dim)?;
        let kernel = if wide { "embedding_partials_vec4_kernel" } else { "embedding_partials_kernel" };
        device
            .launch(kernel)
            .input(keys.view())
            .input(origins.view())
            .input(self.grads)
            .output(&mut partials.view_mut())
            .value(count(kernel, "number of ids", n)?)
            .value(count(kernel, "dimension", self.dim)?)
            .value(count(kernel, "distance of gradients", self.stride)?)
            .run(Shape::blocks(stretches.div_ceil(ROWS_OF_BLOCK)))?;
        Ok(partials)
    }

    /// Begins a launch with the arguments that all updates of rows share; see `ROW_ARGUMENTS`.
    pub(super) fn launch<'d>(
        &self,
        device: &'d Device,
        kernel: &'static str,
        partials: &Buffer<f32>,
    ) -> Result<Launch<'d>, Error> {
        let segments = self.segments;
        Ok(device
            .launch(kernel)
            .input(segments.unique().view())
            .input(segments.starts.view())
            .input(segments.origins.view())
            .input(segments.count.view())
            .input(self.grads)
            .input(partials.view())
            .input_or_null(self.factor)
            .value(count(kernel, "number of ids", segments.most())?)
            .value(count(kernel, "dimension", self.dim)?)
            .value(count(kernel, "distance of gradients", self.stride)?))
    }

    /// Blocks for as many rows as there may be.
    pub(super) fn shape(&self) -> Shape {
        Shape::blocks(self.segments.most().div_ceil(ROWS_OF_BLOCK))
    }
}

//! Row-wise Adagrad: one accumulator per row, which grows by the mean square of the row's gradient (FBGEMM's rule).
//!
//! The mean is a sum over [`LANES`] virtual lanes, added up as a fixed tree, so every instruction set gives the same
//! bits. A row that is cut into column blocks adds its blocks' squares in shard order: [`RowwiseAdagrad::squares`] on
//! each block, then [`RowwiseAdagrad::update_rows_with_squares`] with the total.

use super::Rows;
use crate::error::{Error, check_shape};
use crate::isa::{Isa, Kernel, Simd};

/// Virtual lanes of a row's sum of squares; part of the numeric contract.
pub(super) const LANES: usize = 16;

/// Hyper-parameters of row-wise Adagrad.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RowwiseAdagrad {
    /// Learning rate.
    pub lr: f64,
    /// Added to the root of the accumulator.
    pub eps: f64,
    /// L2 penalty, added to the gradient.
    pub weight_decay: f64,
}

/// The squared gradients of rows of which a shard has only some columns.
#[derive(Clone, Copy, Debug)]
pub struct RowSquares<'a> {
    /// Sum of squares of each whole row, in the order of the gradients.
    pub squares: &'a [f32],
    /// Values of a whole row.
    pub full_dim: usize,
}

impl RowwiseAdagrad {
    /// Updates all rows of `params` `[rows, dim]` by `grads`; `sum` has one value per row.
    ///
    /// # Errors
    /// [`Error::Shape`] where lengths differ.
    pub fn update(
        &self,
        dim: usize,
        params: &mut [f32],
        grads: &[f32],
        sum: &mut [f32],
        isa: Isa,
    ) -> Result<(), Error> {
        check_shape("rowwise_adagrad", "length of the gradients", params.len(), grads.len())?;
        check_shape("rowwise_adagrad", "length of the parameters", sum.len() * dim, params.len())?;
        if dim > 0 {
            isa.dispatch(Whole { rates: Rates::new(self), dim, params, grads, sum });
        }
        Ok(())
    }

    /// Updates the given rows of `params` `[V, dim]`; `sum` is `[V]`.
    ///
    /// # Errors
    /// [`Error::Shape`] where lengths differ, [`Error::Value`] where a row lies outside the shard.
    pub fn update_rows(
        &self,
        rows: Rows<'_>,
        params: &mut [f32],
        sum: &mut [f32],
        isa: Isa,
    ) -> Result<(), Error> {
        rows.check("rowwise_adagrad", params.len())?;
        check_shape("rowwise_adagrad", "length of the parameters", sum.len() * rows.dim, params.len())?;
        isa.dispatch(Touched { rates: Rates::new(self), rows, squares: None, params, sum });
        Ok(())
    }

    /// Writes each row's sum of squared gradients (weight decay included) into `squares` `[ids]`.
    ///
    /// # Errors
    /// [`Error::Shape`] where lengths differ, [`Error::Value`] where a row lies outside the shard.
    pub fn squares(
        &self,
        rows: Rows<'_>,
        params: &[f32],
        squares: &mut [f32],
        isa: Isa,
    ) -> Result<(), Error> {
        rows.check("rowwise_adagrad", params.len())?;
        check_shape("rowwise_adagrad", "length of squares", rows.ids.len(), squares.len())?;
        isa.dispatch(Squares { rates: Rates::new(self), rows, params, squares });
        Ok(())
    }

    /// Updates the given rows of a column block with the squares of the whole rows.
    ///
    /// # Errors
    /// [`Error::Shape`] where lengths differ, [`Error::Value`] where a row lies outside the shard.
    pub fn update_rows_with_squares(
        &self,
        rows: Rows<'_>,
        squares: RowSquares<'_>,
        params: &mut [f32],
        sum: &mut [f32],
        isa: Isa,
    ) -> Result<(), Error> {
        rows.check("rowwise_adagrad", params.len())?;
        check_shape("rowwise_adagrad", "length of the parameters", sum.len() * rows.dim, params.len())?;
        check_shape("rowwise_adagrad", "length of squares", rows.ids.len(), squares.squares.len())?;
        isa.dispatch(Touched { rates: Rates::new(self), rows, squares: Some(squares), params, sum });
        Ok(())
    }
}

/// The scalars of one step, rounded to f32 once.
#[derive(Clone, Copy)]
pub(crate) struct Rates {
    pub(crate) lr: f32,
    pub(crate) eps: f32,
    pub(crate) weight_decay: f32,
}

impl Rates {
    pub(crate) fn new(spec: &RowwiseAdagrad) -> Self {
        Self { lr: spec.lr as f32, eps: spec.eps as f32, weight_decay: spec.weight_decay as f32 }
    }

    /// Updates one row and its accumulator.
    #[inline(always)]
    pub(crate) fn apply(self, params: &mut [f32], grads: &[f32], sum: &mut f32) {
        let squares = self.sum_of_squares(params, grads);
        let rate = self.accumulate(squares, params.len(), sum);
        self.descend(params, grads, rate);
    }

    #[inline(always)]
    fn accumulate(self, squares: f32, dim: usize, sum: &mut f32) -> f32 {
        *sum += squares / dim as f32;
        self.lr / (sum.sqrt() + self.eps)
    }

    #[inline(always)]
    fn descend(self, params: &mut [f32], grads: &[f32], rate: f32) {
        for (p, &g) in params.iter_mut().zip(grads) {
            *p -= rate * (g + self.weight_decay * *p);
        }
    }

    /// Lane `j` takes elements `j, j + 16, ..`; then the upper half of the lanes is added to the lower, down to one.
    #[inline(always)]
    fn sum_of_squares(self, params: &[f32], grads: &[f32]) -> f32 {
        let mut lanes = [0.0_f32; LANES];
        let (g_chunks, g_rest) = grads.as_chunks::<LANES>();
        let (p_chunks, p_rest) = params.as_chunks::<LANES>();
        for (g, p) in g_chunks.iter().zip(p_chunks) {
            for j in 0..LANES {
                let x = g[j] + self.weight_decay * p[j];
                lanes[j] += x * x;
            }
        }
        for ((lane, &g), &p) in lanes.iter_mut().zip(g_rest).zip(p_rest) {
            let x = g + self.weight_decay * p;
            *lane += x * x;
        }
        let mut width = LANES;
        while width > 1 {
            width /= 2;
            for j in 0..width {
                lanes[j] += lanes[j + width];
            }
        }
        lanes[0]
    }
}

struct Whole<'a> {
    rates: Rates,
    dim: usize,
    params: &'a mut [f32],
    grads: &'a [f32],
    sum: &'a mut [f32],
}

impl Kernel for Whole<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Simd>(self, _: V) {
        let rows = self.params.chunks_exact_mut(self.dim).zip(self.grads.chunks_exact(self.dim));
        for ((params, grads), sum) in rows.zip(self.sum) {
            self.rates.apply(params, grads, sum);
        }
    }
}

struct Touched<'a> {
    rates: Rates,
    rows: Rows<'a>,
    squares: Option<RowSquares<'a>>,
    params: &'a mut [f32],
    sum: &'a mut [f32],
}

impl Kernel for Touched<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Simd>(self, _: V) {
        let Self { rates, rows, squares, params, sum } = self;
        for (i, &id) in rows.ids.iter().enumerate() {
            rows.prefetch(i, params);
            let (params, grads, sum) = (&mut params[rows.range(i)], rows.grad(i), &mut sum[id as usize]);
            match squares {
                None => rates.apply(params, grads, sum),
                Some(whole) => {
                    let rate = rates.accumulate(whole.squares[i], whole.full_dim, sum);
                    rates.descend(params, grads, rate);
                }
            }
        }
    }
}

struct Squares<'a> {
    rates: Rates,
    rows: Rows<'a>,
    params: &'a [f32],
    squares: &'a mut [f32],
}

impl Kernel for Squares<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Simd>(self, _: V) {
        for (i, square) in self.squares.iter_mut().enumerate() {
            self.rows.prefetch(i, self.params);
            *square = self.rates.sum_of_squares(&self.params[self.rows.range(i)], self.rows.grad(i));
        }
    }
}

//! Pooled lookup (the sum of each bag's rows) and its gradient, fused with the row-wise Adagrad update.

use super::Table;
use super::sort::{SortBuffers, id_of, origin_of, pair};
use crate::error::{Error, check_shape};
use crate::isa::{Isa, Kernel, Simd};
use crate::optimizer::{RowwiseAdagrad, RowwiseRates, check_rows};
use crate::prefetch::prefetch;

/// Rows ahead of the current one that are requested from memory.
const PREFETCH_AHEAD: usize = 10;
/// Columns summed in registers at a time.
const COLUMNS: usize = 64;

/// The ids of each bag, one bag after the other.
#[derive(Clone, Copy, Debug)]
pub struct Bags<'a> {
    /// Local rows.
    pub ids: &'a [u32],
    /// Bag `b` has `ids[offsets[b]..offsets[b + 1]]`; one more offset than bags, from 0 to the number of ids.
    pub offsets: &'a [usize],
}

impl Bags<'_> {
    fn check(&self, op: &'static str, n_rows: usize, pooled: usize, dim: usize) -> Result<(), Error> {
        let bags = self.offsets.len().saturating_sub(1);
        check_shape(op, "length of the pooled rows", bags * dim, pooled)?;
        check_shape(op, "first offset", 0, self.offsets.first().copied().unwrap_or(0))?;
        check_shape(op, "last offset", self.ids.len(), self.offsets.last().copied().unwrap_or(0))?;
        if !self.offsets.is_sorted() {
            let got = "an offset under its predecessor".to_owned();
            return Err(Error::Value { op, what: "offsets", expected: "ascending", got });
        }
        check_rows(op, self.ids, n_rows)
    }
}

/// A table shard whose rows are trained by row-wise Adagrad.
#[derive(Debug)]
pub struct RowwiseTable<'a> {
    /// Values `[rows, dim]`.
    pub rows: &'a mut [f32],
    /// Accumulated mean squares `[rows]`.
    pub sum: &'a mut [f32],
    /// Values of a row.
    pub dim: usize,
}

/// Writes the sum of each bag's rows, added in the order of its ids, into `out` `[bags, dim]`; an empty bag gives zeros.
///
/// # Errors
/// [`Error::Shape`] where lengths differ, [`Error::Value`] where an id is no row of the table or offsets do not ascend.
pub fn bag_forward(table: Table<'_>, bags: Bags<'_>, out: &mut [f32], isa: Isa) -> Result<(), Error> {
    bags.check("bag_forward", table.n_rows(), out.len(), table.dim)?;
    if table.dim > 0 {
        isa.dispatch(Forward { table, bags, out });
    }
    Ok(())
}

/// Adds up each row's gradient over the bags it is in, in the order of occurrence, and updates the row.
///
/// `d_out` `[bags, dim]` is the gradient of the pooled rows. Rows in no bag stay as they are.
///
/// # Errors
/// [`Error::Shape`] where lengths differ, [`Error::Value`] where an id is no row of the table or offsets do not ascend.
pub fn bag_backward_rowwise_adagrad(
    table: RowwiseTable<'_>,
    bags: Bags<'_>,
    d_out: &[f32],
    spec: &RowwiseAdagrad,
    buffers: &mut SortBuffers,
    isa: Isa,
) -> Result<(), Error> {
    const OP: &str = "bag_backward_rowwise_adagrad";
    check_shape(OP, "length of the table", table.sum.len() * table.dim, table.rows.len())?;
    bags.check(OP, table.sum.len(), d_out.len(), table.dim)?;
    if table.dim == 0 {
        return Ok(());
    }
    buffers.pairs.clear();
    for (bag, ends) in bags.offsets.windows(2).enumerate() {
        buffers.pairs.extend(bags.ids[ends[0]..ends[1]].iter().map(|&id| pair(id, bag as u32)));
    }
    buffers.sort();
    let SortBuffers { pairs, rows: grad, .. } = buffers;
    grad.resize(table.dim, 0.0);
    isa.dispatch(Backward { table, pairs, d_out, rates: RowwiseRates::new(spec), grad });
    Ok(())
}

struct Forward<'a> {
    table: Table<'a>,
    bags: Bags<'a>,
    out: &'a mut [f32],
}

/// The rows of one bag, and the ids whose rows are requested meanwhile.
#[derive(Clone, Copy)]
struct Bag<'a> {
    table: Table<'a>,
    ids: &'a [u32],
    ahead: &'a [u32],
}

impl Bag<'_> {
    /// Sums one stretch of columns; `WIDTH` is known, so the sums stay in registers.
    #[inline(always)]
    fn sum<const WIDTH: usize>(self, column: usize, out: &mut [f32]) {
        let Table { rows, dim } = self.table;
        let mut sums = [0.0_f32; WIDTH];
        for (i, &id) in self.ids.iter().enumerate() {
            // One request for each stretch that is read, so that requests never pile up.
            if let Some(&ahead) = self.ahead.get(i) {
                prefetch(rows, ahead as usize * dim + column, WIDTH);
            }
            let start = id as usize * dim + column;
            let row = &rows[start..start + WIDTH];
            for (sum, &value) in sums.iter_mut().zip(row) {
                *sum += value;
            }
        }
        out[column..column + WIDTH].copy_from_slice(&sums);
    }
}

impl Kernel for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Simd>(self, _: V) {
        let Self { table, bags, out } = self;
        for (ends, out) in bags.offsets.windows(2).zip(out.chunks_exact_mut(table.dim)) {
            let ids = &bags.ids[ends[0]..ends[1]];
            let ahead = bags.ids.get(ends[0] + PREFETCH_AHEAD..).unwrap_or_default();
            let bag = Bag { table, ids, ahead };
            let mut column = 0;
            while column + COLUMNS <= table.dim {
                bag.sum::<COLUMNS>(column, out);
                column += COLUMNS;
            }
            while column + 8 <= table.dim {
                bag.sum::<8>(column, out);
                column += 8;
            }
            while column < table.dim {
                bag.sum::<1>(column, out);
                column += 1;
            }
        }
    }
}

struct Backward<'a> {
    table: RowwiseTable<'a>,
    pairs: &'a [u64],
    d_out: &'a [f32],
    rates: RowwiseRates,
    grad: &'a mut [f32],
}

impl Kernel for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Simd>(self, _: V) {
        let Self { table: RowwiseTable { rows, sum, dim }, pairs, d_out, rates, grad } = self;
        let bag = |pair: u64| &d_out[origin_of(pair) * dim..(origin_of(pair) + 1) * dim];
        let mut i = 0;
        while i < pairs.len() {
            let id = id_of(pairs[i]);
            let mut end = i + 1;
            while end < pairs.len() && id_of(pairs[end]) == id {
                end += 1;
            }
            for &ahead in
                &pairs[(i + PREFETCH_AHEAD).min(pairs.len())..(end + PREFETCH_AHEAD).min(pairs.len())]
            {
                prefetch(rows, id_of(ahead) as usize * dim, dim);
                prefetch(sum, id_of(ahead) as usize, 1);
            }
            let start = id as usize * dim;
            let (row, sum) = (&mut rows[start..start + dim], &mut sum[id as usize]);
            if end == i + 1 {
                rates.apply(row, bag(pairs[i]), sum);
            } else {
                grad.copy_from_slice(bag(pairs[i]));
                for &pair in &pairs[i + 1..end] {
                    for (total, &g) in grad.iter_mut().zip(bag(pair)) {
                        *total += g;
                    }
                }
                rates.apply(row, grad, sum);
            }
            i = end;
        }
    }
}

//! Views of f32 matrices in borrowed memory; a transpose is a swap of strides.

use crate::error::Error;

/// A read-only matrix: element (i, j) lies at `data[i * row_stride + j * col_stride]`.
#[derive(Debug, Clone, Copy)]
pub struct MatrixRef<'a, T = f32> {
    data: &'a [T],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

/// A writable matrix whose rows are contiguous: element (i, j) lies at `data[i * row_stride + j]`.
#[derive(Debug)]
pub struct MatrixMut<'a, T = f32> {
    data: &'a mut [T],
    rows: usize,
    cols: usize,
    row_stride: usize,
}

/// Returns how many elements a strided matrix spans, or `usize::MAX` where that overflows.
fn span(rows: usize, cols: usize, row_stride: usize, col_stride: usize) -> usize {
    if rows == 0 || cols == 0 {
        return 0;
    }
    (rows - 1)
        .saturating_mul(row_stride)
        .saturating_add((cols - 1).saturating_mul(col_stride))
        .saturating_add(1)
}

fn check_span(op: &'static str, needed: usize, len: usize) -> Result<(), Error> {
    if needed <= len {
        return Ok(());
    }
    Err(Error::Shape { op, what: "length of a matrix's memory", expected: needed, got: len })
}

impl<'a, T: Copy> MatrixRef<'a, T> {
    /// Returns a view of `[rows, cols]` in row-major memory without gaps.
    ///
    /// # Errors
    /// [`Error::Shape`] where `data` is too short.
    pub fn row_major(data: &'a [T], rows: usize, cols: usize) -> Result<Self, Error> {
        Self::strided(data, [rows, cols], [cols, 1])
    }

    /// Returns a view of `shape = [rows, cols]` with `strides = [row_stride, col_stride]` in elements.
    ///
    /// # Errors
    /// [`Error::Shape`] where `data` is too short.
    pub fn strided(data: &'a [T], shape: [usize; 2], strides: [usize; 2]) -> Result<Self, Error> {
        let ([rows, cols], [row_stride, col_stride]) = (shape, strides);
        check_span("matrix", span(rows, cols, row_stride, col_stride), data.len())?;
        Ok(Self { data, rows, cols, row_stride, col_stride })
    }

    /// Returns the same elements with rows and columns swapped.
    pub fn transposed(self) -> Self {
        Self {
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            ..self
        }
    }

    /// Returns the number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Returns the number of columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Returns the distance between two rows in elements.
    pub fn row_stride(&self) -> usize {
        self.row_stride
    }

    /// Returns the distance between two columns in elements.
    pub fn col_stride(&self) -> usize {
        self.col_stride
    }

    /// Returns the memory, starting at element (0, 0).
    pub fn data(&self) -> &'a [T] {
        self.data
    }

    /// Returns element (i, j).
    pub fn at(&self, i: usize, j: usize) -> T {
        self.data[i * self.row_stride + j * self.col_stride]
    }
}

impl<'a, T: Copy> MatrixMut<'a, T> {
    /// Returns a writable view of `[rows, cols]` in row-major memory without gaps.
    ///
    /// # Errors
    /// [`Error::Shape`] where `data` is too short.
    pub fn row_major(data: &'a mut [T], rows: usize, cols: usize) -> Result<Self, Error> {
        Self::strided(data, [rows, cols], cols)
    }

    /// Returns a writable view of `shape = [rows, cols]` whose rows lie `row_stride` elements apart.
    ///
    /// # Errors
    /// [`Error::Shape`] where `data` is too short or rows would overlap.
    pub fn strided(data: &'a mut [T], shape: [usize; 2], row_stride: usize) -> Result<Self, Error> {
        let [rows, cols] = shape;
        if rows > 1 && row_stride < cols {
            return Err(Error::Shape { op: "matrix", what: "row stride", expected: cols, got: row_stride });
        }
        check_span("matrix", span(rows, cols, row_stride, 1), data.len())?;
        Ok(Self { data, rows, cols, row_stride })
    }

    /// Returns the number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Returns the number of columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Returns the distance between two rows in elements.
    pub fn row_stride(&self) -> usize {
        self.row_stride
    }

    /// Returns the memory, starting at element (0, 0).
    pub fn data(&mut self) -> &mut [T] {
        self.data
    }

    /// Returns row `i`, `cols` long.
    pub fn row(&mut self, i: usize) -> &mut [T] {
        let start = i * self.row_stride;
        &mut self.data[start..start + self.cols]
    }
}

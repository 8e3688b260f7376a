//! Matrix products by cuBLAS, on row-major matrices.
#![allow(unsafe_code, reason = "calls of cuBLAS; each block says what makes it sound")]

use std::ffi::c_void;
use std::sync::Arc;

use cudarc::cublas::{result, sys};

use super::Error;
use super::bf16::Bf16;
use super::device::Device;
use super::memory::{Scalar, View, ViewMut};
use super::streams::Streams;
use crate::error::check_shape;
use crate::gemm::Beta;

/// An element type of factors; sums are f32 for each.
pub trait Operand: Scalar {
    /// The type as cuBLAS names it.
    #[doc(hidden)]
    const TYPE: sys::cudaDataType_t;
}

impl Operand for f32 {
    const TYPE: sys::cudaDataType_t = sys::cudaDataType_t::CUDA_R_32F;
}

impl Operand for Bf16 {
    const TYPE: sys::cudaDataType_t = sys::cudaDataType_t::CUDA_R_16BF;
}

/// A factor of a product.
#[derive(Debug, Clone, Copy)]
pub struct Factor<'a, T = f32> {
    view: View<'a, T>,
    rows: usize,
    cols: usize,
    transposed: bool,
}

impl<'a, T: Operand> Factor<'a, T> {
    /// Returns `view` as a row-major matrix `[rows, cols]`.
    pub fn new(view: View<'a, T>, rows: usize, cols: usize) -> Self {
        Self { view, rows, cols, transposed: false }
    }

    /// Returns the transpose.
    #[must_use]
    pub fn transposed(self) -> Self {
        Self { rows: self.cols, cols: self.rows, transposed: !self.transposed, ..self }
    }

    /// The distance of rows in memory, as cuBLAS wants it.
    fn leading(&self) -> usize {
        if self.transposed { self.rows } else { self.cols }.max(1)
    }

    /// cuBLAS sees columns first, so a row-major matrix is its transpose; the product's order is swapped for that.
    fn operation(&self) -> sys::cublasOperation_t {
        if self.transposed {
            sys::cublasOperation_t::CUBLAS_OP_T
        } else {
            sys::cublasOperation_t::CUBLAS_OP_N
        }
    }
}

/// A cuBLAS handle on the compute stream.
#[derive(Debug)]
pub(super) struct Blas {
    handle: sys::cublasHandle_t,
    streams: Arc<Streams>,
}

// SAFETY: cuBLAS allows a handle to be used from any thread, one at a time; see `Sync`.
unsafe impl Send for Blas {}
// SAFETY: the only call after construction is a product, which leaves the handle's settings as they are; cuBLAS
// documents such calls on one handle as thread-safe.
unsafe impl Sync for Blas {}

fn failed(call: &'static str) -> impl FnOnce(result::CublasError) -> Error {
    move |error| Error::Blas { call, text: format!("{:?}", error.0) }
}

impl Blas {
    pub(super) fn new(streams: &Arc<Streams>, tf32: bool) -> Result<Self, Error> {
        streams.bind()?;
        let handle = result::create_handle().map_err(failed("make a handle"))?;
        let blas = Self { handle, streams: Arc::clone(streams) };
        // SAFETY: the handle was just made, and the stream lives as long as `streams`.
        unsafe { result::set_stream(handle, streams.compute.cu_stream().cast()) }
            .map_err(failed("set the stream"))?;
        if tf32 {
            // SAFETY: the handle was just made.
            unsafe { sys::cublasSetMathMode(handle, sys::cublasMath_t::CUBLAS_TF32_TENSOR_OP_MATH) }
                .result()
                .map_err(failed("switch on TF32"))?;
        }
        Ok(blas)
    }
}

impl Drop for Blas {
    fn drop(&mut self) {
        if self.streams.bind().is_ok() {
            // SAFETY: the handle is this value's own and is not used after this.
            let _ = unsafe { result::destroy_handle(self.handle) };
        }
    }
}

fn dimension(what: &'static str, value: usize) -> Result<i32, Error> {
    i32::try_from(value).map_err(|_| Error::TooLarge { op: "gemm", what, got: value })
}

/// Computes `C = A B` or `C += A B` with `c [rows of a, cols of b]`, row-major, in sums of f32.
///
/// # Errors
/// [`crate::Error::Shape`] where the shapes do not fit together, else cuBLAS's.
pub fn gemm<T: Operand>(
    device: &Device,
    a: Factor<'_, T>,
    b: Factor<'_, T>,
    c: &mut ViewMut<'_, f32>,
    beta: Beta,
) -> Result<(), Error> {
    let (m, k, n) = (a.rows, a.cols, b.cols);
    check_shape("gemm", "rows of b", k, b.rows)?;
    check_shape("gemm", "length of a", m * k, a.view.len())?;
    check_shape("gemm", "length of b", k * n, b.view.len())?;
    check_shape("gemm", "length of c", m * n, c.len())?;
    if m == 0 || n == 0 {
        return Ok(());
    }
    if k == 0 {
        return if beta == Beta::Overwrite { device.zero(c) } else { Ok(()) };
    }
    let blas = device.blas();
    blas.streams.bind()?;
    let (one, keep) = (1.0_f32, if beta == Beta::Overwrite { 0.0_f32 } else { 1.0 });
    let (rows, cols, depth) =
        (dimension("columns of b", n)?, dimension("rows of a", m)?, dimension("columns of a", k)?);
    let (lead_a, lead_b) = (dimension("row of a", a.leading())?, dimension("row of b", b.leading())?);
    // SAFETY: the three views span exactly the matrices of these sizes (checked above) in buffers that they borrow;
    // c is borrowed exclusively. The call is ordered by the compute stream, on which memory is used again only later.
    // The scalars are read during the call, as the pointer mode is the host's.
    unsafe {
        result::gemm_ex(
            blas.handle,
            b.operation(),
            a.operation(),
            rows,
            cols,
            depth,
            (&raw const one).cast(),
            b.view.address() as *const c_void,
            T::TYPE,
            lead_b,
            a.view.address() as *const c_void,
            T::TYPE,
            lead_a,
            (&raw const keep).cast(),
            c.address() as *mut c_void,
            f32::TYPE,
            rows,
            sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
            sys::cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT,
        )
    }
    .map_err(failed("multiply"))
}

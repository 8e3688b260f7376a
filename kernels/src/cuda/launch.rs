//! Launches: arguments are checked against the kernel's signature, sizes against the device.
//!
//! A launch names its kernel and lists its arguments in order. The list is held against the signature that
//! `build_fatbin.py` read from the source, so a wrong number, type or mutability of arguments panics at the first
//! test and cannot reach a device. That lengths fit is the op's file to check, before it launches.
#![allow(unsafe_code, reason = "a launch hands addresses to the device; the note says what makes it sound")]

use cudarc::driver::result;

use super::Error;
use super::device::Device;
use super::memory::{Scalar, View, ViewMut};

/// Types of elements and values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    /// `__nv_bfloat16`
    Bf16,
    /// `float`
    F32,
    /// `double`
    F64,
    /// `uint32_t`
    U32,
    /// `uint64_t`
    U64,
}

/// What a kernel's parameter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// An address to read from.
    In(Element),
    /// An address to write to.
    Out(Element),
    /// A number.
    Value(Element),
}

/// Blocks and threads of a launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    /// Blocks in x and y.
    pub(super) grid: [usize; 2],
    /// Threads of a block.
    pub(super) threads: u32,
    /// Bytes of dynamic shared memory.
    pub(super) shared: u32,
}

/// Threads of a block where an op has no reason for another number.
pub(super) const THREADS: u32 = 256;

impl Shape {
    /// Enough blocks of [`THREADS`] for one thread per item.
    pub(super) fn items(items: usize) -> Self {
        Self::blocks(items.div_ceil(THREADS as usize))
    }

    /// That many blocks of [`THREADS`].
    pub(super) fn blocks(blocks: usize) -> Self {
        Self { grid: [blocks, 1], threads: THREADS, shared: 0 }
    }
}

/// A launch that is being put together.
pub(super) struct Launch<'a> {
    device: &'a Device,
    name: &'static str,
    kinds: Vec<Kind>,
    values: Vec<u64>,
}

impl<'a> Launch<'a> {
    pub(super) fn new(device: &'a Device, name: &'static str) -> Self {
        Self { device, name, kinds: Vec::with_capacity(24), values: Vec::with_capacity(24) }
    }

    fn push(mut self, kind: Kind, value: u64) -> Self {
        self.kinds.push(kind);
        self.values.push(value);
        self
    }

    /// Adds memory to read.
    pub(super) fn input<T: Scalar>(self, view: View<'_, T>) -> Self {
        self.push(Kind::In(T::ELEMENT), view.address())
    }

    /// Adds memory to read, or a null pointer.
    pub(super) fn input_or_null<T: Scalar>(self, view: Option<View<'_, T>>) -> Self {
        self.push(Kind::In(T::ELEMENT), view.map_or(0, |view| view.address()))
    }

    /// Adds memory to write.
    pub(super) fn output<T: Scalar>(self, view: &mut ViewMut<'_, T>) -> Self {
        self.push(Kind::Out(T::ELEMENT), view.address())
    }

    /// Adds memory to write, or a null pointer.
    pub(super) fn output_or_null<T: Scalar>(self, view: Option<&mut ViewMut<'_, T>>) -> Self {
        self.push(Kind::Out(T::ELEMENT), view.map_or(0, |view| view.address()))
    }

    /// Adds a number.
    pub(super) fn value<T: Scalar>(self, value: T) -> Self {
        self.push(Kind::Value(T::ELEMENT), value.to_parameter())
    }

    /// Launches on the compute stream; a grid without blocks does nothing.
    pub(super) fn run(self, shape: Shape) -> Result<(), Error> {
        self.launch(shape, false)
    }

    /// Launches with all blocks resident at once.
    pub(super) fn run_cooperatively(self, shape: Shape) -> Result<(), Error> {
        self.launch(shape, true)
    }

    fn launch(mut self, shape: Shape, cooperative: bool) -> Result<(), Error> {
        let kernel = self.device.module().kernel(self.name);
        assert_eq!(self.kinds, kernel.parameters, "arguments of {}", self.name);
        let [x, y] = shape.grid;
        if x == 0 || y == 0 {
            return Ok(());
        }
        assert!(shape.threads > 0 && shape.threads <= 1024, "{} threads a block", shape.threads);
        let x = i32::try_from(x).map_err(|_| Error::TooLarge {
            op: self.name,
            what: "blocks of the grid",
            got: x,
        })?;
        // The grid's second dimension ends at 16 bits.
        let y = u16::try_from(y).map_err(|_| Error::TooLarge {
            op: self.name,
            what: "rows of the grid",
            got: y,
        })?;
        kernel.allow_shared(shape.shared)?;
        self.device.streams().bind()?;
        let mut parameters: Vec<*mut std::ffi::c_void> =
            self.values.iter_mut().map(|value| std::ptr::from_mut(value).cast()).collect();
        let launch = if cooperative { result::launch_cooperative_kernel } else { result::launch_kernel };
        // SAFETY: the parameters' number, types and mutability are the kernel's (asserted above against the signature
        // from its source); each value's low bytes are the parameter on a little-endian machine. Addresses are of
        // views, which borrow their buffers for this call; memory that is freed after it is used again in the order
        // of this stream (memory.rs). Lengths were checked by the op that made the launch, and the tests run each
        // kernel under AddressSanitizer. The module outlives the device's launches.
        let launched = unsafe {
            launch(
                kernel.function,
                (x as u32, u32::from(y), 1),
                (shape.threads, 1, 1),
                shape.shared,
                self.device.streams().compute.cu_stream(),
                &mut parameters,
            )
        };
        launched.map_err(|error| match Error::driver("launch")(error) {
            Error::Driver { call, code, text } => {
                Error::Driver { call, code, text: format!("{}: {text}", self.name) }
            }
            other => other,
        })
    }
}

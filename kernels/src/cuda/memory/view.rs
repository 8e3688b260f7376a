//! Views into device memory: an address and a length, with the lifetime of the buffer that they borrow.

use std::marker::PhantomData;
use std::ops::Range;

use crate::cuda::bf16::Bf16;
use crate::cuda::launch::Element;

/// An element type of device memory: plain numbers, for which all bytes are values.
pub trait Scalar: Copy + Default + Send + Sync + sealed::Sealed + 'static {
    /// The type's name for the kernels' signatures.
    #[doc(hidden)]
    const ELEMENT: Element;

    /// The value's bytes as a kernel's parameter, in the low bytes.
    #[doc(hidden)]
    fn to_parameter(self) -> u64;
}

mod sealed {
    /// Keeps other types out.
    pub trait Sealed {}
    impl Sealed for crate::cuda::bf16::Bf16 {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
    impl Sealed for u32 {}
    impl Sealed for u64 {}
}

impl Scalar for Bf16 {
    const ELEMENT: Element = Element::Bf16;
    fn to_parameter(self) -> u64 {
        u64::from(self.0)
    }
}

impl Scalar for f32 {
    const ELEMENT: Element = Element::F32;
    fn to_parameter(self) -> u64 {
        u64::from(self.to_bits())
    }
}

impl Scalar for f64 {
    const ELEMENT: Element = Element::F64;
    fn to_parameter(self) -> u64 {
        self.to_bits()
    }
}

impl Scalar for u32 {
    const ELEMENT: Element = Element::U32;
    fn to_parameter(self) -> u64 {
        u64::from(self)
    }
}

impl Scalar for u64 {
    const ELEMENT: Element = Element::U64;
    fn to_parameter(self) -> u64 {
        self
    }
}

/// Elements of device memory to read.
#[derive(Debug, Clone, Copy)]
pub struct View<'a, T> {
    address: u64,
    len: usize,
    buffer: PhantomData<&'a [T]>,
}

/// Elements of device memory to write.
#[derive(Debug)]
pub struct ViewMut<'a, T> {
    address: u64,
    len: usize,
    buffer: PhantomData<&'a mut [T]>,
}

fn check_range(range: &Range<usize>, len: usize) {
    assert!(range.start <= range.end && range.end <= len, "{range:?} of {len} elements");
}

impl<'a, T: Scalar> View<'a, T> {
    pub(super) fn new(address: u64, len: usize) -> Self {
        Self { address, len, buffer: PhantomData }
    }

    /// Returns the number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the elements `range`; panics where it goes past the end, as a slice does.
    #[must_use]
    pub fn range(self, range: Range<usize>) -> Self {
        check_range(&range, self.len);
        Self::new(self.address + (range.start * size_of::<T>()) as u64, range.len())
    }

    pub(in crate::cuda) fn address(&self) -> u64 {
        self.address
    }

    /// Returns whether vectors of four f32 can be read from its start.
    pub(in crate::cuda) fn is_aligned(&self) -> bool {
        self.address.is_multiple_of(16)
    }
}

impl<'a, T: Scalar> ViewMut<'a, T> {
    pub(super) fn new(address: u64, len: usize) -> Self {
        Self { address, len, buffer: PhantomData }
    }

    /// Returns the number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the elements `range`; panics where it goes past the end, as a slice does.
    pub fn range(&mut self, range: Range<usize>) -> ViewMut<'_, T> {
        check_range(&range, self.len);
        ViewMut::new(self.address + (range.start * size_of::<T>()) as u64, range.len())
    }

    /// Returns the first `middle` elements and the others.
    #[must_use]
    pub fn split_at(self, middle: usize) -> (Self, Self) {
        check_range(&(middle..self.len), self.len);
        let right = self.address + (middle * size_of::<T>()) as u64;
        (Self::new(self.address, middle), Self::new(right, self.len - middle))
    }

    /// Returns the same elements to read.
    pub fn as_view(&self) -> View<'_, T> {
        View::new(self.address, self.len)
    }

    /// Returns the same elements for a call that takes the view.
    pub fn reborrow(&mut self) -> ViewMut<'_, T> {
        ViewMut::new(self.address, self.len)
    }

    pub(in crate::cuda) fn address(&self) -> u64 {
        self.address
    }

    /// Returns whether vectors of four f32 can be written at its start.
    pub(in crate::cuda) fn is_aligned(&self) -> bool {
        self.address.is_multiple_of(16)
    }
}

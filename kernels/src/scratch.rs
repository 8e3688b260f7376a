//! Memory that a thread keeps between kernel calls, so that a training step allocates nothing once warm.

use crate::isa::Isa;
use crate::lstm;

/// Bytes to which packed panels are aligned: one cache line, which is also one AVX-512 vector.
const ALIGNMENT: usize = 64;

/// A growable f32 buffer whose contents start on a cache line.
#[derive(Debug, Default)]
pub struct AlignedBuffer {
    storage: Vec<f32>,
    len: usize,
}

impl AlignedBuffer {
    /// Makes the buffer `len` long and returns it; contents are unspecified, memory is kept when it shrinks.
    pub fn resize(&mut self, len: usize) -> &mut [f32] {
        let slack = ALIGNMENT / size_of::<f32>();
        if self.storage.len() < len + slack {
            self.storage = vec![0.0; len + slack];
        }
        self.len = len;
        self.as_mut_slice()
    }

    /// Returns the contents.
    pub fn as_slice(&self) -> &[f32] {
        let start = self.start();
        &self.storage[start..start + self.len]
    }

    /// Returns the contents for writing.
    pub fn as_mut_slice(&mut self) -> &mut [f32] {
        let start = self.start();
        &mut self.storage[start..start + self.len]
    }

    fn start(&self) -> usize {
        if self.len == 0 { 0 } else { self.storage.as_ptr().align_offset(ALIGNMENT) }
    }
}

/// The instruction set and the reusable memory of one thread; each kernel call borrows it.
#[derive(Debug)]
pub struct Scratch {
    isa: Isa,
    pub(crate) packed_a: AlignedBuffer,
    pub(crate) packed_b: AlignedBuffer,
    pub(crate) lstm: lstm::Buffers,
}

impl Scratch {
    /// Returns empty scratch memory for kernels at that instruction-set level.
    pub fn new(isa: Isa) -> Self {
        Self {
            isa,
            packed_a: AlignedBuffer::default(),
            packed_b: AlignedBuffer::default(),
            lstm: lstm::Buffers::default(),
        }
    }

    /// Returns the instruction-set level that kernels called with this scratch run at.
    pub fn isa(&self) -> Isa {
        self.isa
    }
}

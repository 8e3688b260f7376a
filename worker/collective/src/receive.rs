//! Where received messages go, and the element types that the typed calls take.

use bytemuck::Pod;

use crate::signature::Dtype;

/// Takes the messages of a collective, one per rank.
pub trait Receive {
    /// The `bytes` bytes into which the message of `rank` is written, or nothing where a message of that size
    /// cannot be taken.
    ///
    /// A message may arrive in parts: the call is then repeated with the same arguments, and must return the
    /// same memory with its contents untouched.
    fn slot(&mut self, rank: usize, bytes: usize) -> Option<&mut [u8]>;
}

/// An element type of the typed collectives.
pub trait Element: Pod {
    /// Its code on the wire.
    const DTYPE: Dtype;
}

macro_rules! elements {
    ($($element:ty => $dtype:ident),*) => {
        $(impl Element for $element {
            const DTYPE: Dtype = Dtype::$dtype;
        })*
    };
}
elements!(u8 => U8, u32 => U32, u64 => U64, i64 => I64, f32 => F32, f64 => F64);

/// One vector per rank, sized by the call; capacity is reused from call to call.
impl<T: Element> Receive for Vec<Vec<T>> {
    fn slot(&mut self, rank: usize, bytes: usize) -> Option<&mut [u8]> {
        if !bytes.is_multiple_of(size_of::<T>()) {
            return None;
        }
        if self.len() <= rank {
            self.resize_with(rank + 1, Vec::new);
        }
        let vector = &mut self[rank];
        vector.resize(bytes / size_of::<T>(), T::zeroed());
        Some(bytemuck::cast_slice_mut(vector))
    }
}

/// Takes no message but empty ones.
pub(crate) struct Nothing;

impl Receive for Nothing {
    fn slot(&mut self, _rank: usize, bytes: usize) -> Option<&mut [u8]> {
        (bytes == 0).then_some(&mut [])
    }
}

/// Takes the message of one rank, of a size known before, and empty ones of the others.
pub(crate) struct From<'a> {
    pub(crate) rank: usize,
    pub(crate) data: &'a mut [u8],
}

impl Receive for From<'_> {
    fn slot(&mut self, rank: usize, bytes: usize) -> Option<&mut [u8]> {
        if rank == self.rank {
            (bytes == self.data.len()).then_some(&mut *self.data)
        } else {
            (bytes == 0).then_some(&mut [])
        }
    }
}

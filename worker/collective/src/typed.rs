//! The collectives over vectors of numbers instead of bytes.

use crate::Collective;
use crate::error::Error;
use crate::receive::Element;

/// Typed calls of any [`Collective`]; the element type is part of what ranks agree on.
pub trait CollectiveExt: Collective {
    /// Sends `send[r]` to each rank r; `recv[r]` becomes what rank r sent to this one.
    ///
    /// Sizes may differ and may be zero.
    ///
    /// # Errors
    /// As [`Collective::all_to_all_bytes`].
    fn all_to_all<T: Element>(&mut self, send: &[&[T]], recv: &mut Vec<Vec<T>>) -> Result<(), Error> {
        recv.resize_with(self.world_size(), Vec::new);
        let send: Vec<&[u8]> = send.iter().map(|message| bytemuck::cast_slice(message)).collect();
        self.all_to_all_bytes(T::DTYPE, &send, recv)
    }

    /// Sends `mine` to all ranks; `recv[r]` becomes what rank r sent.
    ///
    /// Sizes may differ and may be zero.
    ///
    /// # Errors
    /// As [`Collective::all_gather_bytes`].
    fn all_gather<T: Element>(&mut self, mine: &[T], recv: &mut Vec<Vec<T>>) -> Result<(), Error> {
        recv.resize_with(self.world_size(), Vec::new);
        self.all_gather_bytes(T::DTYPE, bytemuck::cast_slice(mine), recv)
    }

    /// Overwrites `data` with that of rank `root`; as long on all ranks.
    ///
    /// # Errors
    /// As [`Collective::broadcast_bytes`].
    fn broadcast<T: Element>(&mut self, root: usize, data: &mut [T]) -> Result<(), Error> {
        self.broadcast_bytes(T::DTYPE, root, bytemuck::cast_slice_mut(data))
    }
}

impl<C: Collective + ?Sized> CollectiveExt for C {}

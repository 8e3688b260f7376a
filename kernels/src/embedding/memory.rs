//! Memory for table shards: zeroed, aligned to cache lines, on huge pages where the system has them.
//!
//! A lookup reads rows all over a table, so with pages of 4 KiB most reads also wait for an address translation.
#![allow(unsafe_code, reason = "page-aligned memory and madvise have no safe interface; this file owns both")]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// Bytes of a huge page on x86-64 and on most arm64 systems.
const HUGE_PAGE: usize = 2 << 20;
/// Bytes of a cache line.
const LINE: usize = 64;

/// A fixed number of f32, made as zeros; it derefs to a slice.
#[derive(Debug)]
pub struct TableMemory {
    start: NonNull<f32>,
    len: usize,
}

// SAFETY: the memory is owned by this value alone and holds plain f32, like a `Box<[f32]>`.
unsafe impl Send for TableMemory {}
// SAFETY: shared access only reads, as for a `Box<[f32]>`.
unsafe impl Sync for TableMemory {}

impl TableMemory {
    /// Returns `len` zeros.
    pub fn zeroed(len: usize) -> Self {
        let Some(layout) = Self::layout(len) else {
            return Self { start: NonNull::dangling(), len: 0 };
        };
        // SAFETY: `layout` gives a layout only for a size above zero.
        let memory = unsafe { alloc(layout) };
        let Some(start) = NonNull::new(memory.cast::<f32>()) else { handle_alloc_error(layout) };
        // The advice comes before the first write: pages are chosen when they are first touched. It is only advice,
        // so a refusal changes nothing but speed.
        #[cfg(target_os = "linux")]
        if layout.align() == HUGE_PAGE {
            // SAFETY: the range is exactly the allocation above, and this advice never changes its contents.
            unsafe { libc::madvise(memory.cast(), layout.size(), libc::MADV_HUGEPAGE) };
        }
        // SAFETY: the allocation holds `len` f32, for which all-zero bytes are the value 0.
        unsafe { start.write_bytes(0, len) };
        Self { start, len }
    }

    /// Returns how `len` values are allocated; none for no values.
    fn layout(len: usize) -> Option<Layout> {
        let size = len.checked_mul(size_of::<f32>()).expect("a table's bytes fit an address");
        let align = if size >= HUGE_PAGE { HUGE_PAGE } else { LINE };
        (size > 0).then(|| Layout::from_size_align(size, align).expect("a table's bytes fit an address"))
    }
}

impl Default for TableMemory {
    fn default() -> Self {
        Self::zeroed(0)
    }
}

impl Clone for TableMemory {
    fn clone(&self) -> Self {
        Self::from(&**self)
    }
}

impl From<&[f32]> for TableMemory {
    fn from(values: &[f32]) -> Self {
        let mut memory = Self::zeroed(values.len());
        memory.copy_from_slice(values);
        memory
    }
}

impl Deref for TableMemory {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: `start` points to `len` initialized f32 that this value owns (dangling, but aligned, for none).
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl DerefMut for TableMemory {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as in `deref`, and `self` is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl Drop for TableMemory {
    fn drop(&mut self) {
        if let Some(layout) = Self::layout(self.len) {
            // SAFETY: the memory came from `alloc` with this very layout, and nothing borrows it any more.
            unsafe { dealloc(self.start.as_ptr().cast(), layout) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_zeroed_aligned_and_its_own() {
        for len in [0, 1, 1000, HUGE_PAGE / 4 + 7] {
            let mut memory = TableMemory::zeroed(len);
            assert_eq!(memory.len(), len);
            assert!(memory.iter().all(|&value| value == 0.0));
            assert!(len == 0 || memory.as_ptr().cast::<u8>().align_offset(LINE) == 0);
            let copy = memory.clone();
            memory.fill(2.0);
            assert!(copy.iter().all(|&value| value == 0.0));
            assert_eq!(*TableMemory::from(&memory[..]), memory[..]);
        }
    }
}

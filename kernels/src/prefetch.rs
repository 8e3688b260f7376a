//! Asking for memory that will be read a little later.
#![allow(unsafe_code, reason = "the prefetch instruction takes a raw pointer; this file hides it")]

/// Values on one cache line.
const LINE: usize = 64 / size_of::<f32>();

/// Requests the cache lines of `array[start..start + len]`; a hint without any effect on results.
#[inline(always)]
pub(crate) fn prefetch(array: &[f32], start: usize, len: usize) {
    #[cfg(target_arch = "x86_64")]
    if let Some(row) = array.get(start..start + len) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // Rows need not start on a cache line, so the last value may lie on a line of its own.
        let fetch = |value: &f32| {
            // SAFETY: SSE is part of x86-64, and a prefetch reads nothing that the program could see, whatever the
            // address; here it even points into `array`.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(value).cast()) };
        };
        for line in row.chunks(LINE) {
            fetch(&line[0]);
        }
        row.last().into_iter().for_each(fetch);
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (array, start, len, LINE);
}

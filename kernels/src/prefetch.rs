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
        let request = |at: usize| {
            // SAFETY: SSE is part of x86-64, and a prefetch reads nothing that the program could see, whatever the
            // address; here it even lies in `row`, since `at` is under `len`.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(row.as_ptr().add(at).cast()) };
        };
        // Counted loops, four lines at a time: an iterator over the lines and the last value, or a mispredicted end of
        // the loop per row, costs more than the wait it saves.
        let mut at = 0;
        while at + 4 * LINE <= len {
            (0..4).for_each(|line| request(at + line * LINE));
            at += 4 * LINE;
        }
        while at < len {
            request(at);
            at += LINE;
        }
        // Rows need not start on a cache line, so the last value may lie on a line of its own.
        request(len.saturating_sub(1));
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (array, start, len, LINE);
}

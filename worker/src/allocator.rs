//! Memory that the allocator keeps of what was freed.
#![allow(unsafe_code, reason = "the C library's allocator has no safe interface")]

/// Gives freed memory back to the system, after work whose memory the steps that follow do not need: what a worker holds is
/// then what its model needs, and not what its largest evaluation did.
pub(crate) fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: malloc_trim takes the allocator's own locks and touches no memory that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}

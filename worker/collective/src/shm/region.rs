//! Memory that the ranks of one host share: counters and slots.
//!
//! The region is an anonymous file that only its users' descriptors and mappings keep alive: it has no name, so
//! a process that is killed leaves nothing behind. It cannot be resized, so a mapping stays valid for good.
//!
//! Size: [`Layout::SLOTS`] slots of [`Layout::SLOT_BYTES`] per rank, plus (world_size + 1) * world_size counters
//! of 128 bytes, rounded up to pages.

#![allow(unsafe_code, reason = "maps memory that other processes write")]

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags};
use rustix::mm::{MapFlags, ProtFlags};
use rustix::thread::futex;

/// Where things are in a region; follows from the number of ranks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    pub(crate) world_size: usize,
}

impl Layout {
    /// Slots of one rank, used in turn.
    pub(crate) const SLOTS: usize = 8;
    /// Bytes of a slot.
    pub(crate) const SLOT_BYTES: usize = 256 << 10;
    const PAGE: usize = 4096;

    fn counters(&self) -> usize {
        self.world_size * (self.world_size + 1)
    }

    fn slots_at(&self) -> usize {
        (self.counters() * size_of::<Counter>()).next_multiple_of(Self::PAGE)
    }

    /// Size of the region in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.slots_at() + self.world_size * Self::SLOTS * Self::SLOT_BYTES
    }
}

/// A number that one rank advances and others wait for; alone on its cache lines.
#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct Counter {
    value: AtomicU32,
    /// Ranks that sleep until the value changes.
    sleepers: AtomicU32,
}

impl Counter {
    /// The value; what its writer wrote before is visible to the caller.
    pub(crate) fn get(&self) -> u32 {
        self.value.load(Ordering::Acquire)
    }

    /// Sets the value, after which all that this thread wrote before is visible, and wakes who sleeps on it.
    pub(crate) fn set(&self, value: u32) {
        // Both this pair and the sleeper's are sequentially consistent: either the sleeper sees the new value,
        // or this thread sees the sleeper.
        self.value.store(value, Ordering::SeqCst);
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            self.wake();
        }
    }

    fn wake(&self) {
        // Waking fails for addresses that are none, and this one is mapped.
        let _ = futex::wake(&self.value, futex::Flags::empty(), i32::MAX as u32);
    }

    /// Sleeps while the value is `value`, for `limit` at most; may wake early.
    pub(crate) fn sleep(&self, value: u32, limit: std::time::Duration) {
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        if self.value.load(Ordering::SeqCst) == value {
            // A wait that the system cuts short is one that wakes early.
            let limit = rustix::time::Timespec::try_from(limit).ok();
            let _ = futex::wait(&self.value, futex::Flags::empty(), value, limit.as_ref());
        }
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A mapping of the shared memory.
#[derive(Debug)]
pub(crate) struct Region {
    layout: Layout,
    base: NonNull<u8>,
}

// SAFETY: the mapping belongs to the process, not to a thread, and lives until the region is dropped. Counters
// are atomics; slots are reached through `slot` alone, whose caller answers for exclusion.
unsafe impl Send for Region {}
// SAFETY: as above; no method changes the fields.
unsafe impl Sync for Region {}

impl Region {
    /// Makes a file for the region, its memory reserved and zero.
    pub(crate) fn create(layout: Layout) -> rustix::io::Result<OwnedFd> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = rustix::fs::memfd_create("muster-collective", flags)?;
        rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, layout.bytes() as u64)?;
        rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        Ok(file)
    }

    /// Opens the file that another process of this host has open.
    pub(crate) fn open(pid: u32, descriptor: u32) -> std::io::Result<OwnedFd> {
        let file = File::options().read(true).write(true).open(format!("/proc/{pid}/fd/{descriptor}"))?;
        Ok(file.into())
    }

    /// Maps a file that [`Region::create`] made, in this process or another.
    pub(crate) fn map(layout: Layout, file: OwnedFd) -> std::io::Result<Self> {
        let file = File::from(file);
        let seals = rustix::fs::fcntl_get_seals(&file)?;
        let expected = SealFlags::SHRINK | SealFlags::GROW;
        if file.metadata()?.size() != layout.bytes() as u64 || !seals.contains(expected) {
            return Err(std::io::Error::other("the file is no region of this group"));
        }
        let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED | MapFlags::POPULATE);
        // SAFETY: the kernel picks the address, so no other mapping is replaced. The file has the length that is
        // mapped and its seals forbid to shrink it, so no access can fault.
        let base = unsafe {
            rustix::mm::mmap(std::ptr::null_mut(), layout.bytes(), protection, flags, file.as_fd(), 0)?
        };
        let base =
            NonNull::new(base.cast()).ok_or_else(|| std::io::Error::other("mapped at address zero"))?;
        Ok(Self { layout, base })
    }

    pub(crate) fn world_size(&self) -> usize {
        self.layout.world_size
    }

    /// How many slots `rank` has filled.
    pub(crate) fn published(&self, rank: usize) -> &Counter {
        self.counter(rank)
    }

    /// How many slots of `writer` the rank `reader` is done with.
    pub(crate) fn released(&self, reader: usize, writer: usize) -> &Counter {
        self.counter(self.layout.world_size * (1 + reader) + writer)
    }

    fn counter(&self, index: usize) -> &Counter {
        assert!(index < self.layout.counters(), "counter {index} is outside the region");
        // SAFETY: the counters are the first `counters()` places of the mapping, which is aligned to pages and
        // lives as long as `self`. All-zero memory is a counter, its fields are atomics, and nothing else is
        // ever placed there.
        unsafe { self.base.cast::<Counter>().add(index).as_ref() }
    }

    /// The start of slot `number % SLOTS` of `rank`, of which [`Layout::SLOT_BYTES`] bytes are mapped.
    pub(crate) fn slot(&self, rank: usize, number: u32) -> NonNull<u8> {
        assert!(rank < self.layout.world_size, "rank {rank} is outside the region");
        let slot = rank * Layout::SLOTS + number as usize % Layout::SLOTS;
        // SAFETY: the offset is that of a slot inside the mapping, by the assertion and the modulus.
        unsafe { self.base.add(self.layout.slots_at() + slot * Layout::SLOT_BYTES) }
    }

    /// Wakes whoever sleeps in this region, to look around.
    pub(crate) fn wake_all(&self) {
        (0..self.layout.counters()).for_each(|index| self.counter(index).wake());
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: `map` made this mapping with this length, and borrows of it have ended with the region's.
        let unmapped = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.layout.bytes()) };
        debug_assert!(unmapped.is_ok(), "a mapping of ours can be unmapped");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAIR: Layout = Layout { world_size: 2 };

    #[test]
    fn a_region_takes_two_mebibytes_a_rank_and_its_counters() {
        let bytes = |world_size| Layout { world_size }.bytes();
        assert_eq!(bytes(2), (4 << 20) + 4096);
        assert_eq!(bytes(4), (8 << 20) + 4096);
        assert_eq!(bytes(8), (16 << 20) + 3 * 4096);
    }

    #[test]
    fn what_one_mapping_writes_another_reads() {
        let file = Region::create(PAIR).unwrap();
        let copy = Region::open(std::process::id(), std::os::fd::AsRawFd::as_raw_fd(&file) as u32).unwrap();
        let (one, other) = (Region::map(PAIR, file).unwrap(), Region::map(PAIR, copy).unwrap());
        one.released(1, 0).set(7);
        assert_eq!(other.released(1, 0).get(), 7);
        assert_eq!(other.published(0).get(), 0);
        assert_ne!(one.base, other.base);
    }

    #[test]
    fn a_file_that_could_shrink_or_has_another_size_is_not_mapped() {
        let file =
            rustix::fs::memfd_create("unsealed", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        rustix::fs::ftruncate(&file, PAIR.bytes() as u64).unwrap();
        assert!(Region::map(PAIR, file).is_err());
        assert!(Region::map(Layout { world_size: 3 }, Region::create(PAIR).unwrap()).is_err());
    }

    #[test]
    fn a_process_that_has_no_such_file_is_an_error() {
        assert!(Region::open(std::process::id(), 1_000_000).is_err());
    }
}

//! Which ranks run on one host, and so may share memory.

use std::fs;
use std::os::unix::fs::MetadataExt;

/// Equal for processes that see each other's file descriptors under `/proc`: same boot, process namespace, user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HostIdentity(pub(crate) [u8; Self::SIZE]);

impl HostIdentity {
    pub(crate) const SIZE: usize = 32;

    /// Of a process that cannot tell; equal to no other.
    pub(crate) const UNKNOWN: Self = Self([0; Self::SIZE]);

    /// This process's identity.
    pub(crate) fn current() -> Self {
        Self::read().unwrap_or(Self::UNKNOWN)
    }

    fn read() -> Option<Self> {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let boot = u128::from_str_radix(&boot.trim().replace('-', ""), 16).ok()?;
        let namespace = fs::metadata("/proc/self/ns/pid").ok()?.ino();
        let user = rustix::process::geteuid().as_raw();
        let mut identity = [0; Self::SIZE];
        identity[..16].copy_from_slice(&boot.to_le_bytes());
        identity[16..24].copy_from_slice(&namespace.to_le_bytes());
        identity[24..28].copy_from_slice(&user.to_le_bytes());
        Some(Self(identity))
    }

    /// Whether two processes are known to share a host.
    pub(crate) fn shares_with(&self, other: &Self) -> bool {
        *self != Self::UNKNOWN && self == other
    }
}

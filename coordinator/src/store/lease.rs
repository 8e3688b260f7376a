//! Leases: keys that go away unless somebody keeps saying that they should stay.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

/// Names a lease of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeaseId(pub i64);

/// A lease as it was granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Its name.
    pub id: LeaseId,
    /// How long it lasts after it was granted or kept alive.
    pub ttl: Duration,
}

/// The leases of a store that one process holds; they end with it at the latest.
#[derive(Debug, Default)]
pub(super) struct Leases {
    last: i64,
    deadlines: BTreeMap<LeaseId, Instant>,
}

impl Leases {
    pub(super) fn grant(&mut self, ttl: Duration, now: Instant) -> Lease {
        self.last += 1;
        let lease = Lease { id: LeaseId(self.last), ttl };
        self.deadlines.insert(lease.id, now + ttl);
        lease
    }

    /// Whether it was there to be renewed.
    pub(super) fn renew(&mut self, lease: Lease, now: Instant) -> bool {
        let deadline = self.deadlines.get_mut(&lease.id).filter(|deadline| **deadline > now);
        deadline.is_some_and(|deadline| {
            *deadline = now + lease.ttl;
            true
        })
    }

    pub(super) fn holds(&self, lease: LeaseId, now: Instant) -> bool {
        self.deadlines.get(&lease).is_some_and(|deadline| *deadline > now)
    }

    /// Ends a lease when the next one that asks for [`Self::take_ended`] does.
    pub(super) fn end(&mut self, lease: LeaseId, now: Instant) {
        if let Some(deadline) = self.deadlines.get_mut(&lease) {
            *deadline = now;
        }
    }

    /// Takes out those that have ended.
    pub(super) fn take_ended(&mut self, now: Instant) -> Vec<LeaseId> {
        let ended = self.deadlines.extract_if(.., |_, deadline| *deadline <= now);
        ended.map(|(lease, _)| lease).collect()
    }

    /// When the next one ends, if nothing is done about it.
    pub(super) fn next_end(&self) -> Option<Instant> {
        self.deadlines.values().min().copied()
    }
}

//! The ranks of a cohort, as close together as they can be kept.
//!
//! A job may have thousands of ranks, and each of them knows all: their addresses lie in one text, so that a list is
//! read and copied without an allocation for each.

use crate::ids::{Rank, WorkerId};

/// A rank as its peers see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its place in the job.
    pub rank: Rank,
    /// The worker that holds it.
    pub worker: WorkerId,
    /// `HOST:PORT` where its collectives listen.
    pub address: String,
}

/// All ranks in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Peers {
    workers: Vec<WorkerId>,
    /// All addresses, one after the other.
    addresses: String,
    /// Where each address ends.
    ends: Vec<usize>,
}

impl Peers {
    /// Number of ranks.
    #[must_use]
    pub fn len(&self) -> usize {
        self.workers.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.workers.is_empty()
    }

    /// The worker that holds `rank`, and where its collectives listen.
    #[must_use]
    pub fn get(&self, rank: Rank) -> Option<(WorkerId, &str)> {
        let index = rank.0 as usize;
        let worker = *self.workers.get(index)?;
        let begin = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        Some((worker, &self.addresses[begin..self.ends[index]]))
    }

    /// The workers and their addresses, in rank order.
    pub fn iter(&self) -> impl Iterator<Item = (WorkerId, &str)> {
        (0..).map(Rank).map_while(|rank| self.get(rank))
    }

    /// Each by itself, in rank order.
    #[must_use]
    pub fn to_vec(&self) -> Vec<Peer> {
        let peer = |(rank, (worker, address)): (Rank, (WorkerId, &str))| Peer {
            rank,
            worker,
            address: address.to_owned(),
        };
        (0..).map(Rank).zip(self.iter()).map(peer).collect()
    }

    /// None yet, with room for as many as there are: thousands of workers may read such a list at the same moment.
    pub(crate) fn emptied(&self) -> Self {
        Self {
            workers: Vec::with_capacity(self.workers.len()),
            addresses: String::with_capacity(self.addresses.len()),
            ends: Vec::with_capacity(self.ends.len()),
        }
    }

    /// Adds the next rank.
    pub fn push(&mut self, worker: WorkerId, address: &str) {
        self.workers.push(worker);
        self.addresses.push_str(address);
        self.ends.push(self.addresses.len());
    }

    /// All addresses, one after the other, and the length of each.
    pub(crate) fn addresses(&self) -> (&str, impl Iterator<Item = usize>) {
        let begins = std::iter::once(0).chain(self.ends.iter().copied());
        (&self.addresses, self.ends.iter().zip(begins).map(|(end, begin)| end - begin))
    }

    /// As [`Self::addresses`] gives them; `None` if the lengths are not those of the workers' addresses.
    pub(crate) fn from_addresses(workers: Vec<WorkerId>, addresses: String, lengths: &[u32]) -> Option<Self> {
        let mut end = 0;
        let ends: Vec<usize> = lengths
            .iter()
            .map(|length| {
                end += *length as usize;
                end
            })
            .collect();
        let fits = ends.len() == workers.len()
            && end == addresses.len()
            && ends.iter().all(|end| addresses.is_char_boundary(*end));
        fits.then_some(Self { workers, addresses, ends })
    }
}

impl<A: AsRef<str>> FromIterator<(WorkerId, A)> for Peers {
    fn from_iter<I: IntoIterator<Item = (WorkerId, A)>>(peers: I) -> Self {
        let mut all = Self::default();
        peers.into_iter().for_each(|(worker, address)| all.push(worker, address.as_ref()));
        all
    }
}

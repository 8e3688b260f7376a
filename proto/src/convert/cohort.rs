//! Cohorts: whole, or by what differs from the one before.
//!
//! A generation differs from the one before in a few ranks and shards, however many there are; so a worker that was
//! told the one before is told the difference. Bytes are made once, compressed, and shared by the messages to all ranks.

use std::io::{Read as _, Write as _};
use std::sync::Arc;

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use prost::Message as _;
use prost::bytes::Bytes;

use super::{Error, missing};
use crate::control::{Cohort, Peers, Prepare};
use crate::ids::{Generation, Rank, WorkerId};
use crate::sharding::{ShardingPlan, TablePlan};
use crate::wire;
use crate::wire::prepare::Cohort as Told;

const WHOLE: &str = "Cohort";
const CHANGE: &str = "CohortChange";

/// Size that a message may have once it is inflated: some hundred thousand ranks, and the longest of specs.
const MAX_BYTES: u64 = 64 << 20;

impl From<&Cohort> for wire::Cohort {
    fn from(cohort: &Cohort) -> Self {
        let (addresses, lengths) = cohort.peers.addresses();
        Self {
            worker_steps: steps(cohort.peers.iter().map(|(worker, _)| worker)),
            addresses: addresses.to_owned(),
            address_lengths: lengths.map(|length| length as u32).collect(),
            spec_toml: cohort.spec_toml.clone(),
            dataset_dir: cohort.dataset_dir.clone(),
            run_dir: cohort.run_dir.clone(),
            plan: Some((&cohort.plan).into()),
            collective_token: cohort.collective_token.to_vec(),
            checkpoint: cohort.checkpoint.clone(),
        }
    }
}

impl TryFrom<wire::Cohort> for Cohort {
    type Error = Error;

    fn try_from(cohort: wire::Cohort) -> Result<Self, Error> {
        let workers = cohort.worker_steps.into_iter().scan(0_u64, |worker, step| {
            *worker = worker.wrapping_add_signed(step);
            Some(WorkerId(*worker))
        });
        let peers = Peers::from_addresses(workers.collect(), cohort.addresses, &cohort.address_lengths);
        let peers = peers.ok_or(refuse(WHOLE, "address_lengths", "those of the ranks' addresses"))?;
        Ok(Self {
            peers,
            spec_toml: cohort.spec_toml,
            dataset_dir: cohort.dataset_dir,
            run_dir: cohort.run_dir,
            plan: cohort.plan.ok_or(missing(WHOLE, "plan"))?.try_into()?,
            collective_token: token(WHOLE, &cohort.collective_token)?,
            checkpoint: cohort.checkpoint,
        })
    }
}

impl Cohort {
    /// The cohort as it goes into each [`wire::Prepare`].
    #[must_use]
    pub fn encode(&self) -> Bytes {
        deflate(&wire::Cohort::from(self).encode_to_vec())
    }

    /// What differs from `base`, of generation `base_generation` of the same job, as it goes into each
    /// [`wire::Prepare`]; `None` where the two differ in more than ranks, owners, secret and checkpoint.
    #[must_use]
    pub fn encode_change(&self, base: &Self, base_generation: Generation) -> Option<Bytes> {
        if self.of_job() != base.of_job() {
            return None;
        }
        let change = wire::CohortChange {
            base_generation: base_generation.0,
            world_size: self.peers.len() as u32,
            peers: changed_peers(base, self),
            owners: changed_owners(&base.plan, &self.plan)?,
            collective_token: self.collective_token.to_vec(),
            checkpoint: self.checkpoint.clone(),
        };
        Some(deflate(&change.encode_to_vec()))
    }

    /// What no generation changes.
    fn of_job(&self) -> [&str; 3] {
        [&self.spec_toml, &self.dataset_dir, &self.run_dir]
    }

    /// The cohort that differs from this one by `change`.
    fn changed(&self, change: wire::CohortChange) -> Result<Self, Error> {
        let peers = self.changed_peers(change.world_size, change.peers)?;
        let mut plan = ShardingPlan { world_size: change.world_size, ..self.plan.clone() };
        let mut tables: Vec<&mut TablePlan> = plan.tables.values_mut().collect();
        for shard in change.owners {
            let table = tables.get_mut(shard.table as usize);
            let owner = table.and_then(|table| table.owners.get_mut(shard.block as usize));
            *owner.ok_or(refuse(CHANGE, "owners", "shards of the base's plan"))? = shard.owner;
        }
        let collective_token = token(CHANGE, &change.collective_token)?;
        let [spec_toml, dataset_dir, run_dir] = self.of_job().map(str::to_owned);
        let checkpoint = change.checkpoint;
        Ok(Self { peers, spec_toml, dataset_dir, run_dir, plan, collective_token, checkpoint })
    }

    fn changed_peers(&self, world_size: u32, changes: Vec<wire::Peer>) -> Result<Peers, Error> {
        let mut changes = changes.into_iter().peekable();
        let mut peers = self.peers.emptied();
        for rank in (0..world_size).map(Rank) {
            match (changes.next_if(|peer| peer.rank == rank.0), self.peers.get(rank)) {
                (Some(peer), _) => peers.push(WorkerId(peer.worker), &peer.address),
                (None, Some((worker, address))) => peers.push(worker, address),
                (None, None) => return Err(refuse(CHANGE, "world_size", "the number of ranks")),
            }
        }
        match changes.next() {
            None => Ok(peers),
            Some(_) => Err(refuse(CHANGE, "peers", "ranks of the cohort, in order")),
        }
    }
}

fn changed_peers(base: &Cohort, next: &Cohort) -> Vec<wire::Peer> {
    let ranks = (0..).map(Rank).zip(next.peers.iter());
    let news = ranks.filter(|(rank, peer)| base.peers.get(*rank) != Some(*peer));
    let peer = |(rank, (worker, address)): (Rank, (WorkerId, &str))| wire::Peer {
        rank: rank.0,
        worker: worker.0,
        address: address.to_owned(),
    };
    news.map(peer).collect()
}

fn changed_owners(base: &ShardingPlan, next: &ShardingPlan) -> Option<Vec<wire::OwnerChange>> {
    let ShardingPlan { world_size: _, micro_batches, tables } = next;
    if *micro_batches != base.micro_batches || !tables.keys().eq(base.tables.keys()) {
        return None;
    }
    let mut changes = Vec::new();
    for ((table, next), base) in (0..).zip(tables.values()).zip(base.tables.values()) {
        let TablePlan { placement, owners } = next;
        if *placement != base.placement || owners.len() != base.owners.len() {
            return None;
        }
        let moved = (0..).zip(owners.iter().zip(&base.owners)).filter(|(_, (owner, before))| owner != before);
        changes.extend(moved.map(|(block, (owner, _))| wire::OwnerChange { table, block, owner: *owner }));
    }
    Some(changes)
}

impl Prepare {
    /// On the wire, with the cohort as `told`.
    #[must_use]
    pub fn to_wire(&self, told: Told) -> wire::Prepare {
        wire::Prepare { fence: Some(self.fence.into()), rank: self.rank.0, cohort: Some(told) }
    }
}

/// Reads a cohort; `base` is the one that was told before, of that generation.
pub(super) fn read(told: Told, base: Option<(Generation, &Cohort)>) -> Result<Arc<Cohort>, Error> {
    let cohort = match told {
        Told::Whole(bytes) => decode::<wire::Cohort>(&bytes, WHOLE)?.try_into()?,
        Told::Change(bytes) => {
            let change = decode::<wire::CohortChange>(&bytes, CHANGE)?;
            let known = base.filter(|(generation, _)| generation.0 == change.base_generation);
            let (_, base) = known.ok_or(Error::UnknownBase { base: change.base_generation })?;
            base.changed(change)?
        }
    };
    Ok(Arc::new(cohort))
}

/// Each worker's difference from the one before it.
fn steps(workers: impl Iterator<Item = WorkerId>) -> Vec<i64> {
    let step = |before: &mut u64, WorkerId(worker): WorkerId| {
        let step = worker.wrapping_sub(*before).cast_signed();
        *before = worker;
        Some(step)
    };
    workers.scan(0, step).collect()
}

fn deflate(bytes: &[u8]) -> Bytes {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    let deflated = encoder.write_all(bytes).and_then(|()| encoder.finish());
    deflated.expect("a vector takes all that is written").into()
}

fn decode<M: prost::Message + Default>(deflated: &[u8], message: &'static str) -> Result<M, Error> {
    let undecodable = |problem: String| Error::Undecodable { message, problem };
    let mut bytes = Vec::new();
    let inflated = ZlibDecoder::new(deflated).take(MAX_BYTES).read_to_end(&mut bytes);
    inflated.map_err(|error| undecodable(error.to_string()))?;
    M::decode(bytes.as_slice()).map_err(|error| undecodable(error.to_string()))
}

fn token(message: &'static str, bytes: &[u8]) -> Result<[u8; 32], Error> {
    bytes.try_into().map_err(|_| refuse(message, "collective_token", "32 bytes"))
}

fn refuse(message: &'static str, field: &'static str, expected: &'static str) -> Error {
    Error::OutOfRange { message, field, expected }
}

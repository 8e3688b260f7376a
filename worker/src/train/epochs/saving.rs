//! Checkpoints on their way: what each has, its writing beside the steps, and its manifest once all ranks have written.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use muster_collective::{Collective, CollectiveExt};
use muster_proto::checkpoint::{Base, Manifest, Piece, SCHEMA_VERSION, model_digest};

use super::{Run, gather_ledger};
use crate::checkpoint::{self, Extent};
use crate::embedding::Mark;
use crate::train::{Error, Trainer};

impl Run<'_> {
    /// Starts to write a checkpoint of an `extent`, or of the one that is due; waits for the one before, if that is still
    /// being written.
    pub(super) fn save(&mut self, trainer: &mut Trainer, extent: Option<Extent>) -> Result<(), Error> {
        if self.pending.is_some() {
            self.publish()?;
        }
        let begun = Instant::now();
        trainer.sync_host()?;
        let Some(run) = &self.place.run else { return Ok(()) };
        let location = checkpoint::location_of(run, trainer.step, self.place.writer.generation);
        let mut manifest = self.manifest(trainer)?;
        let rank = self.collective.rank() as u32;
        let extent = match extent {
            Some(extent) => extent,
            None => self.extent(trainer, rank)?,
        };
        let snapshot = trainer.snapshot(rank, extent);
        match extent {
            Extent::Increment => manifest.base.clone_from(&self.base),
            Extent::Full if trainer.job.checkpoint.incremental_below > 0.0 => {
                trainer.mark(Mark::Checkpoint);
            }
            Extent::Full => {}
        }
        self.pending = Some((snapshot.write(location), manifest));
        self.record.totals.checkpoints.time += begun.elapsed();
        Ok(())
    }

    /// What is due: an increment where there is something to lie over, and few rows were written since, by their bytes
    /// on all ranks.
    fn extent(&mut self, trainer: &Trainer, rank: u32) -> Result<Extent, Error> {
        let below = trainer.job.checkpoint.incremental_below;
        if self.base.is_none() || below <= 0.0 {
            return Ok(Extent::Full);
        }
        let mine = trainer.written_bytes(rank, Mark::Checkpoint);
        let mut all = vec![mine.to_vec()];
        if self.collective.world_size() > 1 {
            self.collective.all_gather::<u64>(&mine, &mut all)?;
        }
        let sum = |place: usize| all.iter().map(|of_rank| of_rank[place]).sum::<u64>() as f64;
        Ok(if sum(0) < below * sum(1) { Extent::Increment } else { Extent::Full })
    }

    /// The manifest of the step at hand, still without pieces.
    fn manifest(&mut self, trainer: &Trainer) -> Result<Manifest, Error> {
        let ledger = gather_ledger(trainer, self.collective)?;
        Ok(Manifest {
            schema_version: SCHEMA_VERSION,
            writer: self.place.writer,
            job: trainer.job_text(),
            dataset: trainer.dataset.manifest().digest.clone(),
            numerics: trainer.numerics().to_owned(),
            tables: trainer.set.tables.iter().map(|t| t.decl.clone()).collect(),
            step: trainer.step,
            ledger,
            validation: self.record.validation.clone(),
            base: None,
            pieces: BTreeMap::new(),
            model_digest: String::new(),
        })
    }

    /// Waits for this rank's pieces, gathers everyone's, and lets rank 0 write the manifest.
    pub(super) fn publish(&mut self) -> Result<Option<(Manifest, PathBuf)>, Error> {
        let Some((pending, mut manifest)) = self.pending.take() else { return Ok(None) };
        let begun = Instant::now();
        let (step, location) = (pending.step, pending.location.clone());
        // A rank whose disk failed still takes part, so that the others learn of it now.
        let mine = pending.wait();
        let pieces = gather_pieces(mine, self.collective)?;
        manifest.model_digest = model_digest(&pieces);
        manifest.pieces = pieces;
        if manifest.pieces.values().all(|piece| piece.rows.is_none()) {
            manifest.base = None;
        }
        if self.collective.rank() == 0 {
            // Older ones go before the new one is there: the coordinator may not have heard of it yet, and the next
            // generation must find the one that it knows.
            if let Some(run) = &self.place.run {
                checkpoint::retain(run, self.place.keep, manifest.base.as_ref())?;
            }
            checkpoint::commit(&location, &manifest)?;
        }
        let bytes = manifest.pieces.values().map(|p| p.bytes).sum();
        let folder = location.address();
        if manifest.base.is_none() {
            let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            self.base = Some(Base { folder: name, model_digest: manifest.model_digest.clone() });
        }
        let at = (self.collective.rank() == 0).then_some(&folder);
        self.hooks.saved(step, manifest.pieces.len(), bytes, at);
        self.record.totals.checkpoints.add(bytes, begun.elapsed());
        Ok(Some((manifest, folder)))
    }
}

/// The pieces of all ranks; an error on any rank is an error on all.
pub(super) fn gather_pieces(
    mine: Result<BTreeMap<String, Piece>, checkpoint::Error>,
    collective: &mut dyn Collective,
) -> Result<BTreeMap<String, Piece>, Error> {
    let failed = mine.is_err();
    let text =
        serde_json::to_vec(mine.as_ref().unwrap_or(&BTreeMap::new())).expect("pieces have string keys");
    let mut all = vec![text.clone()];
    if collective.world_size() > 1 {
        let mut message = vec![u8::from(failed)];
        message.extend_from_slice(&text);
        collective.all_gather::<u8>(&message, &mut all)?;
        if let Some(rank) = all.iter().position(|m| m.first() == Some(&1)) {
            mine?;
            return Err(Error::PeerDisk { rank });
        }
        all.iter_mut().for_each(|message| *message = message.split_off(1));
    } else {
        mine?;
    }
    let parse = |bytes: &Vec<u8>| serde_json::from_slice::<BTreeMap<String, Piece>>(bytes);
    let mut pieces = BTreeMap::new();
    for (rank, bytes) in all.iter().enumerate() {
        pieces.extend(parse(bytes).map_err(|_| Error::PeerDisk { rank })?);
    }
    Ok(pieces)
}

//! What outlives the processes of a simulated cluster: the disk, the log of what happened, and planted bugs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use muster_cli::lineage::Entry;
use muster_proto::checkpoint::mix;
use serde::{Deserialize, Serialize};

/// Lets simulated time pass; nobody waits for it.
pub(crate) use tokio::time::sleep as pass;

pub(crate) const STEPS: u64 = 100;
pub(crate) const MICRO_BATCHES: u32 = 8;
pub(crate) const SHARDS: u32 = 8;
pub(crate) const TABLE: &str = "items";

/// Bugs of the kind that a system like this may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Planted {
    /// The store forgets what it had acknowledged shortly before a crash: generations are used twice.
    StoreForgets,
    /// A checkpoint is published and told of before its pieces are written.
    ManifestFirst,
    /// A copy counts as of the step that is just beginning: the cursor is ahead of the model.
    CursorFirst,
    /// After a loss each rank takes its own newest pieces, of whatever step.
    MixedCut,
    /// Ranks go on from the newest checkpoint there is, not counting the steps since: the data cursor is not restored.
    CursorLost,
}

impl Planted {
    pub(crate) const ALL: [Self; 5] =
        [Self::StoreForgets, Self::ManifestFirst, Self::CursorFirst, Self::MixedCut, Self::CursorLost];
}

/// The model at a step: the pieces that are at hand, and what it was trained on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Cut {
    pub(crate) step: u64,
    pub(crate) samples: u64,
    pub(crate) pieces: BTreeMap<u32, u64>,
}

impl Cut {
    /// Initial values.
    pub(crate) fn start() -> Self {
        Self {
            step: 0,
            samples: 0,
            pieces: (0..SHARDS).map(|shard| (shard, mix(u64::from(shard)))).collect(),
        }
    }

    /// One step, of which `sum` is what all micro-batches contribute.
    pub(crate) fn apply(&mut self, sum: u64, samples: u64) {
        self.step += 1;
        self.samples += samples;
        for (shard, piece) in &mut self.pieces {
            *piece = mix(*piece ^ sum.wrapping_add(u64::from(*shard)));
        }
    }

    pub(crate) fn digest(&self) -> u64 {
        self.pieces.values().fold(0, |digest, piece| mix(digest ^ piece))
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.pieces.len() == SHARDS as usize
    }
}

/// What a micro-batch adds to a step.
pub(crate) fn contribution(step: u64, micro_batch: u32) -> u64 {
    mix(step * u64::from(MICRO_BATCHES) + u64::from(micro_batch) + 1)
}

/// The model that one process would train.
pub(crate) fn undisturbed() -> Cut {
    let mut model = Cut::start();
    for step in 0..STEPS {
        let sum = (0..MICRO_BATCHES).fold(0u64, |sum, batch| sum.wrapping_add(contribution(step, batch)));
        model.apply(sum, u64::from(MICRO_BATCHES));
    }
    model
}

/// Storage that all workers see.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    pub(crate) pieces: BTreeMap<(String, u32), u64>,
    /// Step and samples, by folder.
    pub(crate) manifests: BTreeMap<String, (u64, u64)>,
}

impl Disk {
    /// The checkpoint in a folder, or the newest one; a piece that is missing has no value.
    pub(crate) fn load(&self, folder: Option<&str>) -> Option<Cut> {
        let (folder, (step, samples)) = match folder {
            Some(folder) => self.manifests.get_key_value(folder)?,
            None => {
                self.manifests.iter().max_by_key(|(folder, (step, _))| (*step, folder.as_str().to_owned()))?
            }
        };
        let piece = |shard| (shard, self.pieces.get(&(folder.clone(), shard)).copied().unwrap_or_default());
        Some(Cut { step: *step, samples: *samples, pieces: (0..SHARDS).map(piece).collect() })
    }
}

/// Shared by all processes of a cluster, and by the test.
#[derive(Clone, Default)]
pub(crate) struct World {
    pub(crate) disk: Arc<Mutex<Disk>>,
    /// By rank 0.
    pub(crate) log: Arc<Mutex<Vec<Entry>>>,
    /// The models that ranks 0 said they ended with.
    pub(crate) ended: Arc<Mutex<Vec<Cut>>>,
    /// Which worker began as which rank of which generation.
    pub(crate) ranks: Arc<Mutex<BTreeMap<(u64, u32), String>>>,
    pub(crate) breaches: Arc<Mutex<Vec<String>>>,
    pub(crate) planted: Option<Planted>,
}

impl World {
    pub(crate) fn has(&self, bug: Planted) -> bool {
        self.planted == Some(bug)
    }

    pub(crate) fn note(&self, entry: Entry) {
        self.log.lock().unwrap().push(entry);
    }

    /// One rank of one generation has one holder.
    pub(crate) fn take_rank(&self, generation: u64, rank: u32, holder: &str) {
        let before = self.ranks.lock().unwrap().insert((generation, rank), holder.to_owned());
        if let Some(before) = before.filter(|before| before != holder) {
            let breach =
                format!("rank {rank} of generation {generation} was held by {before} and by {holder}");
            self.breaches.lock().unwrap().push(breach);
        }
    }
}

//! The manifest of a checkpoint: which logical pieces there are, with a digest each, and what was trained.
//!
//! A manifest is written last; a folder without one is no checkpoint. It says nothing about the cluster that wrote
//! it, so it loads under any plan and any number of workers.
//!
//! A checkpoint is full, or an increment over a full one of the same run, its base: of some pieces it then has only the
//! rows written since. A base is never an increment itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::sharding::TableDecl;

/// Version of the manifest's schema that this program writes.
pub const SCHEMA_VERSION: u32 = 2;
/// The oldest version that it reads; in it, all checkpoints are full.
pub const OLDEST_SCHEMA_VERSION: u32 = 1;
/// Name of the manifest in a checkpoint's folder.
pub const MANIFEST_FILE: &str = "manifest.json";

/// A checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of this schema.
    pub schema_version: u32,
    /// Generation and incarnation of the writer.
    pub writer: Writer,
    /// The job, as TOML.
    pub job: String,
    /// Digest of the dataset's manifest.
    pub dataset: String,
    /// The kernels' numeric contract.
    pub numerics: String,
    /// The tables, as the job declares them over the dataset.
    pub tables: Vec<TableDecl>,
    /// Optimizer steps that went into the weights.
    pub step: u64,
    /// Which samples those steps took.
    pub ledger: Ledger,
    /// State of validation and early stopping.
    pub validation: Validation,
    /// The full checkpoint that this one is an increment over; absent: this one is full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Base>,
    /// The pieces by name.
    pub pieces: BTreeMap<String, Piece>,
    /// Digest over the names and digests of all pieces: the same for a full checkpoint and an increment of one model.
    pub model_digest: String,
}

/// The full checkpoint that an increment lies over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Base {
    /// Its folder, beside the increment's.
    pub folder: String,
    /// Its `model_digest`.
    pub model_digest: String,
}

/// Who wrote a checkpoint; an older one is refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Writer {
    /// Generation of the job.
    pub generation: u64,
    /// Incarnation of the worker that wrote the manifest.
    pub incarnation: u64,
}

/// One logical piece in a file of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Piece {
    /// File name in the checkpoint's folder.
    pub file: String,
    /// Size of the file in bytes.
    pub bytes: u64,
    /// BLAKE3 of the whole piece as a full checkpoint has it: of the file, or of the base's file with these rows laid over.
    pub digest: String,
    /// What the file has where it is not the whole piece; absent: all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<Rows>,
}

/// A file with only those rows of a table shard that were written since the base.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rows {
    /// How many rows the file has.
    pub count: u64,
    /// BLAKE3 of the file.
    pub digest: String,
}

impl Piece {
    /// BLAKE3 of the file.
    #[must_use]
    pub fn file_digest(&self) -> &str {
        self.rows.as_ref().map_or(&self.digest, |rows| &rows.digest)
    }
}

impl Manifest {
    /// What contradicts itself in the manifest, if something does.
    #[must_use]
    pub fn contradiction(&self) -> Option<String> {
        if model_digest(&self.pieces) != self.model_digest {
            return Some("model_digest is not the digest of the pieces it lists".into());
        }
        match &self.base {
            None => {
                let rows = self.pieces.iter().find(|(_, piece)| piece.rows.is_some());
                rows.map(|(name, _)| format!("piece {name} has only some rows, but no base is named"))
            }
            // The folder is one of the run's; a path would lead out of it.
            Some(base)
                if base.folder.is_empty() || base.folder.contains(['/', '\\']) || base.folder == ".." =>
            {
                Some(format!("its base {:?} is not the name of a folder", base.folder))
            }
            Some(_) => None,
        }
    }
}

/// Bytes that copies in memory take on one worker at most, between two steps: its `own` pieces and those of its `neighbour`
/// (the rank before it) and the `dense` parameters, all with optimizer state; and once more, until the next step shows
/// that all ranks have the newest copy, what `touched` (0 to 1) of the rows takes that were written since the copy before.
/// From a half on, and in the first copy of a generation, pieces go whole. Each row's number takes four bytes besides.
///
/// While a copy is made, a part of 16 MiB at most on its way to the next rank and one from the rank before are in memory too.
#[must_use]
pub fn copies_bytes(own: f64, neighbour: f64, dense: f64, touched: f64) -> f64 {
    let again = if touched < 0.5 { touched } else { 1.0 };
    (1.0 + again) * (own + neighbour) + 2.0 * dense
}

/// What was trained: order and counts of samples.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ledger {
    /// Training samples of each micro-batch's group.
    pub group_sizes: Vec<u64>,
    /// Per epoch begun so far: what the steps taken in it trained, as counted while training.
    pub epochs: Vec<Counted>,
}

/// Samples as counted by the workers while they trained.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counted {
    /// Number of samples.
    pub samples: u64,
    /// Wrapping sum of the mixed identities of the samples: equal sums mean equal sets, but for a chance of 2^-64.
    pub identities: u64,
}

impl Counted {
    /// Counts one sample.
    pub fn add(&mut self, sample: u64) {
        self.samples += 1;
        self.identities = self.identities.wrapping_add(mix(sample));
    }

    /// Adds what another worker counted.
    pub fn merge(&mut self, other: Self) {
        self.samples += other.samples;
        self.identities = self.identities.wrapping_add(other.identities);
    }
}

/// State of validation and early stopping.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Validation {
    /// Best value of the metric so far.
    pub best: Option<f64>,
    /// Step of the best value.
    pub best_step: Option<u64>,
    /// Validations since.
    pub since_best: u32,
    /// Metrics of the newest validation.
    pub metrics: BTreeMap<String, f64>,
}

/// Digest over the names and digests of pieces; two models agree when it does.
#[must_use]
pub fn model_digest(pieces: &BTreeMap<String, Piece>) -> String {
    let mut hasher = blake3::Hasher::new();
    for (name, piece) in pieces {
        for part in [name, &piece.digest] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
    }
    hasher.finalize().to_hex().to_string()
}

/// Scatters the bits of an identity: SplitMix64's finalizer (Steele, Lea and Flood 2014). Results depend on it.
#[must_use]
pub fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_two_workers_equal_the_count_of_one() {
        let (mut one, mut a, mut b) = (Counted::default(), Counted::default(), Counted::default());
        for sample in 0..100 {
            one.add(sample);
            if sample % 3 == 0 { a.add(sample) } else { b.add(sample) }
        }
        b.merge(a);
        assert_eq!(one, b);
    }

    #[test]
    fn a_sample_counted_twice_for_another_shows() {
        let (mut right, mut wrong) = (Counted::default(), Counted::default());
        (0..10).for_each(|s| right.add(s));
        (0..9).chain([3]).for_each(|s| wrong.add(s));
        assert_eq!(right.samples, wrong.samples);
        assert_ne!(right.identities, wrong.identities);
    }

    #[test]
    fn the_digest_covers_names_and_contents() {
        let piece = |digest: &str| Piece { file: "f".into(), bytes: 1, digest: digest.into(), rows: None };
        let digest = |name: &str, d: &str| model_digest(&BTreeMap::from([(name.to_owned(), piece(d))]));
        assert_ne!(digest("a", "bc"), digest("ab", "c"));
        assert_ne!(digest("a", "b"), digest("a", "c"));
    }
}

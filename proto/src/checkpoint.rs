//! The manifest of a checkpoint: which logical pieces there are, with a digest each, and what was trained.
//!
//! A manifest is written last; a folder without one is no checkpoint. It says nothing about the cluster that wrote
//! it, so it loads under any plan and any number of workers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::sharding::TableDecl;

/// Version of the manifest's schema that this program writes and reads.
pub const SCHEMA_VERSION: u32 = 1;
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
    /// The pieces by name.
    pub pieces: BTreeMap<String, Piece>,
    /// Digest over the names and digests of all pieces.
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
    /// BLAKE3 of the file.
    pub digest: String,
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
        let piece = |digest: &str| Piece { file: "f".into(), bytes: 1, digest: digest.into() };
        let digest = |name: &str, d: &str| model_digest(&BTreeMap::from([(name.to_owned(), piece(d))]));
        assert_ne!(digest("a", "bc"), digest("ab", "c"));
        assert_ne!(digest("a", "b"), digest("a", "c"));
    }
}

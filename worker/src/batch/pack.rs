//! Packing: sequences of a micro-batch, longest first, time-major, without padding.

use muster_kernels::dropout::RowKey;
use muster_kernels::lstm::Layout;

use super::corpus::{Corpus, Group, Sample};

/// A packed micro-batch. Token (t, i) is event t of the i-th longest sequence; all `[tokens]` are in that order.
#[derive(Debug, Clone)]
pub struct MicroBatch {
    /// Where the tokens of each time are.
    pub layout: Layout,
    /// Logical sample of each sequence, in packed order.
    pub samples: Vec<u64>,
    /// Item of each token's event, `[tokens]`; empty for a series.
    pub items: Vec<u32>,
    /// Per categorical feature of the model, `[tokens]`.
    pub categorical: Vec<Vec<u32>>,
    /// Numeric inputs, `[tokens, numeric]`.
    pub numeric: Vec<f32>,
    /// The next item, `[tokens]`; empty when the batch has only histories.
    pub targets: Vec<u32>,
    /// The label of the next event, `[tokens]`, or the target vectors of a series, `[sequences, outputs]`.
    pub labels: Vec<f32>,
    /// Key of each token's dropout: its sample and its place in it, `[tokens]`.
    pub row_keys: Vec<RowKey>,
    /// Index of the last token of each sequence, `[sequences]`.
    pub last_tokens: Vec<u32>,
}

impl Default for MicroBatch {
    fn default() -> Self {
        Self {
            layout: layout_of(&[]),
            samples: Vec::new(),
            items: Vec::new(),
            categorical: Vec::new(),
            numeric: Vec::new(),
            targets: Vec::new(),
            labels: Vec::new(),
            row_keys: Vec::new(),
            last_tokens: Vec::new(),
        }
    }
}

/// The layout of sequences with these lengths, longest first.
fn layout_of(lengths: &[u32]) -> Layout {
    Layout::from_lengths(lengths).expect("sequences are sorted by length, longest first")
}

impl MicroBatch {
    /// An empty batch with room for `features` categorical features.
    #[must_use]
    pub fn with_features(features: usize) -> Self {
        Self { categorical: vec![Vec::new(); features], ..Self::default() }
    }

    /// Number of tokens.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.row_keys.len()
    }

    /// Number of sequences.
    #[must_use]
    pub fn sequences(&self) -> usize {
        self.samples.len()
    }

    /// Number of real targets (values, for a series): what a step's loss is averaged over.
    #[must_use]
    pub fn real_targets(&self) -> usize {
        if self.targets.is_empty() { self.labels.len() } else { self.targets.len() }
    }
}

/// Packs training samples: each event but the last is an input, the event after it the target.
#[must_use]
pub fn pack_samples(corpus: &Corpus, group: &Group, chosen: &[u64]) -> MicroBatch {
    let samples: Vec<Sample> = chosen.iter().map(|i| group.samples[*i as usize]).collect();
    let targets_follow = !corpus.is_series();
    pack(corpus, group, samples, targets_follow)
}

/// Packs whole histories: every event is an input and there are no targets.
#[must_use]
pub fn pack_histories(corpus: &Corpus, group: &Group, samples: Vec<Sample>) -> MicroBatch {
    pack(corpus, group, samples, false)
}

fn pack(corpus: &Corpus, group: &Group, mut samples: Vec<Sample>, targets_follow: bool) -> MicroBatch {
    let length = |s: &Sample| (s.end - s.start) as usize - usize::from(targets_follow && s.end > s.start);
    samples.sort_by_key(|s| (std::cmp::Reverse(length(s)), s.id));
    let lengths: Vec<u32> = samples.iter().map(|s| length(s) as u32).filter(|l| *l > 0).collect();
    samples.truncate(lengths.len());
    let layout = layout_of(&lengths);
    let mut batch = MicroBatch {
        categorical: vec![Vec::new(); corpus.features.categorical.len()],
        samples: samples.iter().map(|s| s.id).collect(),
        last_tokens: vec![0; samples.len()],
        ..MicroBatch::default()
    };
    for t in 0..layout.steps() {
        for (i, sample) in samples.iter().take(layout.batch_size(t)).enumerate() {
            batch.last_tokens[i] = batch.row_keys.len() as u32;
            group.push_event(corpus, sample, t, &mut batch);
            if targets_follow {
                group.push_target(corpus, sample, t + 1, &mut batch);
            }
        }
    }
    if corpus.is_series() {
        for sample in &samples {
            group.push_series_target(sample, &mut batch);
        }
    }
    batch.layout = layout;
    batch
}

//! Where the parts of the split begin, once it is known which events are left.
//!
//! Shares of a split by time become the times at which validation and test begin: the same for all users, found exactly.
//! Events of the time at which a part begins belong to that part, so that a part may be larger than its share.

use muster_proto::dataset::time::{format_iso8601, format_iso8601_exact};
use muster_proto::dataset::{DatasetKind, DatasetSpec, SplitKind, SplitSpec};
use serde::{Deserialize, Serialize};

use super::error::Error;
use super::filter::Counts;
use super::pass::{Bench, Crew, Pass};
use super::quantile::{Digits, Ordered, at_ranks};
use crate::store::{Cut, Partition};

/// The times at which validation and test begin, where a split has such. All else that a split is made of stands in the dataset
/// file.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Boundaries {
    valid_from: Option<String>,
    test_from: Option<String>,
}

impl Boundaries {
    pub(super) fn of(split: &SplitSpec) -> Self {
        Self { valid_from: split.valid_from.clone(), test_from: split.test_from.clone() }
    }

    /// The split of a dataset file with these times.
    fn split(&self, spec: &DatasetSpec) -> SplitSpec {
        let Self { valid_from, test_from } = self.clone();
        SplitSpec { valid_from, test_from, ..spec.split.clone() }
    }

    /// What is held out, as long as items have their provisional ids.
    pub(super) fn provisional_cut(&self, spec: &DatasetSpec) -> Cut {
        Cut::new(&self.split(spec), false)
    }

    /// What is held out, once items have their final ids.
    pub(super) fn cut(&self, spec: &DatasetSpec) -> Cut {
        Cut::new(&self.split(spec), spec.vocabulary.min_train_events > 0)
    }
}

/// Counts what is left with the boundaries that were found.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Recount {
    boundaries: Boundaries,
}

impl Pass for Recount {
    const NAME: &'static str = "recount";
    type Sum = Counts;

    fn zero(&self, bench: &Bench) -> Counts {
        Counts::zero(bench)
    }

    fn add(&self, bench: &Bench, counts: &mut Counts, index: usize) -> Result<(), Error> {
        let cut = self.boundaries.provisional_cut(&bench.spec);
        counts.add(&Partition { cut, ..bench.stage.load(index)? });
        Ok(())
    }

    fn merge(total: &mut Counts, part: Counts) {
        total.merge(&part);
    }
}

/// The split with the times of its parts, and what is counted again with them; of other kinds of split, what is known.
pub(super) fn apply(crew: &impl Crew, bench: &Bench, counts: Counts) -> Result<(SplitSpec, Counts), Error> {
    let spec = &bench.spec;
    if spec.split.kind != SplitKind::Time || spec.kind != DatasetKind::Events {
        return Ok((spec.split.clone(), counts));
    }
    let split = with_times(crew, bench, &counts)?;
    let recounted = crew.run(bench, &Recount { boundaries: Boundaries::of(&split) })?;
    if recounted.train_items.iter().all(|count| *count == 0) {
        let first = counts.time_range.map_or(0, |(first, _)| first);
        return Err(Error::NothingToTrain {
            valid_from: split.valid_from.unwrap_or_default(),
            first: format_iso8601(first),
        });
    }
    Ok((split, Counts { report: counts.report, ..recounted }))
}

fn with_times(crew: &impl Crew, bench: &Bench, counts: &Counts) -> Result<SplitSpec, Error> {
    let split = &bench.spec.split;
    let (Some((first, last)), None) = (counts.time_range, split.boundaries()) else {
        return Ok(split.clone());
    };
    let events = counts.report.rows_out;
    let held = |share: f64| (events as f64 * share).floor() as u64;
    let ranks = [split.valid + split.test, split.test].map(|share| events - held(share).min(events));
    // Keys are distances from the first time, so that a log of years takes four passes.
    let bits = u64::BITS - last.wrapping_sub(first).cast_unsigned().leading_zeros();
    let wanted: Vec<u64> = ranks.iter().copied().filter(|rank| *rank < events).collect();
    let found = at_ranks(bits.max(1), &wanted, |place| {
        crew.run(bench, &Digits { place, of: Ordered::Times { first } })
    })?;
    let mut found = found.into_iter();
    // A part without a share begins after everything.
    let [valid_from, test_from] = ranks.map(|rank| {
        let begins = if rank < events { found.next() } else { None };
        let time = begins.map_or(last.saturating_add(1), |begins| first.wrapping_add(begins.cast_signed()));
        Some(format_iso8601_exact(time))
    });
    Ok(SplitSpec { valid_from, test_from, ..split.clone() })
}

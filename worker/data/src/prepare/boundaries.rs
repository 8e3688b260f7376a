//! Where the parts of the split begin, once it is known which events are left.
//!
//! Shares of a split by time become the times at which validation and test begin: the same for all users, found exactly.
//! Events of the time at which a part begins belong to that part, so that a part may be larger than its share.

use muster_proto::dataset::time::{format_iso8601, format_iso8601_exact};
use muster_proto::dataset::{DatasetKind, DatasetSpec, SplitKind, SplitSpec};

use super::error::Error;
use super::filter::Counts;
use super::quantile::at_ranks;
use super::stage::Stage;
use crate::store::{Cut, Keys};

/// The split with the times of its parts, and what is counted again with them; of other kinds of split, what is known.
pub(super) fn apply(
    spec: &DatasetSpec,
    stage: &Stage,
    categories: &[Keys],
    counts: Counts,
) -> Result<(SplitSpec, Counts), Error> {
    if spec.split.kind != SplitKind::Time || spec.kind != DatasetKind::Events {
        return Ok((spec.split.clone(), counts));
    }
    let split = with_times(&spec.split, stage, &counts)?;
    let cut = Cut::new(&split, false);
    let recounted = stage.sum(
        || Counts::zero(counts.items.len(), categories),
        |counts, index| {
            let partition = stage.load(index)?;
            counts.add(&crate::store::Partition { cut, ..partition });
            Ok(())
        },
        |total, part| total.merge(&part),
    )?;
    if recounted.train_items.iter().all(|count| *count == 0) {
        let first = counts.time_range.map_or(0, |(first, _)| first);
        return Err(Error::NothingToTrain {
            valid_from: split.valid_from.unwrap_or_default(),
            first: format_iso8601(first),
        });
    }
    Ok((split, Counts { report: counts.report, ..recounted }))
}

fn with_times(split: &SplitSpec, stage: &Stage, counts: &Counts) -> Result<SplitSpec, Error> {
    let (Some((first, last)), None) = (counts.time_range, split.boundaries()) else {
        return Ok(split.clone());
    };
    let events = counts.report.rows_out;
    let held = |share: f64| (events as f64 * share).floor() as u64;
    let ranks = [split.valid + split.test, split.test].map(|share| events - held(share).min(events));
    // Keys are distances from the first time, so that a log of years takes four passes.
    let distance = |time: i64| time.wrapping_sub(first).cast_unsigned();
    let bits = u64::BITS - distance(last).leading_zeros();
    let wanted: Vec<u64> = ranks.iter().copied().filter(|rank| *rank < events).collect();
    let found = at_ranks(stage, bits.max(1), &wanted, |index, visit| {
        stage.load(index)?.times.iter().for_each(|time| visit(distance(*time)));
        Ok(())
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

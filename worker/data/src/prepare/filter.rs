//! Applies the rules on whole sequences to a partition, and counts what is left.

use muster_proto::dataset::{CleaningReport, DatasetKind, DatasetSpec, SplitKind};
use serde::{Deserialize, Serialize};

use super::error::Error;
use super::pass::{Bench, Pass};
use super::rules;
use super::sequences::pick;
use super::stage::Marks;
use crate::store::{Keys, Partition};

/// What is left of all partitions together.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Counts {
    pub(super) items: Vec<u64>,
    pub(super) train_items: Vec<u64>,
    pub(super) categories: Vec<Vec<u64>>,
    pub(super) report: CleaningReport,
    pub(super) time_range: Option<(i64, i64)>,
}

impl Counts {
    pub(super) fn zero(bench: &Bench) -> Self {
        Self {
            items: vec![0; bench.items],
            train_items: vec![0; bench.items],
            categories: bench.categories.iter().map(|keys| vec![0; *keys]).collect(),
            ..Self::default()
        }
    }

    pub(super) fn merge(&mut self, part: &Self) {
        let add = |total: &mut [u64], part: &[u64]| {
            total.iter_mut().zip(part).for_each(|(total, part)| *total += part);
        };
        add(&mut self.items, &part.items);
        add(&mut self.train_items, &part.train_items);
        self.categories.iter_mut().zip(&part.categories).for_each(|(total, part)| add(total, part));
        self.report.add(&part.report);
        self.time_range = match (self.time_range, part.time_range) {
            (Some((min, max)), Some((other_min, other_max))) => {
                Some((min.min(other_min), max.max(other_max)))
            }
            (known, other) => known.or(other),
        };
    }

    /// Counts what is in a partition; values of categories in training events alone where the split is by time.
    pub(super) fn add(&mut self, partition: &Partition) {
        for item in &partition.items {
            self.items[*item as usize] += 1;
        }
        let is_by_time = partition.cut.kind == SplitKind::Time;
        for user in 0..partition.users() {
            let train = partition.train(user);
            for item in &partition.items[train.clone()] {
                self.train_items[*item as usize] += 1;
            }
            let counted = if is_by_time { train } else { partition.range(user) };
            for (counts, ids) in self.categories.iter_mut().zip(&partition.categorical) {
                ids[counted.clone()].iter().for_each(|id| counts[*id as usize] += 1);
            }
        }
        self.report.rows_out += partition.times.len() as u64;
        let range = partition.times.iter().min().copied().zip(partition.times.iter().max().copied());
        self.merge(&Self { time_range: range, ..Self::default() });
    }
}

/// Stages what the rules on sequences leave, and counts it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Filter {
    /// Items that survive, by provisional id.
    pub(super) alive: Vec<bool>,
}

/// What the rules on sequences left.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Filtered {
    pub(super) counts: Counts,
    /// Users by partition.
    pub(super) users: Vec<(usize, u32)>,
    pub(super) marks: Marks,
}

impl Pass for Filter {
    const NAME: &'static str = "filter";
    type Sum = Filtered;

    fn zero(&self, bench: &Bench) -> Filtered {
        Filtered { counts: Counts::zero(bench), users: vec![], marks: vec![] }
    }

    fn add(&self, bench: &Bench, sum: &mut Filtered, index: usize) -> Result<(), Error> {
        let mut report = CleaningReport::default();
        let partition = filter(&bench.spec, &bench.stage.load(index)?, &self.alive, &mut report);
        sum.counts.add(&partition);
        sum.counts.merge(&Counts { report, ..Counts::default() });
        sum.users.push((index, partition.users()));
        sum.marks.push((index, bench.stage.mark.clone()));
        bench.stage.save(index, partition)
    }

    fn merge(total: &mut Filtered, part: Filtered) {
        total.counts.merge(&part.counts);
        total.users.extend(part.users);
        total.marks.extend(part.marks);
    }
}

/// Keeps what the rules keep; drops are counted in `report`. Users without events are gone.
fn filter(
    spec: &DatasetSpec,
    partition: &Partition,
    alive: &[bool],
    report: &mut CleaningReport,
) -> Partition {
    let rules_of = &spec.cleaning;
    let min_user_events =
        if spec.kind == DatasetKind::Events { rules_of.min_user_events as usize } else { 1 };
    let mut order: Vec<u32> = Vec::with_capacity(partition.items.len());
    let mut offsets = vec![0_u32];
    let mut keys = Keys::new();
    for user in 0..partition.users() {
        let range = partition.range(user);
        let (start, all) = (order.len(), range.len());
        order.extend(range.filter(|event| alive[partition.items[*event] as usize]).map(|event| event as u32));
        let kept = order.len() - start;
        report.drop_rows(rules::RARE_ITEM, (all - kept) as u64);
        if kept < min_user_events {
            report.drop_rows(rules::RARE_USER, kept as u64);
            order.truncate(start);
            continue;
        }
        let over = kept - kept.min(rules_of.max_user_events.map_or(usize::MAX, |most| most as usize));
        report.drop_rows(rules::OVER_MAX_USER_EVENTS, over as u64);
        order.drain(start..start + over);
        let left = order.len() - start;
        if left < spec.sequences.min_events as usize {
            report.drop_rows(rules::SHORT_SEQUENCE, left as u64);
            order.truncate(start);
        }
        if order.len() > start {
            offsets.push(order.len() as u32);
            keys.push(partition.user_key(user));
        }
    }
    Partition {
        offsets,
        items: pick(&partition.items, &order),
        times: pick(&partition.times, &order),
        categorical: partition.categorical.iter().map(|column| pick(column, &order)).collect(),
        numeric: partition.numeric.iter().map(|column| pick(column, &order)).collect(),
        ..Partition::with_keys(keys)
    }
}

//! Second pass: the events of one log partition become sequences in the order of time, without duplicates.
//!
//! Users are sorted by key. Events of equal time keep the order of the log. Memory: one partition's records and columns, 16 bytes an
//! event more where events have ids, and what of one user was seen.

use std::collections::{HashMap, HashSet};

use foldhash::fast::RandomState;
use muster_proto::dataset::{CleaningReport, DatasetKind, DatasetSpec};
use serde::{Deserialize, Serialize};

use super::bots;
use super::error::Error;
use super::pass::{Bench, Pass};
use super::rules;
use super::seen::{Repeat, Seen};
use super::spill::{Layout, Records};
use super::stage::Marks;
use crate::store::{Keys, Partition};

/// Stages all partitions as sequences.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Sort {
    /// Whether items are kept by themselves, for rules that ask for nothing else.
    pub(super) keeps_items: bool,
}

/// What was dropped on the way, and what was written.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Sorted {
    pub(super) report: CleaningReport,
    pub(super) marks: Marks,
}

impl Pass for Sort {
    const NAME: &'static str = "sort";
    type Sum = Sorted;

    fn zero(&self, _: &Bench) -> Sorted {
        Sorted::default()
    }

    fn add(&self, bench: &Bench, sum: &mut Sorted, index: usize) -> Result<(), Error> {
        let bytes = bench.records.take(index)?;
        let (partition, report) = build(&bench.spec, index, &bytes, bench.layout)?;
        drop(bytes);
        if self.keeps_items {
            bench.stage.save_items(index, &partition)?;
        }
        sum.report.add(&report);
        sum.marks.push((index, bench.stage.mark.clone()));
        bench.stage.save(index, partition)
    }

    fn merge(total: &mut Sorted, part: Sorted) {
        total.report.add(&part.report);
        total.marks.extend(part.marks);
    }
}

/// Sorts the records of a partition into sequences; what the rules drop is counted in the report.
fn build(
    spec: &DatasetSpec,
    index: usize,
    bytes: &[u8],
    layout: Layout,
) -> Result<(Partition, CleaningReport), Error> {
    let log = Log::read(bytes, layout);
    let events = log.users.len();
    if u32::try_from(events).is_err() {
        return Err(Error::PartitionTooLarge { partition: index, events: events as u64 });
    }
    let Grouped { keys, mut order, ends } = log.group();
    let mut rules = Rules::new(spec);
    let (mut kept, mut offsets, mut start) = (Vec::with_capacity(events), vec![0_u32], 0);
    for end in ends {
        rules.apply(&log, &mut order[start..end as usize], &mut kept);
        offsets.push(kept.len() as u32);
        start = end as usize;
    }
    let partition = Partition {
        offsets,
        items: pick(&log.items, &kept),
        times: pick(&log.times, &kept),
        categorical: log.categorical.iter().map(|column| pick(column, &kept)).collect(),
        numeric: log.numeric.iter().map(|column| pick(column, &kept)).collect(),
        ..Partition::with_keys(keys)
    };
    Ok((partition, rules.report()))
}

/// The records of a partition, column by column, in the order of the log.
struct Log<'b> {
    keys: Vec<&'b str>,
    users: Vec<u32>,
    items: Vec<u32>,
    times: Vec<i64>,
    categorical: Vec<Vec<u32>>,
    numeric: Vec<Vec<f32>>,
    /// Hashes of the events' own ids; empty where events have none.
    ids: Vec<u128>,
}

/// Events by user.
struct Grouped {
    /// The users' keys in order.
    keys: Keys,
    /// Events of one user after the other, each in the order of the log.
    order: Vec<u32>,
    /// Where each user's events end.
    ends: Vec<u32>,
}

impl<'b> Log<'b> {
    fn read(bytes: &'b [u8], layout: Layout) -> Self {
        let id_bytes = if layout.has_ids { 16 } else { 0 };
        // No more than this: the shortest record has a key of one byte.
        let most = bytes.len() / (14 + 4 * (layout.categorical + layout.numeric) + id_bytes);
        let mut log = Self {
            keys: vec![],
            users: Vec::with_capacity(most),
            items: Vec::with_capacity(most),
            times: Vec::with_capacity(most),
            categorical: vec![Vec::with_capacity(most); layout.categorical],
            numeric: vec![Vec::with_capacity(most); layout.numeric],
            ids: vec![],
        };
        let mut ids: HashMap<&str, u32, RandomState> = HashMap::default();
        let mut records = Records::new(bytes, layout);
        while let Some((user, event)) = records.next() {
            let id = *ids.entry(user).or_insert_with(|| {
                log.keys.push(user);
                log.keys.len() as u32 - 1
            });
            log.users.push(id);
            log.items.push(event.item);
            log.times.push(event.time);
            log.categorical.iter_mut().zip(event.categorical).for_each(|(column, id)| column.push(*id));
            log.numeric.iter_mut().zip(event.numeric).for_each(|(column, value)| column.push(*value));
            if layout.has_ids {
                log.ids.push(event.id);
            }
        }
        log
    }

    /// Groups events by user, by counting.
    fn group(&self) -> Grouped {
        let mut by_key: Vec<u32> = (0..self.keys.len() as u32).collect();
        by_key.sort_unstable_by_key(|user| self.keys[*user as usize]);
        let mut counts = vec![0_u32; by_key.len()];
        self.users.iter().for_each(|user| counts[*user as usize] += 1);
        // From counts to where each user's events begin, and then to where they end.
        let mut next = 0;
        for user in &by_key {
            let count = std::mem::replace(&mut counts[*user as usize], next);
            next += count;
        }
        let mut order = vec![0_u32; self.users.len()];
        for (event, user) in self.users.iter().enumerate() {
            let place = &mut counts[*user as usize];
            order[*place as usize] = event as u32;
            *place += 1;
        }
        let ends = by_key.iter().map(|user| counts[*user as usize]).collect();
        Grouped { keys: by_key.iter().map(|user| self.keys[*user as usize]).collect(), order, ends }
    }
}

/// The rules on the events of one user, and what they dropped so far.
struct Rules<'s> {
    spec: &'s DatasetSpec,
    seen: Seen,
    ids: HashSet<u128, RandomState>,
    repeated_ids: u64,
    duplicates: u64,
    near: u64,
    by_rate: u64,
    by_length: u64,
}

impl<'s> Rules<'s> {
    fn new(spec: &'s DatasetSpec) -> Self {
        Self {
            spec,
            seen: Seen::new(&spec.cleaning),
            ids: HashSet::default(),
            repeated_ids: 0,
            duplicates: 0,
            near: 0,
            by_rate: 0,
            by_length: 0,
        }
    }

    /// Appends to `kept` which of a user's events, which come in the order of the log, stay, in the order of time.
    fn apply(&mut self, log: &Log<'_>, events: &mut [u32], kept: &mut Vec<u32>) {
        let start = kept.len();
        if log.ids.is_empty() {
            kept.extend_from_slice(events);
        } else {
            self.ids.clear();
            // Of events with one id the first in the log stays.
            let is_new = |event: &&u32| {
                let id = log.ids[**event as usize];
                id == 0 || self.ids.insert(id)
            };
            kept.extend(events.iter().filter(is_new));
            self.repeated_ids += (events.len() - (kept.len() - start)) as u64;
        }
        // The sort is stable, so that ties keep the order of the log.
        kept[start..].sort_by_key(|event| log.times[*event as usize]);
        if self.spec.kind == DatasetKind::Events {
            self.drop_duplicates(log, start, kept);
            self.drop_bots(log, start, kept);
        }
    }

    fn drop_duplicates(&mut self, log: &Log<'_>, start: usize, kept: &mut Vec<u32>) {
        let has_type = self.spec.columns.event.is_some();
        self.seen.begin();
        let mut end = start;
        for place in start..kept.len() {
            let event = kept[place] as usize;
            let kind = if has_type { log.categorical[0][event] } else { 0 };
            match self.seen.look(log.items[event], log.times[event], kind) {
                Repeat::No => {
                    kept[end] = kept[place];
                    end += 1;
                }
                Repeat::Duplicate => self.duplicates += 1,
                Repeat::Near => self.near += 1,
            }
        }
        kept.truncate(end);
    }

    fn drop_bots(&mut self, log: &Log<'_>, start: usize, kept: &mut Vec<u32>) {
        let spec = &self.spec.cleaning.bots;
        if !spec.is_set() {
            return;
        }
        let verdict = bots::judge(spec, &pick(&log.times, &kept[start..]));
        self.by_rate += verdict.by_rate;
        self.by_length += verdict.by_length;
        let mut end = start;
        for (place, stays) in (start..kept.len()).zip(verdict.stays) {
            if stays {
                kept[end] = kept[place];
                end += 1;
            }
        }
        kept.truncate(end);
    }

    fn report(&self) -> CleaningReport {
        let mut report = CleaningReport::default();
        report.drop_rows(rules::REPEATED_EVENT_ID, self.repeated_ids);
        report.drop_rows(rules::DUPLICATE, self.duplicates);
        report.drop_rows(rules::NEAR_DUPLICATE, self.near);
        report.drop_rows(rules::BOT_RATE, self.by_rate);
        report.drop_rows(rules::BOT_LENGTH, self.by_length);
        report
    }
}

/// The values at the positions of `order`.
pub(super) fn pick<T: Copy>(values: &[T], order: &[u32]) -> Vec<T> {
    order.iter().map(|position| values[*position as usize]).collect()
}

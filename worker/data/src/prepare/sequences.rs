//! Second pass: the events of one log partition become sequences in the order of time, without duplicates.
//!
//! Users are sorted by key. Events of equal time keep the order of the log. Memory: one partition's columns, 16 bytes an
//! event more where events have ids, and what of one user was seen.

use std::collections::{HashMap, HashSet};

use muster_proto::dataset::{BotsSpec, CleaningReport, DatasetKind, DatasetSpec};

use super::bots;
use super::error::Error;
use super::rules;
use super::seen::{Repeat, Seen};
use super::spill::Records;
use crate::store::{Keys, Partition, Shape};

/// Sorts the records of a partition into sequences; what the rules drop is counted in the report.
pub(super) fn build(
    spec: &DatasetSpec,
    index: usize,
    bytes: &[u8],
    shape: Shape,
) -> Result<(Partition, CleaningReport), Error> {
    let log = Log::read(bytes, shape, spec.columns.event_id.is_some());
    let events = log.users.len();
    if u32::try_from(events).is_err() {
        return Err(Error::PartitionTooLarge { partition: index, events: events as u64 });
    }
    let mut by_key: Vec<u32> = (0..log.keys.len() as u32).collect();
    by_key.sort_unstable_by_key(|user| log.keys[*user as usize]);
    let mut rank = vec![0_u32; by_key.len()];
    for (position, user) in by_key.iter().enumerate() {
        rank[*user as usize] = position as u32;
    }
    let mut order: Vec<u32> = (0..events as u32).collect();
    let mut report = CleaningReport::default();
    log.drop_repeated_ids(&mut order, &mut report);
    // The index is the position in the log: it makes the order total, and ties stable.
    order.sort_unstable_by_key(|event| {
        let event = *event as usize;
        (rank[log.users[event] as usize], log.times[event], event)
    });
    if spec.kind == DatasetKind::Events {
        log.drop_duplicates(spec, &mut order, &mut report);
        log.drop_bots(&spec.cleaning.bots, &mut order, &mut report);
    }
    Ok((log.gather(&by_key, &order), report))
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

impl<'b> Log<'b> {
    fn read(bytes: &'b [u8], shape: Shape, has_ids: bool) -> Self {
        let mut log = Self {
            keys: vec![],
            users: vec![],
            items: vec![],
            times: vec![],
            categorical: vec![vec![]; shape.categorical],
            numeric: vec![vec![]; shape.numeric],
            ids: vec![],
        };
        let mut ids: HashMap<&str, u32> = HashMap::new();
        let mut records = Records::new(bytes, shape.categorical, shape.numeric, has_ids);
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
            if has_ids {
                log.ids.push(event.id);
            }
        }
        log
    }

    /// Of a user's events with one id the first in the log stays; `order` is the order of the log.
    fn drop_repeated_ids(&self, order: &mut Vec<u32>, report: &mut CleaningReport) {
        if self.ids.is_empty() {
            return;
        }
        let mut seen = HashSet::new();
        let before = order.len();
        order.retain(|event| {
            let event = *event as usize;
            self.ids[event] == 0 || seen.insert((self.users[event], self.ids[event]))
        });
        report.drop_rows(rules::REPEATED_EVENT_ID, (before - order.len()) as u64);
    }

    fn drop_duplicates(&self, spec: &DatasetSpec, order: &mut Vec<u32>, report: &mut CleaningReport) {
        let has_type = spec.columns.event.is_some();
        let mut seen = Seen::new(&spec.cleaning);
        let (mut exact, mut near) = (0, 0);
        order.retain(|event| {
            let event = *event as usize;
            let kind = if has_type { self.categorical[0][event] } else { 0 };
            match seen.look(self.users[event], self.items[event], self.times[event], kind) {
                Repeat::No => return true,
                Repeat::Duplicate => exact += 1,
                Repeat::Near => near += 1,
            }
            false
        });
        report.drop_rows(rules::DUPLICATE, exact);
        report.drop_rows(rules::NEAR_DUPLICATE, near);
    }

    fn drop_bots(&self, spec: &BotsSpec, order: &mut Vec<u32>, report: &mut CleaningReport) {
        if !spec.is_set() {
            return;
        }
        let mut stays = Vec::with_capacity(order.len());
        for events in order.chunk_by(|a, b| self.users[*a as usize] == self.users[*b as usize]) {
            let verdict = bots::judge(spec, &pick(&self.times, events));
            stays.extend(verdict.stays);
            report.drop_rows(rules::BOT_RATE, verdict.by_rate);
            report.drop_rows(rules::BOT_LENGTH, verdict.by_length);
        }
        let mut stays = stays.into_iter();
        order.retain(|_| stays.next().unwrap_or(true));
    }

    fn gather(&self, by_key: &[u32], order: &[u32]) -> Partition {
        let mut offsets = vec![0_u32; by_key.len() + 1];
        let mut position = 0;
        for (rank, user) in by_key.iter().enumerate() {
            while order.get(position).is_some_and(|event| self.users[*event as usize] == *user) {
                position += 1;
            }
            offsets[rank + 1] = position as u32;
        }
        let keys: Keys = by_key.iter().map(|user| self.keys[*user as usize]).collect();
        Partition {
            offsets,
            items: pick(&self.items, order),
            times: pick(&self.times, order),
            categorical: self.categorical.iter().map(|column| pick(column, order)).collect(),
            numeric: self.numeric.iter().map(|column| pick(column, order)).collect(),
            ..Partition::with_keys(keys)
        }
    }
}

/// The values at the positions of `order`.
pub(super) fn pick<T: Copy>(values: &[T], order: &[u32]) -> Vec<T> {
    order.iter().map(|position| values[*position as usize]).collect()
}

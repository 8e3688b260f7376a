//! Second pass: the events of one log partition become sequences in the order of time, without duplicates.
//!
//! Users are sorted by key. Events of equal time keep the order of the log.

use std::collections::{HashMap, HashSet};

use muster_proto::dataset::{DatasetKind, DatasetSpec, Duplicates};

use super::error::Error;
use super::spill::Records;
use crate::store::{Keys, Partition, Shape};

/// Sorts the records of a partition into sequences; also gives the number of duplicates that were dropped.
pub(super) fn build(
    spec: &DatasetSpec,
    index: usize,
    bytes: &[u8],
    shape: Shape,
) -> Result<(Partition, u64), Error> {
    let log = Log::read(bytes, shape);
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
    // The index is the position in the log: it makes the order total, and ties stable.
    order.sort_unstable_by_key(|event| {
        let event = *event as usize;
        (rank[log.users[event] as usize], log.times[event], event)
    });
    let duplicates =
        if spec.kind == DatasetKind::Events { spec.cleaning.duplicates } else { Duplicates::Keep };
    let has_type = spec.columns.event.is_some();
    let mut seen = Seen::new(duplicates);
    order.retain(|event| {
        let event = *event as usize;
        let kind = if has_type { log.categorical[0][event] } else { 0 };
        seen.is_new(log.users[event], log.items[event], log.times[event], kind)
    });
    let dropped = (events - order.len()) as u64;
    Ok((log.gather(&by_key, &order), dropped))
}

/// The records of a partition, column by column, in the order of the log.
struct Log<'b> {
    keys: Vec<&'b str>,
    users: Vec<u32>,
    items: Vec<u32>,
    times: Vec<i64>,
    categorical: Vec<Vec<u32>>,
    numeric: Vec<Vec<f32>>,
}

impl<'b> Log<'b> {
    fn read(bytes: &'b [u8], shape: Shape) -> Self {
        let mut log = Self {
            keys: vec![],
            users: vec![],
            items: vec![],
            times: vec![],
            categorical: vec![vec![]; shape.categorical],
            numeric: vec![vec![]; shape.numeric],
        };
        let mut ids: HashMap<&str, u32> = HashMap::new();
        let mut records = Records::new(bytes, shape.categorical, shape.numeric);
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
        }
        log
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

/// What of a user was seen, as far as the rule for duplicates asks.
struct Seen {
    rule: Duplicates,
    user: Option<u32>,
    time: i64,
    last_item: Option<u32>,
    events: HashSet<(u32, u32)>,
}

impl Seen {
    fn new(rule: Duplicates) -> Self {
        Self { rule, user: None, time: 0, last_item: None, events: HashSet::new() }
    }

    /// Whether the next event in order is none that the rule drops.
    fn is_new(&mut self, user: u32, item: u32, time: i64, kind: u32) -> bool {
        if self.user != Some(user) {
            (self.user, self.time, self.last_item) = (Some(user), time, None);
            self.events.clear();
        }
        match self.rule {
            Duplicates::Keep => true,
            Duplicates::Exact => {
                if self.time != time {
                    self.time = time;
                    self.events.clear();
                }
                self.events.insert((item, kind))
            }
            Duplicates::Consecutive => self.last_item.replace(item) != Some(item),
            Duplicates::Repeats => self.events.insert((item, 0)),
        }
    }
}

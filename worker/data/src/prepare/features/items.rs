//! Clicks and buys of each event's item, by anyone, at earlier times.
//!
//! Events are dealt to disk by item, counted an item at a time in the order of time, and what they found is dealt back
//! to the log partitions. Memory: the records of one of as many buckets as there are partitions, 21 bytes each; all of
//! an item's events are in one bucket.

use std::collections::VecDeque;

use super::Kind;
use crate::prepare::buckets::Buckets;
use crate::prepare::error::Error;
use crate::prepare::stage::Stage;
use crate::store::Partition;

/// ln(1 + number) of clicks and buys, by event.
#[derive(Debug, Default)]
pub(super) struct Columns {
    pub(super) clicks: Vec<f32>,
    pub(super) buys: Vec<f32>,
}

/// What was counted, by log partition, on disk.
pub(super) struct ItemCounts {
    found: Buckets,
}

/// An event of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Record {
    item: u32,
    time: i64,
    partition: u32,
    event: u32,
    kind: u8,
}

const RECORD_BYTES: usize = 21;
const FOUND_BYTES: usize = 12;

impl ItemCounts {
    pub(super) fn count(stage: &Stage, kind_of: impl Fn(&Partition, usize) -> Kind) -> Result<Self, Error> {
        let mut by_item = Buckets::new(&stage.dir, "by-item", stage.partitions, stage.memory);
        for index in 0..stage.partitions {
            let partition = stage.load(index)?;
            for (event, (item, time)) in partition.items.iter().zip(&partition.times).enumerate() {
                let kind = kind_of(&partition, event);
                let record = Record {
                    item: *item,
                    time: *time,
                    partition: index as u32,
                    event: event as u32,
                    kind: u8::from(kind.is_click) | u8::from(kind.is_buy) << 1,
                };
                by_item.push(*item as usize % stage.partitions, |buffer| record.write(buffer))?;
            }
        }
        by_item.finish()?;
        let mut found = Buckets::new(&stage.dir, "item-counts", stage.partitions, stage.memory);
        for bucket in 0..stage.partitions {
            let bytes = by_item.take(bucket)?;
            let mut records: Vec<Record> =
                bytes.as_chunks::<RECORD_BYTES>().0.iter().map(Record::read).collect();
            drop(bytes);
            records.sort_unstable();
            for of_item in records.chunk_by(|a, b| a.item == b.item) {
                let events = of_item.iter().map(|record| (record.time, record.kind()));
                for (record, (clicks, buys)) in of_item.iter().zip(earlier(events)) {
                    found.push(record.partition as usize, |buffer| {
                        buffer.extend_from_slice(&record.event.to_le_bytes());
                        buffer.extend_from_slice(&clicks.to_le_bytes());
                        buffer.extend_from_slice(&buys.to_le_bytes());
                    })?;
                }
            }
        }
        found.finish()?;
        Ok(Self { found })
    }

    /// What was counted for the events of a log partition; once only.
    pub(super) fn of(&self, index: usize, events: usize) -> Result<Columns, Error> {
        let mut columns = Columns { clicks: vec![0.0; events], buys: vec![0.0; events] };
        for part in self.found.take(index)?.as_chunks::<FOUND_BYTES>().0 {
            let [event, clicks, buys] =
                [0, 4, 8].map(|at| u32::from_le_bytes([part[at], part[at + 1], part[at + 2], part[at + 3]]));
            columns.clicks[event as usize] = f32::from_bits(clicks);
            columns.buys[event as usize] = f32::from_bits(buys);
        }
        Ok(columns)
    }
}

impl Record {
    fn write(&self, buffer: &mut Vec<u8>) {
        buffer.extend_from_slice(&self.item.to_le_bytes());
        buffer.extend_from_slice(&self.time.to_le_bytes());
        buffer.extend_from_slice(&self.partition.to_le_bytes());
        buffer.extend_from_slice(&self.event.to_le_bytes());
        buffer.push(self.kind);
    }

    fn read(bytes: &[u8; RECORD_BYTES]) -> Self {
        let four = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let time = u64::from(four(4)) | u64::from(four(8)) << 32;
        let [item, partition, event] = [0, 12, 16].map(four);
        Self { item, time: time.cast_signed(), partition, event, kind: bytes[20] }
    }

    fn kind(self) -> Kind {
        Kind { is_click: self.kind & 1 == 1, is_buy: self.kind & 2 == 2 }
    }
}

/// For each of some events in the order of time, ln(1 + number) of the clicks and of the buys at earlier times.
pub(super) fn earlier(events: impl Iterator<Item = (i64, Kind)>) -> impl Iterator<Item = (f32, f32)> {
    // Events of the time at hand wait here until a later one comes.
    let mut waiting: VecDeque<(i64, Kind)> = VecDeque::new();
    let (mut clicks, mut buys) = (0_u64, 0_u64);
    let log1p = |count: u64| (count as f64).ln_1p() as f32;
    events.map(move |(time, kind)| {
        while let Some((_, kind)) = waiting.pop_front_if(|(earlier, _)| *earlier < time) {
            clicks += u64::from(kind.is_click);
            buys += u64::from(kind.is_buy);
        }
        waiting.push_back((time, kind));
        (log1p(clicks), log1p(buys))
    })
}

//! Clicks and buys of each event's item, by anyone, at earlier times.
//!
//! Two passes: events of each partition are dealt by item into one file a partition, then each of as many groups of items as
//! there are partitions is counted in the order of time, and what was found is dealt back, one file a group. All of an item's events
//! are in one group. Memory: the records of a partition or of a group, 21 bytes each.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Kind, Kinds};
use crate::prepare::error::Error;
use crate::prepare::pass::{Bench, Crew, Pass};
use crate::prepare::stage::Stage;

/// ln(1 + number) of clicks and buys, by event.
#[derive(Debug, Default)]
pub(super) struct Columns {
    pub(super) clicks: Vec<f32>,
    pub(super) buys: Vec<f32>,
}

/// A file with the records for each of as many takers as there are partitions.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::prepare) struct Dealt {
    /// Whose records they are.
    index: usize,
    mark: String,
    /// Where those for each taker end, in bytes.
    ends: Vec<u64>,
}

impl Dealt {
    fn path(stage: &Stage, name: &str, index: usize, mark: &str) -> PathBuf {
        stage.dir.join(format!("{name}-{index:05}{mark}"))
    }

    /// Writes what there is for each taker.
    fn write(stage: &Stage, name: &str, index: usize, buffers: &[Vec<u8>]) -> Result<Self, Error> {
        let mark = stage.mark.clone();
        let path = Self::path(stage, name, index, &mark);
        let write = |mut file: File| buffers.iter().try_for_each(|buffer| file.write_all(buffer));
        File::create(&path).and_then(write).map_err(|source| Error::Write { path, source })?;
        let end = |end: &mut u64, buffer: &Vec<u8>| {
            *end += buffer.len() as u64;
            Some(*end)
        };
        Ok(Self { index, mark, ends: buffers.iter().scan(0, end).collect() })
    }

    /// Reads what there is for a taker.
    fn read(&self, stage: &Stage, name: &str, taker: usize, bytes: &mut Vec<u8>) -> Result<(), Error> {
        let end = self.ends[taker];
        let start = if taker == 0 { 0 } else { self.ends[taker - 1] };
        let path = Self::path(stage, name, self.index, &self.mark);
        let read = |mut file: File| -> std::io::Result<()> {
            file.seek(SeekFrom::Start(start))?;
            let read = file.take(end - start).read_to_end(bytes)?;
            if read as u64 == end - start { Ok(()) } else { Err(std::io::ErrorKind::UnexpectedEof.into()) }
        };
        if start == end {
            return Ok(());
        }
        File::open(&path).and_then(read).map_err(|source| Error::Read { path, source })
    }
}

/// Deals the events of partitions by item.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::prepare) struct DealByItem {
    kinds: Kinds,
}

impl DealByItem {
    const FILE: &'static str = "by-item";
}

impl Pass for DealByItem {
    const NAME: &'static str = "deal-by-item";
    type Sum = Vec<Dealt>;

    fn zero(&self, _: &Bench) -> Vec<Dealt> {
        vec![]
    }

    fn add(&self, bench: &Bench, dealt: &mut Vec<Dealt>, index: usize) -> Result<(), Error> {
        let (stage, partition) = (&bench.stage, bench.stage.load(index)?);
        let mut buffers = vec![Vec::new(); stage.partitions];
        for (event, (item, time)) in partition.items.iter().zip(&partition.times).enumerate() {
            let kind = self.kinds.of(&partition, event);
            let record = Record {
                item: *item,
                time: *time,
                partition: index as u32,
                event: event as u32,
                kind: u8::from(kind.is_click) | u8::from(kind.is_buy) << 1,
            };
            record.write(&mut buffers[*item as usize % stage.partitions]);
        }
        dealt.push(Dealt::write(stage, Self::FILE, index, &buffers)?);
        Ok(())
    }

    fn merge(total: &mut Vec<Dealt>, part: Vec<Dealt>) {
        total.extend(part);
    }
}

/// Counts what was dealt by item, a group of items at a time, and deals what was found back to partitions.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::prepare) struct CountItems {
    dealt: Vec<Dealt>,
}

impl CountItems {
    const FILE: &'static str = "item-counts";
}

impl Pass for CountItems {
    const NAME: &'static str = "count-items";
    type Sum = Vec<Dealt>;

    fn zero(&self, _: &Bench) -> Vec<Dealt> {
        vec![]
    }

    fn add(&self, bench: &Bench, found: &mut Vec<Dealt>, group: usize) -> Result<(), Error> {
        let (stage, mut bytes) = (&bench.stage, Vec::new());
        self.dealt.iter().try_for_each(|dealt| dealt.read(stage, DealByItem::FILE, group, &mut bytes))?;
        let mut records: Vec<Record> = bytes.as_chunks::<RECORD_BYTES>().0.iter().map(Record::read).collect();
        drop(bytes);
        records.sort_unstable();
        let mut buffers = vec![Vec::new(); stage.partitions];
        for of_item in records.chunk_by(|a, b| a.item == b.item) {
            let events = of_item.iter().map(|record| (record.time, record.kind()));
            for (record, (clicks, buys)) in of_item.iter().zip(earlier(events)) {
                let buffer = &mut buffers[record.partition as usize];
                buffer.extend_from_slice(&record.event.to_le_bytes());
                buffer.extend_from_slice(&clicks.to_le_bytes());
                buffer.extend_from_slice(&buys.to_le_bytes());
            }
        }
        found.push(Dealt::write(stage, Self::FILE, group, &buffers)?);
        Ok(())
    }

    fn merge(total: &mut Vec<Dealt>, part: Vec<Dealt>) {
        total.extend(part);
    }
}

/// Counts for the events of all partitions.
pub(super) fn count(crew: &impl Crew, bench: &Bench, kinds: &Kinds) -> Result<Vec<Dealt>, Error> {
    let dealt = crew.run(bench, &DealByItem { kinds: kinds.clone() })?;
    let pass = CountItems { dealt };
    let found = crew.run(bench, &pass)?;
    for Dealt { index, mark, .. } in &pass.dealt {
        // It is in the way of nobody, and goes with the folder at the latest.
        let _ = std::fs::remove_file(Dealt::path(&bench.stage, DealByItem::FILE, *index, mark));
    }
    Ok(found)
}

/// What was counted for the events of a log partition.
pub(super) fn of(stage: &Stage, found: &[Dealt], index: usize, events: usize) -> Result<Columns, Error> {
    let mut columns = Columns { clicks: vec![0.0; events], buys: vec![0.0; events] };
    let mut bytes = Vec::new();
    found.iter().try_for_each(|found| found.read(stage, CountItems::FILE, index, &mut bytes))?;
    for part in bytes.as_chunks::<FOUND_BYTES>().0 {
        let [event, clicks, buys] =
            [0, 4, 8].map(|at| u32::from_le_bytes([part[at], part[at + 1], part[at + 2], part[at + 3]]));
        columns.clicks[event as usize] = f32::from_bits(clicks);
        columns.buys[event as usize] = f32::from_bits(buys);
    }
    Ok(columns)
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

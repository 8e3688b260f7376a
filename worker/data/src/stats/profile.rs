//! One look at all events of a dataset: what is counted of each.

use muster_proto::dataset::{ColumnOf, DatasetKind, DatasetManifest};

use super::weeks::week_of;
use crate::store::{Dataset, Error, Partition, Vocabulary};

const HOUR_MS: i64 = 3_600_000;

/// The name of the column of event types, as `[columns] event` gives it.
const EVENT: &str = "event";

/// Counts over all events.
#[derive(Debug)]
pub(super) struct Profile {
    /// Events of each user, in the order of users.
    pub(super) lengths: Vec<u32>,
    /// Events of each item; none for a series.
    pub(super) items: Vec<u64>,
    /// The first week in which an item occurs.
    pub(super) first_week: Vec<i64>,
    /// Events of each type by id, with their names.
    types: Option<(Vocabulary, Vec<u64>)>,
    /// Events of each hour of the day in UTC.
    pub(super) hours: Option<[u64; 24]>,
}

/// The position of the column of event types among the categorical ones.
fn event_column(manifest: &DatasetManifest) -> Option<usize> {
    manifest.categorical().position(|column| column.name == EVENT && column.of == ColumnOf::Event)
}

impl Profile {
    /// Reads all partitions, one at a time.
    pub(super) fn of(dataset: &Dataset) -> Result<Self, Error> {
        let manifest = dataset.manifest();
        let has_times = manifest.time_range.is_some() && manifest.kind == DatasetKind::Events;
        let types = match event_column(manifest) {
            Some(_) => {
                let vocabulary = dataset.load_vocabulary(EVENT)?;
                let counts = vec![0; vocabulary.len()];
                Some((vocabulary, counts))
            }
            None => None,
        };
        let mut profile = Self {
            lengths: Vec::with_capacity(manifest.users as usize),
            items: vec![0; manifest.items as usize],
            first_week: vec![i64::MAX; manifest.items as usize],
            types,
            hours: has_times.then_some([0; 24]),
        };
        for index in 0..manifest.partitions.len() as u32 {
            profile.add(&dataset.load(index)?, event_column(manifest));
        }
        Ok(profile)
    }

    fn add(&mut self, partition: &Partition, event_column: Option<usize>) {
        self.lengths.extend(partition.offsets.windows(2).map(|ends| ends[1] - ends[0]));
        for item in &partition.items {
            self.items[*item as usize] += 1;
        }
        if let (Some((_, counts)), Some(column)) = (&mut self.types, event_column) {
            for id in &partition.categorical[column] {
                counts[*id as usize] += 1;
            }
        }
        if let Some(hours) = &mut self.hours {
            for (time, item) in partition.times.iter().zip(&partition.items) {
                hours[(time.div_euclid(HOUR_MS)).rem_euclid(24) as usize] += 1;
                let first = &mut self.first_week[*item as usize];
                *first = (*first).min(week_of(*time));
            }
        }
    }

    /// Events of each type that has any, the most frequent first, then by name.
    pub(super) fn named_types(&self) -> Vec<(String, u64)> {
        let Some((vocabulary, counts)) = &self.types else { return vec![] };
        let name = |id: usize| if id == 0 { "(none)" } else { vocabulary.key(id as u32) };
        let mut named: Vec<(String, u64)> = counts
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0)
            .map(|(id, count)| (name(id).to_owned(), *count))
            .collect();
        named.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        named
    }
}

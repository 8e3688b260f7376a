//! Which parts of the holdout users are in.

use std::collections::HashMap;

use muster_core::retrain::gates::Slice;
use muster_data::{Dataset, Partition, Split, Vocabulary};
use muster_proto::schedule::SliceSpec;

use super::Error;
use crate::train::Trainer;

/// What the gates call users without a training event, and those whose held-out item has none.
const NEW_USERS: &str = "new_users";
const NEW_ITEMS: &str = "new_items";

/// How users are told apart.
enum By {
    NewUsers,
    NewItems,
    /// By a categorical column of the held-out event: its place among those, and its values.
    Column {
        place: usize,
        values: Vocabulary,
    },
}

/// All ways in which users are told apart, and the parts that were met.
pub(super) struct Slicing {
    kinds: Vec<(String, By)>,
    train_counts: Vec<u64>,
    found: Vec<Slice>,
    /// The place of a part by kind and value.
    places: HashMap<(usize, u32), u32>,
}

impl Slicing {
    /// Of the gates, over a dataset.
    ///
    /// # Errors
    /// A column that the dataset does not have as a categorical one.
    pub(super) fn of(specs: &[SliceSpec], dataset: &Dataset) -> Result<Self, Error> {
        let mut kinds: Vec<(String, By)> = Vec::new();
        for spec in specs {
            if kinds.iter().all(|(name, _)| *name != spec.by) {
                kinds.push((spec.by.clone(), by(&spec.by, dataset)?));
            }
        }
        let train_counts = dataset.load_items()?.train_counts().to_vec();
        Ok(Self { kinds, train_counts, found: vec![], places: HashMap::new() })
    }

    /// The parts of each user of a split, by the user's number, ascending.
    pub(super) fn of_users(&mut self, trainer: &Trainer, split: Split) -> Vec<(u32, Vec<u32>)> {
        let mut all = Vec::new();
        for partition in trainer.groups.iter().flat_map(|group| &group.partitions) {
            for user in 0..partition.users() {
                if let Some(held) = partition.held_out(user, split) {
                    all.push((partition.first_user + user, self.of_event(partition, user, held.target)));
                }
            }
        }
        all.sort_unstable_by_key(|(user, _)| *user);
        all
    }

    /// The parts that were met, by their places.
    pub(super) fn found(self) -> Vec<Slice> {
        self.found
    }

    fn of_event(&mut self, partition: &Partition, user: u32, target: usize) -> Vec<u32> {
        let Self { kinds, train_counts, found, places } = self;
        let is_new_item = train_counts.get(partition.items[target] as usize).is_none_or(|count| *count == 0);
        let of_kind = |(kind, (name, by)): (usize, &(String, By))| {
            let value = match by {
                By::NewUsers => u32::from(partition.train(user).is_empty()),
                By::NewItems => u32::from(is_new_item),
                By::Column { place, .. } => partition.categorical[*place][target],
            };
            *places.entry((kind, value)).or_insert_with(|| {
                let value = match by {
                    By::NewUsers | By::NewItems => if value == 1 { "yes" } else { "no" }.to_owned(),
                    By::Column { .. } if value == 0 => "(unknown)".to_owned(),
                    By::Column { values, .. } => values.key(value).to_owned(),
                };
                found.push(Slice { by: name.clone(), value });
                found.len() as u32 - 1
            })
        };
        kinds.iter().enumerate().map(of_kind).collect()
    }
}

fn by(name: &str, dataset: &Dataset) -> Result<By, Error> {
    match name {
        NEW_USERS => return Ok(By::NewUsers),
        NEW_ITEMS => return Ok(By::NewItems),
        _ => {}
    }
    let mut columns = dataset.manifest().categorical();
    let place = columns.position(|column| column.name == name).ok_or_else(|| {
        let known: Vec<&str> = dataset.manifest().categorical().map(|column| column.name.as_str()).collect();
        Error::Slice {
            column: name.to_owned(),
            known: format!("{NEW_USERS}, {NEW_ITEMS}, {}", known.join(", ")),
        }
    })?;
    Ok(By::Column { place, values: dataset.load_vocabulary(name)? })
}

//! Where each row begins: with a row of the parent, with the mean of other rows, or at random.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use muster_data::{Dataset, Items, Vocabulary};
use muster_proto::job::tables::{ITEM, OUTPUT};
use muster_proto::job::{NewRows, WarmStartSpec};

use super::mapping::Mapping;
use super::{Begun, Error, Parent};
use crate::train::Trainer;

/// Of a row that takes none of the parent's.
pub(super) const NONE: u32 = u32::MAX;

/// Where the rows of a table of the model begin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Origins {
    /// By row: the parent's row that it takes, or [`NONE`].
    pub(super) from: Vec<u32>,
    /// Rows that take the parent's, of which means are made, each group ascending; the first has all of them.
    pub(super) groups: Vec<Vec<u32>>,
    /// The others, ascending, each with the groups whose means it begins with the mean of; with no group it begins at random.
    pub(super) new: Vec<(u32, Vec<u32>)>,
    /// Those among the others that the parent knows.
    evicted: usize,
}

impl Origins {
    fn new(from: Vec<u32>) -> Self {
        let known = (0..).zip(&from).filter(|(_, row)| **row != NONE).map(|(row, _)| row).collect();
        let new =
            (0..).zip(&from).filter(|(_, row)| **row == NONE).map(|(row, _)| (row, Vec::new())).collect();
        Self { from, groups: vec![known], new, evicted: 0 }
    }
}

/// Where all rows begin.
#[derive(Debug)]
pub(super) struct AllOrigins {
    pub(super) items: Origins,
    columns: BTreeMap<String, Origins>,
}

impl AllOrigins {
    /// Compares the vocabularies of both datasets.
    pub(super) fn load(spec: &WarmStartSpec, parent: &Parent, trainer: &Trainer) -> Result<Self, Error> {
        Self::load_with(spec, spec, parent, trainer)
    }

    /// The same, where values of columns go by a spec of their own.
    pub(super) fn load_with(
        spec: &WarmStartSpec,
        of_values: &WarmStartSpec,
        parent: &Parent,
        trainer: &Trainer,
    ) -> Result<Self, Error> {
        let (dataset, before) = (&trainer.dataset, parent.dataset(spec)?);
        let items = items(spec, dataset, &before)?;
        if items.groups[0].is_empty() {
            return Err(Error::Strangers { path: parent.reader.location.address(), items: items.from.len() });
        }
        let mut columns = BTreeMap::new();
        for feature in trainer.job.model.features.iter().filter(|feature| feature.dim.is_some()) {
            let ours = dataset.load_vocabulary(&feature.column)?;
            let theirs = before.load_vocabulary(spec.column_of_parent(&feature.column))?;
            columns.insert(feature.column.clone(), values(of_values, &ours, &theirs));
        }
        Ok(Self { items, columns })
    }

    /// Those of a table of the model.
    pub(super) fn of(&self, table: &str) -> &Origins {
        match table {
            ITEM | OUTPUT => &self.items,
            column => self.columns.get(column).expect("a table is of items or of a feature's column"),
        }
    }

    /// The item table in numbers.
    pub(super) fn begun(&self) -> Begun {
        let Origins { groups, new, evicted, .. } = &self.items;
        Begun { known: groups[0].len(), new: new.len() - evicted, evicted: *evicted }
    }
}

/// Where the values of a column begin: new ones like the unknown value, which is what the parent takes them for.
fn values(spec: &WarmStartSpec, ours: &Vocabulary, theirs: &Vocabulary) -> Origins {
    let known = |id: u32| match (id as usize) < theirs.len() && theirs.key(id) == ours.key(id) {
        true => id,
        false => theirs.id(ours.key(id)).unwrap_or(NONE),
    };
    let mut origins = Origins::new((0..ours.len() as u32).map(known).collect());
    if spec.new_rows == NewRows::Attributes && origins.from.first().is_some_and(|row| *row != NONE) {
        origins.groups.push(vec![0]);
        origins.new.iter_mut().for_each(|(_, groups)| groups.push(1));
    }
    origins
}

fn items(spec: &WarmStartSpec, dataset: &Dataset, before: &Dataset) -> Result<Origins, Error> {
    let (ours, theirs, mapping) = (dataset.load_items()?, before.load_items()?, Mapping::of(spec)?);
    let unseen = unseen(spec, dataset, &ours, (&theirs, &mapping))?;
    let mut evicted = 0;
    let mut known = |id: u32| {
        let name = mapping.of_parent(ours.key(id));
        let same_place = (id as usize) < theirs.len() && theirs.key(id) == name;
        let there = if same_place { Some(id) } else { theirs.id(name) };
        let evicts = there.is_some() && unseen[id as usize];
        evicted += usize::from(evicts);
        there.filter(|_| !evicts).unwrap_or(NONE)
    };
    let from = (0..ours.len() as u32).map(&mut known).collect();
    let mut origins = Origins { evicted, ..Origins::new(from) };
    if spec.new_rows == NewRows::Attributes {
        share_attributes(&mut origins, &ours);
    }
    Ok(origins)
}

/// Which items had no training event for as many runs as it takes to forget them.
fn unseen(
    spec: &WarmStartSpec,
    dataset: &Dataset,
    ours: &Items,
    (theirs, mapping): (&Items, &Mapping),
) -> Result<Vec<bool>, Error> {
    let Some(runs) = spec.evict_after.filter(|runs| *runs as usize <= 2 + spec.windows.len()) else {
        return Ok(vec![false; ours.len()]);
    };
    let mut unseen: Vec<bool> = ours.train_counts().iter().map(|count| *count == 0).collect();
    // It stands for all rare items, and is never gone.
    if let Some(rare) = unseen.first_mut().filter(|_| dataset.manifest().unknown_item) {
        *rare = false;
    }
    let mut look = |earlier: &Items| {
        let was_seen = |id: u32| {
            let there = earlier.id(mapping.of_parent(ours.key(id)));
            there.is_some_and(|id| earlier.train_counts()[id as usize] > 0)
        };
        for (id, unseen) in (0..).zip(&mut unseen).filter(|(_, unseen)| **unseen) {
            *unseen = !was_seen(id);
        }
    };
    if runs > 1 {
        look(theirs);
    }
    for window in spec.windows.iter().take(runs.saturating_sub(2) as usize) {
        let earlier = Dataset::open(Path::new(&window.dataset))?;
        if earlier.manifest().digest != window.digest {
            return Err(Error::OtherDataset {
                path: earlier.dir().to_owned(),
                of: "the earlier run that warm_start.windows names".to_owned(),
                found: earlier.manifest().digest.clone(),
                expected: window.digest.clone(),
            });
        }
        look(&earlier.load_items()?);
    }
    Ok(unseen)
}

/// Gives new items the groups of known ones that share a value of an attribute.
fn share_attributes(origins: &mut Origins, items: &Items) {
    for name in items.attribute_names() {
        let Some(attributes) = items.attributes(name) else { continue };
        // The unknown value is shared by items that have nothing in common.
        let values = |item: u32| attributes.of(item).iter().copied().filter(|value| *value != 0);
        let mut donors: HashMap<u32, Vec<u32>> =
            origins.new.iter().flat_map(|(item, _)| values(*item)).map(|value| (value, Vec::new())).collect();
        for item in &origins.groups[0] {
            for value in values(*item) {
                if let Some(donors) = donors.get_mut(&value).filter(|donors| donors.last() != Some(item)) {
                    donors.push(*item);
                }
            }
        }
        let mut numbers: HashMap<u32, u32> = HashMap::new();
        for (item, groups) in &mut origins.new {
            for value in values(*item) {
                let donors = donors.get_mut(&value).filter(|donors| !donors.is_empty());
                if let Some(donors) = donors {
                    numbers.insert(value, origins.groups.len() as u32);
                    origins.groups.push(std::mem::take(donors));
                }
                groups.extend(numbers.get(&value));
            }
        }
    }
    for (_, groups) in &mut origins.new {
        groups.sort_unstable();
        groups.dedup();
    }
}

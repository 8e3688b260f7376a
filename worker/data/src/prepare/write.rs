//! Last pass: final ids, the files of the dataset, and its manifest.

use std::path::PathBuf;

use muster_proto::dataset::{
    CleaningReport, Column, ColumnKind, ColumnOf, DatasetKind, DatasetManifest, DatasetSpec, FileEntry,
    PartitionEntry, SplitCounts, SplitKind, SplitSpec,
};
use serde::{Deserialize, Serialize};

use super::attributes::{Attribute, read_attributes};
use super::boundaries::Boundaries;
use super::error::Error;
use super::features::Deriver;
use super::filter::Counts;
use super::pass::{Bench, Crew, Pass};
use super::publish::{Output, write_file};
use super::stage::{Marks, by_partition, encode_error};
use super::vocabulary::{Parent, Renaming};
use crate::store::{
    AttributeLists, Cut, Keys, Partition, Series, Split, encode_items, encode_partition, encode_vocabulary,
};

/// What the earlier passes found.
pub(super) struct Prepared<'p, C> {
    pub(super) crew: &'p C,
    pub(super) bench: &'p Bench,
    pub(super) item_files: &'p [Vec<PathBuf>],
    /// Items by provisional id, and the keys of each categorical column.
    pub(super) items: Keys,
    pub(super) categories: Vec<Keys>,
    /// Names of the numeric columns.
    pub(super) numeric: Vec<String>,
    pub(super) counts: Counts,
    /// The split, with the times of its parts.
    pub(super) split: SplitSpec,
    pub(super) users: Vec<u32>,
    pub(super) report: CleaningReport,
    /// The dataset whose ids are kept.
    pub(super) parent: Option<Parent>,
}

/// Writes the files of the partitions.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Write {
    /// Final ids of items, then of each categorical column, by provisional id.
    items: Vec<u32>,
    categories: Vec<Vec<u32>>,
    /// Attributes of items, by final id.
    attributes: Vec<AttributeLists>,
    boundaries: Boundaries,
    deriver: Deriver,
    first_users: Vec<u32>,
}

/// The files of partitions.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Written {
    files: Vec<(usize, PartitionEntry, SplitCounts)>,
    marks: Marks,
}

impl Pass for Write {
    const NAME: &'static str = "write";
    type Sum = Written;

    fn zero(&self, _: &Bench) -> Written {
        Written::default()
    }

    fn add(&self, bench: &Bench, sum: &mut Written, index: usize) -> Result<(), Error> {
        let (entry, splits) = self.write(bench, index)?;
        sum.files.push((index, entry, splits));
        sum.marks.push((index, bench.stage.mark.clone()));
        Ok(())
    }

    fn merge(total: &mut Written, part: Written) {
        total.files.extend(part.files);
        total.marks.extend(part.marks);
    }
}

impl Write {
    fn write(&self, bench: &Bench, index: usize) -> Result<(PartitionEntry, SplitCounts), Error> {
        let spec = &bench.spec;
        let cut: Cut = self.boundaries.cut(spec);
        let mut partition = Partition { cut, ..bench.stage.load(index)? };
        let is_series = spec.kind == DatasetKind::Series;
        if is_series {
            to_series(&mut partition);
        } else {
            let derived = self.deriver.derive(bench, index, &partition)?;
            rename(&self.items, &mut partition.items);
            self.categories
                .iter()
                .zip(&mut partition.categorical)
                .for_each(|(names, ids)| rename(names, ids));
            for lists in &self.attributes {
                let of_events = partition.items.iter().map(|item| lists.first(*item)).collect();
                partition.categorical.push(of_events);
            }
            partition.categorical.extend(derived.categorical);
            partition.numeric.extend(derived.numeric);
        }
        let splits = count_splits(&partition, is_series);
        let (users, events) = (partition.users(), u64::from(*partition.offsets.last().unwrap_or(&0)));
        let name = partition_file(index);
        let bytes = encode_partition(partition).map_err(|error| encode_error(name.as_ref(), &error))?;
        let file = write_file(&bench.dataset, (&name, &bench.stage.mark), &bytes)
            .map_err(|source| Error::Write { path: bench.target.join(&name), source })?;
        let FileEntry { file, bytes, digest } = file;
        let first_user = self.first_users[index];
        Ok((PartitionEntry { file, bytes, digest, users, first_user, events }, splits))
    }
}

fn partition_file(index: usize) -> String {
    format!("partition-{index:05}.arrow")
}

/// Replaces provisional ids by final ones.
fn rename(names: &[u32], ids: &mut [u32]) {
    ids.iter_mut().for_each(|id| *id = names[*id as usize]);
}

/// Final ids of items: those that are too rare in training are the unknown one, where the spec asks for it.
fn item_ids<C>(prepared: &Prepared<'_, C>) -> Renaming {
    let (keys, counts) = (&prepared.items, &prepared.counts);
    let is_by_time = prepared.split.kind == SplitKind::Time;
    // What a time split holds out is the future, which must not be seen in the order of ids.
    let ranked_by = if is_by_time { &counts.train_items } else { &counts.items };
    let least = u64::from(prepared.bench.spec.vocabulary.min_train_events);
    let fixed = u32::from(least > 0);
    let has_id = |id: usize| if least == 0 { counts.items[id] > 0 } else { counts.train_items[id] >= least };
    let renaming = match &prepared.parent {
        None => Renaming::ranked(keys, has_id, ranked_by, fixed),
        Some(parent) => Renaming::after(&parent.items, keys, (has_id, ranked_by), fixed),
    };
    if least > 0 { renaming.or_unknown() } else { renaming }
}

fn category_ids<C>(prepared: &Prepared<'_, C>) -> Vec<Renaming> {
    let features = prepared.bench.spec.columns.features().into_iter();
    let names =
        features.filter(|feature| feature.kind == ColumnKind::Categorical).map(|feature| feature.name);
    let counted = prepared.categories.iter().zip(&prepared.counts.categories);
    // Values that no training event has are unknown; without a split by time, all that occur were counted.
    let renaming = |(name, (keys, counts)): (String, (&Keys, &Vec<u64>))| {
        match prepared.parent.as_ref().and_then(|parent| parent.column(&name)) {
            None => Renaming::new(keys, counts, 1),
            Some(parent) => Renaming::after(parent, keys, (|id| counts[id] > 0, counts), 1),
        }
        .or_unknown()
    };
    names.zip(counted).map(renaming).collect()
}

/// Writes the dataset and puts it in place.
pub(super) fn write<C: Crew>(prepared: &Prepared<'_, C>, output: Output) -> Result<DatasetManifest, Error> {
    let Prepared { crew, bench, users, .. } = prepared;
    let spec = &bench.spec;
    let is_series = spec.kind == DatasetKind::Series;
    let items = item_ids(prepared);
    let categories = category_ids(prepared);
    let boundaries = Boundaries::of(&prepared.split);
    let known = (prepared.categories.first(), &prepared.numeric[..]);
    let deriver = Deriver::new(*crew, bench, known, &boundaries)?;
    let attributes = read_attributes(spec, prepared.item_files, &items.keys, prepared.parent.as_ref())?;
    let pass = Write {
        items: items.ids.clone(),
        categories: categories.iter().map(|names| names.ids.clone()).collect(),
        attributes: attributes.iter().map(|attribute| attribute.lists.clone()).collect(),
        boundaries,
        deriver,
        first_users: first_users(users)?,
    };
    let Written { mut files, marks } = crew.run(bench, &pass)?;
    for (index, mark) in by_partition(marks).iter().enumerate() {
        output.unmark(&partition_file(index), mark)?;
    }
    files.sort_unstable_by_key(|(index, ..)| *index);
    let (partitions, splits): (Vec<_>, Vec<_>) =
        files.into_iter().map(|(_, entry, splits)| (entry, splits)).unzip();
    let derived = Deriver::vocabularies(spec);
    let vocabularies: Vec<&Keys> = categories
        .iter()
        .map(|names| &names.keys)
        .chain(attributes.iter().map(|attribute| &attribute.keys))
        .chain(derived.iter().map(|(_, keys)| keys))
        .collect();
    let manifest = manifest(prepared, &items, (partitions, splits), &vocabularies);
    let items_file =
        if is_series { None } else { Some(write_items(&output, &items, &prepared.counts, &attributes)?) };
    let vocabularies = write_vocabularies(&output, &vocabularies)?;
    seal(DatasetManifest { items_file, vocabularies, ..manifest }, output)
}

/// The manifest but for the files that are still to be written.
fn manifest<C>(
    prepared: &Prepared<'_, C>,
    items: &Renaming,
    (partitions, splits): (Vec<PartitionEntry>, Vec<SplitCounts>),
    vocabularies: &[&Keys],
) -> DatasetManifest {
    let Prepared { bench, counts, .. } = prepared;
    let spec = &bench.spec;
    DatasetManifest {
        schema_version: DatasetManifest::SCHEMA_VERSION,
        name: spec.name.clone(),
        kind: spec.kind,
        source: spec.source.clone(),
        columns: columns(spec, &prepared.numeric, vocabularies),
        users: partitions.iter().map(|partition| partition.users).sum(),
        items: items.keys.len() as u32,
        unknown_item: spec.vocabulary.min_train_events > 0,
        events: prepared.report.rows_out,
        split: prepared.split.clone(),
        splits: splits.into_iter().fold(SplitCounts::default(), add_splits),
        time_range: counts.time_range.filter(|_| spec.columns.time.is_some()),
        cleaning: prepared.report.clone(),
        partitions,
        items_file: None,
        vocabularies: vec![],
        digest: String::new(),
    }
}

fn seal(mut manifest: DatasetManifest, output: Output) -> Result<DatasetManifest, Error> {
    manifest.seal().map_err(|error| encode_error(DatasetManifest::FILE.as_ref(), &error))?;
    output.publish(&manifest)?;
    Ok(manifest)
}

fn first_users(users: &[u32]) -> Result<Vec<u32>, Error> {
    let mut next = 0_u32;
    users
        .iter()
        .map(|count| {
            let first = next;
            next = next.checked_add(*count).ok_or_else(|| Error::TooManyValues {
                column: "user".to_owned(),
                limit: u32::MAX,
                hint: "raise `cleaning.min_user_events`, or prepare a part of the log",
            })?;
            Ok(first)
        })
        .collect()
}

fn columns(spec: &DatasetSpec, numeric: &[String], vocabularies: &[&Keys]) -> Vec<Column> {
    let of_events = spec
        .columns
        .features()
        .into_iter()
        .filter(|feature| feature.kind == ColumnKind::Categorical)
        .map(|feature| (feature.name, ColumnOf::Event));
    let of_items =
        spec.item_tables.iter().flat_map(|table| table.names().map(|name| (name.to_owned(), ColumnOf::Item)));
    let derived =
        |kind| spec.features.of_kind(kind).map(|derived| (derived.name().to_owned(), ColumnOf::Event));
    let categorical =
        of_events.chain(of_items).chain(derived(ColumnKind::Categorical)).zip(vocabularies).map(
            |((name, of), keys)| Column {
                name,
                kind: ColumnKind::Categorical,
                of,
                vocabulary: keys.len() as u32,
            },
        );
    let numeric = numeric.iter().map(|name| (name.clone(), ColumnOf::Event));
    let numeric = numeric.chain(derived(ColumnKind::Numeric)).map(|(name, of)| Column {
        name,
        kind: ColumnKind::Numeric,
        of,
        vocabulary: 0,
    });
    categorical.chain(numeric).collect()
}

fn count_splits(partition: &Partition, is_series: bool) -> SplitCounts {
    let mut counts = SplitCounts::default();
    for user in 0..partition.users() {
        if is_series {
            match partition.role(user) {
                Split::Train => counts.train += 1,
                Split::Valid => counts.valid += 1,
                Split::Test => counts.test += 1,
            }
            continue;
        }
        counts.train += partition.train(user).len() as u64;
        counts.valid += u64::from(partition.held_out(user, Split::Valid).is_some());
        counts.test += u64::from(partition.held_out(user, Split::Test).is_some());
    }
    counts
}

fn add_splits(total: SplitCounts, part: SplitCounts) -> SplitCounts {
    SplitCounts {
        train: total.train + part.train,
        valid: total.valid + part.valid,
        test: total.test + part.test,
    }
}

/// Turns plain columns into rows of numbers and their targets.
fn to_series(partition: &mut Partition) {
    let mut columns = std::mem::take(&mut partition.numeric);
    let targets = columns.pop().unwrap_or_default();
    let mut features = Vec::with_capacity(columns.len() * targets.len());
    for row in 0..targets.len() {
        features.extend(columns.iter().map(|column| column[row]));
    }
    partition.items = vec![];
    partition.times = vec![];
    partition.categorical = vec![];
    partition.series = Some(Series { width: columns.len() as u32, features, targets });
}

fn write_items(
    output: &Output,
    items: &Renaming,
    counts: &Counts,
    attributes: &[Attribute],
) -> Result<FileEntry, Error> {
    let train = items.sums(&counts.train_items);
    let lists: Vec<&AttributeLists> = attributes.iter().map(|attribute| &attribute.lists).collect();
    let name = "items.arrow";
    let bytes =
        encode_items(&items.keys, train, &lists).map_err(|error| encode_error(name.as_ref(), &error))?;
    output.write(name, &bytes)
}

fn write_vocabularies(output: &Output, vocabularies: &[&Keys]) -> Result<Vec<FileEntry>, Error> {
    vocabularies
        .iter()
        .enumerate()
        .map(|(idx, keys)| {
            let name = format!("vocabulary-{idx:03}.arrow");
            let bytes = encode_vocabulary(keys).map_err(|error| encode_error(name.as_ref(), &error))?;
            output.write(&name, &bytes)
        })
        .collect()
}

//! Last pass: final ids, the files of the dataset, and its manifest.

use std::path::PathBuf;

use muster_proto::dataset::{
    CleaningReport, Column, ColumnKind, ColumnOf, DatasetKind, DatasetManifest, DatasetSpec, FileEntry,
    PartitionEntry, SplitCounts, SplitKind, SplitSpec,
};

use super::attributes::{Attribute, read_attributes};
use super::error::Error;
use super::features::Deriver;
use super::filter::Counts;
use super::ingest::Ingested;
use super::publish::Output;
use super::stage::{Stage, encode_error};
use super::vocabulary::{Parent, Renaming};
use crate::store::{
    AttributeLists, Cut, Keys, Partition, Series, Split, encode_items, encode_partition, encode_vocabulary,
};

/// What the earlier passes found.
pub(super) struct Prepared<'p> {
    pub(super) spec: &'p DatasetSpec,
    pub(super) item_files: &'p [Vec<PathBuf>],
    pub(super) ingested: Ingested,
    pub(super) stage: Stage,
    pub(super) counts: Counts,
    /// The split, with the times of its parts.
    pub(super) split: SplitSpec,
    pub(super) users: Vec<u32>,
    pub(super) report: CleaningReport,
    /// The dataset whose ids are kept.
    pub(super) parent: Option<Parent>,
}

/// Final ids of items: those that are too rare in training are the unknown one, where the spec asks for it.
fn item_ids(prepared: &Prepared<'_>) -> Renaming {
    let (keys, counts) = (&prepared.ingested.items, &prepared.counts);
    let is_by_time = prepared.split.kind == SplitKind::Time;
    // What a time split holds out is the future, which must not be seen in the order of ids.
    let ranked_by = if is_by_time { &counts.train_items } else { &counts.items };
    let least = u64::from(prepared.spec.vocabulary.min_train_events);
    let fixed = u32::from(least > 0);
    let has_id = |id: usize| if least == 0 { counts.items[id] > 0 } else { counts.train_items[id] >= least };
    let renaming = match &prepared.parent {
        None => Renaming::ranked(keys, has_id, ranked_by, fixed),
        Some(parent) => Renaming::after(&parent.items, keys, (has_id, ranked_by), fixed),
    };
    if least > 0 { renaming.or_unknown() } else { renaming }
}

fn category_ids(prepared: &Prepared<'_>) -> Vec<Renaming> {
    let features = prepared.spec.columns.features().into_iter();
    let names =
        features.filter(|feature| feature.kind == ColumnKind::Categorical).map(|feature| feature.name);
    let counted = prepared.ingested.categories.iter().zip(&prepared.counts.categories);
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
pub(super) fn write(prepared: &Prepared<'_>, output: Output) -> Result<DatasetManifest, Error> {
    let Prepared { spec, ingested, stage, users, .. } = prepared;
    let is_series = spec.kind == DatasetKind::Series;
    let items = item_ids(prepared);
    let categories = category_ids(prepared);
    let cut = Cut::new(&prepared.split, spec.vocabulary.min_train_events > 0);
    let deriver = Deriver::new(spec, ingested, stage, cut)?;
    let attributes = read_attributes(spec, prepared.item_files, &items.keys, prepared.parent.as_ref())?;
    let first_users = first_users(users)?;
    let written = stage.map(|index| {
        let mut partition = Partition { cut, ..stage.load(index)? };
        if is_series {
            to_series(&mut partition);
        } else {
            let derived = deriver.derive(index, &partition)?;
            items.apply(&mut partition.items);
            categories.iter().zip(&mut partition.categorical).for_each(|(names, ids)| names.apply(ids));
            for attribute in &attributes {
                let of_events = partition.items.iter().map(|item| attribute.lists.first(*item)).collect();
                partition.categorical.push(of_events);
            }
            partition.categorical.extend(derived.categorical);
            partition.numeric.extend(derived.numeric);
        }
        let splits = count_splits(&partition, is_series);
        let (n_users, events) = (partition.users(), u64::from(*partition.offsets.last().unwrap_or(&0)));
        let name = format!("partition-{index:05}.arrow");
        let bytes = encode_partition(partition).map_err(|error| encode_error(name.as_ref(), &error))?;
        let file = output.write(&name, &bytes)?;
        let entry = PartitionEntry {
            file: file.file,
            bytes: file.bytes,
            digest: file.digest,
            users: n_users,
            first_user: first_users[index],
            events,
        };
        Ok((entry, splits))
    })?;
    let (partitions, splits): (Vec<_>, Vec<_>) = written.into_iter().unzip();
    let derived = Deriver::vocabularies(spec);
    let vocabularies: Vec<&Keys> = categories
        .iter()
        .map(|names| &names.keys)
        .chain(attributes.iter().map(|attribute| &attribute.keys))
        .chain(derived.iter().map(|(_, keys)| keys))
        .collect();
    let manifest = manifest(prepared, &items, (partitions, splits), &vocabularies);
    let items_file =
        if is_series { None } else { Some(write_items(&output, &items, prepared, &attributes)?) };
    let vocabularies = write_vocabularies(&output, &vocabularies)?;
    seal(DatasetManifest { items_file, vocabularies, ..manifest }, output)
}

/// The manifest but for the files that are still to be written.
fn manifest(
    prepared: &Prepared<'_>,
    items: &Renaming,
    (partitions, splits): (Vec<PartitionEntry>, Vec<SplitCounts>),
    vocabularies: &[&Keys],
) -> DatasetManifest {
    let Prepared { spec, ingested, counts, .. } = prepared;
    DatasetManifest {
        schema_version: DatasetManifest::SCHEMA_VERSION,
        name: spec.name.clone(),
        kind: spec.kind,
        source: spec.source.clone(),
        columns: columns(spec, &ingested.numeric, vocabularies),
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
    prepared: &Prepared<'_>,
    attributes: &[Attribute],
) -> Result<FileEntry, Error> {
    let train = items.sums(&prepared.counts.train_items);
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

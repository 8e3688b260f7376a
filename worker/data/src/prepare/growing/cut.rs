//! Cuts a dataset from a base: the increments are put together as if their files had been read one after the other.

use std::path::{Path, PathBuf};

use muster_proto::dataset::{CleaningReport, DatasetManifest, DatasetSpec, FileEntry};

use super::Base;
use crate::prepare::attributes;
use crate::prepare::error::Error;
use crate::prepare::ingest::{Ingested, Records};
use crate::prepare::inputs::Variables;
use crate::prepare::intern::Interner;
use crate::prepare::publish::Output;
use crate::prepare::spill::{self, Layout};
use crate::prepare::vocabulary::Parent;
use crate::prepare::{derive, make_pool};
use crate::store::{Dataset, Keys, decode_vocabulary};

/// What to cut, and where to.
#[derive(Clone, Copy)]
pub struct CutArgs<'a> {
    /// What is made of the base's rows; its inputs are not read.
    pub spec: &'a DatasetSpec,
    /// The folder that relative paths of the spec's item tables start from.
    pub base: &'a Path,
    /// The base's folder.
    pub store: &'a Path,
    /// A dataset whose ids are kept: what is new comes after them.
    pub parent: Option<&'a Path>,
    /// The dataset's folder: absent, empty, or a dataset that is replaced.
    pub out: &'a Path,
    /// Number of threads.
    pub threads: usize,
    /// Looks up environment variables of paths.
    pub variables: Variables<'a>,
}

/// Cuts a dataset and gives its manifest.
///
/// # Errors
/// There is no base, it was read in another way or is damaged, the parent does not fit, or as of a preparation.
pub fn cut(args: &CutArgs<'_>) -> Result<DatasetManifest, Error> {
    let spec = args.spec;
    let missing = || Error::Base { path: args.store.to_owned(), what: "there is none".to_owned() };
    let base = Base::open(args.store)?.ok_or_else(missing)?;
    base.manifest.check_reading(spec)?;
    let parent = args.parent.map(|dir| load_parent(spec, dir)).transpose()?;
    let item_files = attributes::resolve_tables(spec, args.base, args.variables)?;
    let output = Output::start(args.out)?;
    let ingested = merge(spec, &base)?;
    derive(spec, &item_files, make_pool(args.threads)?, output, ingested, parent)
}

/// The ids of a dataset, by column.
fn load_parent(spec: &DatasetSpec, dir: &Path) -> Result<Parent, Error> {
    let unfit = |what: String| Error::Parent { path: dir.to_owned(), what };
    let dataset = Dataset::open(dir).map_err(|error| unfit(error.to_string()))?;
    if dataset.manifest().unknown_item != (spec.vocabulary.min_train_events > 0) {
        return Err(unfit(
            "only one of the two has an unknown item (`vocabulary.min_train_events`)".to_owned(),
        ));
    }
    let items = dataset.load_items().map_err(|error| unfit(error.to_string()))?;
    let mut parent =
        Parent { items: (0..items.len() as u32).map(|id| items.key(id)).collect(), columns: vec![] };
    for column in dataset.manifest().categorical() {
        let keys = dataset.load_vocabulary(&column.name).map_err(|error| unfit(error.to_string()))?;
        let keys = (0..keys.len() as u32).map(|id| keys.key(id)).collect();
        parent.columns.push((column.name.clone(), keys));
    }
    Ok(parent)
}

/// What a preparation of all files would have found.
fn merge(spec: &DatasetSpec, base: &Base) -> Result<Ingested, Error> {
    let manifest = &base.manifest;
    let (items, max_items) = Interner::of_items(spec);
    let n_categories = manifest.increments.first().map_or(0, |increment| increment.categories.len());
    let categories: Vec<Interner> = (0..n_categories).map(|_| Interner::with_unknown()).collect();
    let has_target = usize::from(spec.columns.target.is_some());
    let layout = Layout {
        categorical: n_categories,
        numeric: manifest.numeric.len() + has_target,
        has_ids: spec.columns.event_id.is_some(),
    };
    let (mut parts, mut report) = (Vec::new(), CleaningReport::default());
    for increment in &manifest.increments {
        let dir = base.dir.join(&increment.folder);
        let mut ids = vec![renumber(&dir, &increment.items, &items, max_items)?];
        for (file, interner) in increment.categories.iter().zip(&categories) {
            ids.push(renumber(&dir, file, interner, u32::MAX)?);
        }
        let by = if spec.columns.time.is_some() { 0 } else { report.rows_in.cast_signed() };
        parts.push(Part { dir, records: increment.records.clone(), ids, by });
        report.add(&increment.report);
    }
    // A file that could not be read at first may have been added whole since, or have failed again.
    let is_in = |name: &str| manifest.input(name).is_some();
    let mut told = std::collections::BTreeSet::new();
    report.left_out.retain(|file| !is_in(&file.file) && told.insert(file.file.clone()));
    let key_bytes = items.bytes() + categories.iter().map(Interner::bytes).sum::<u64>();
    Ok(Ingested {
        spills: Records::Merged(Merged { parts, layout }),
        layout,
        items: items.into_keys(),
        categories: categories.into_iter().map(Interner::into_keys).collect(),
        report,
        numeric: manifest.numeric.clone(),
        key_bytes,
    })
}

/// For the ids of an increment, those of all increments together.
fn renumber(dir: &Path, file: &FileEntry, interner: &Interner, limit: u32) -> Result<Vec<u32>, Error> {
    let path = dir.join(&file.file);
    let bytes = checked(&path, file)?;
    let keys: Keys = decode_vocabulary(bytes).map_err(|what| Error::Base { path, what })?;
    let too_many = || Error::TooManyValues {
        column: "item".to_owned(),
        limit,
        hint: "raise `cleaning.max_items`, or name another column",
    };
    keys.iter().map(|key| interner.intern(key, limit).ok_or_else(too_many)).collect()
}

fn checked(path: &Path, file: &FileEntry) -> Result<Vec<u8>, Error> {
    let bytes = std::fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    if bytes.len() as u64 == file.bytes && blake3::hash(&bytes).to_hex().to_string() == file.digest {
        return Ok(bytes);
    }
    let what = "was changed after it was written; begin the base anew".to_owned();
    Err(Error::Base { path: path.to_owned(), what })
}

/// The records of all increments.
#[derive(Debug)]
pub(in crate::prepare) struct Merged {
    parts: Vec<Part>,
    layout: Layout,
}

#[derive(Debug)]
struct Part {
    dir: PathBuf,
    records: Vec<Option<FileEntry>>,
    /// New ids by old ones: of items, then of each categorical column.
    ids: Vec<Vec<u32>>,
    /// Rows of the increments before, where times are positions.
    by: i64,
}

impl Merged {
    /// Bytes of the records of a partition.
    pub(in crate::prepare) fn bytes(&self, partition: usize) -> u64 {
        let files = self.parts.iter().filter_map(|part| part.records.get(partition)?.as_ref());
        files.map(|file| file.bytes).sum()
    }

    /// The records of a partition, increment after increment.
    pub(in crate::prepare) fn read(&self, partition: usize) -> Result<Vec<u8>, Error> {
        let mut all = Vec::with_capacity(self.bytes(partition) as usize);
        for part in &self.parts {
            let Some(file) = part.records.get(partition).and_then(Option::as_ref) else { continue };
            let bytes = checked(&part.dir.join(&file.file), file)?;
            let ids = |column: usize, id: u32| part.ids[column].get(id as usize).copied().unwrap_or(u32::MAX);
            spill::rewrite(&bytes, self.layout, part.by, &ids, &mut all);
        }
        Ok(all)
    }
}

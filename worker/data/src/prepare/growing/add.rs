//! Adds files to a base: those that it does not have yet are read, checked row by row, and kept as an increment.

use std::fs::{File, TryLockError};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use muster_proto::dataset::{CleaningReport, DatasetSpec, FileEntry};

use super::manifest::{Increment, Input, Manifest, reading};
use super::{Base, sync_dir};
use crate::prepare::error::Error;
use crate::prepare::ingest::{Ingested, Part, Records, Sources, ingest, name_of, names};
use crate::prepare::inputs::{self, Found, Variables};
use crate::prepare::make_pool;
use crate::prepare::merged::file_entry;
use crate::store::{Keys, encode_vocabulary};

/// Held while something is added.
const LOCK: &str = "lock";
/// Where increments are made; what is left of one that was cut short is removed by the next.
const STAGING: &str = "adding";

/// What to add, and where to.
#[derive(Clone, Copy)]
pub struct AddArgs<'a> {
    /// How rows are read, and the files: those that the base has already are passed over.
    pub spec: &'a DatasetSpec,
    /// The folder that relative paths of the spec start from.
    pub base: &'a Path,
    /// The base's folder: absent, empty, or a base that was read in the same way.
    pub store: &'a Path,
    /// Number of threads.
    pub threads: usize,
    /// Looks up environment variables of paths.
    pub variables: Variables<'a>,
}

/// What was added.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Added {
    /// Files that are new in the base.
    pub files: u64,
    /// Files that it had already.
    pub known: u64,
    /// What the rules on single rows did to the new ones.
    pub report: CleaningReport,
    /// Increments that the base has now.
    pub increments: u64,
}

/// Adds files to a base.
///
/// # Errors
/// The base is in use, was read in another way, or has a file of one of these names and another size; an input is missing or
/// broken; something cannot be written. The base is then as it was.
pub fn add(args: &AddArgs<'_>) -> Result<Added, Error> {
    let spec = args.spec;
    let files = inputs::find(&spec.input, args.base, &spec.source, args.variables)?;
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Write { path, source }
    };
    std::fs::create_dir_all(args.store).map_err(failed(args.store))?;
    // Taken before the manifest is read, so that nobody else has added since.
    let _lock = lock(args.store)?;
    let base = match Base::open(args.store)? {
        Some(base) => base,
        None => {
            check_free(args.store)?;
            Base { dir: args.store.to_owned(), manifest: Manifest::new(spec, vec![])? }
        }
    };
    base.manifest.check_reading(spec)?;
    let (fresh, known) = fresh_inputs(&base, &files, args.base)?;
    let mut added = Added { known, increments: base.manifest.increments.len() as u64, ..Added::default() };
    if fresh.is_empty() {
        return Ok(added);
    }
    let staging = base.dir.join(STAGING);
    clear(&staging)?;
    std::fs::create_dir(&staging).map_err(failed(&staging))?;
    let paths: Vec<PathBuf> = fresh.iter().map(|(path, _)| path.clone()).collect();
    let rules = DatasetSpec { memory: spec.memory, input: spec.input.clone(), ..reading(spec) };
    let sources = Sources {
        spec: &rules,
        files: &paths,
        names: &names(&paths, args.base),
        part: Part::Files(0..paths.len()),
        work: &staging,
        dataset: &staging,
        pulse: &|| true,
    };
    let ingested = ingest(&sources, &make_pool(args.threads)?)?;
    let inputs: Vec<Input> = fresh.into_iter().map(|(_, input)| input).collect();
    added.files = (inputs.len() - ingested.report.left_out.len()) as u64;
    added.report.clone_from(&ingested.report);
    publish(base, &staging, ingested, inputs)?;
    added.increments += 1;
    Ok(added)
}

/// The files that the base does not have, and how many it has.
fn fresh_inputs(base: &Base, files: &[Found], root: &Path) -> Result<(Vec<(PathBuf, Input)>, u64), Error> {
    let (mut fresh, mut known) = (Vec::new(), 0);
    for found in files {
        let (path, bytes) = (&found.path, found.bytes()?);
        let name = name_of(path, root);
        match base.manifest.input(&name) {
            None => fresh.push((path.clone(), Input { name, bytes })),
            Some(input) if input.bytes == bytes => known += 1,
            Some(input) => {
                return Err(Error::InputChanged { path: path.clone(), found: bytes, expected: input.bytes });
            }
        }
    }
    Ok((fresh, known))
}

/// Makes an increment durable, and then visible.
fn publish(mut base: Base, staging: &Path, ingested: Ingested, inputs: Vec<Input>) -> Result<(), Error> {
    if base.manifest.increments.is_empty() {
        base.manifest.numeric.clone_from(&ingested.numeric);
    } else if base.manifest.numeric != ingested.numeric {
        return Err(Error::OtherReading {
            keys: format!("columns.numeric (now {})", ingested.numeric.join(", ")),
        });
    }
    let Records::Spilled(spills) = &ingested.spills else {
        unreachable!("rows that were just read are spilled");
    };
    let records = (0..spills.len()).map(|partition| {
        let path = spills.path(partition);
        if path.exists() { entry(&path).map(Some) } else { Ok(None) }
    });
    let records = records.collect::<Result<_, _>>()?;
    let items = save_keys(staging, "items.arrow", &ingested.items)?;
    let categories = ingested.categories.iter().enumerate();
    let categories = categories.map(|(idx, keys)| save_keys(staging, &format!("keys-{idx:03}.arrow"), keys));
    let categories = categories.collect::<Result<_, _>>()?;
    sync_dir(staging)?;
    let folder = format!("increment-{:05}", base.manifest.increments.len());
    let target = base.dir.join(&folder);
    // One that the manifest does not name is what a process left that was killed before it could.
    clear(&target)?;
    std::fs::rename(staging, &target).map_err(|source| Error::Write { path: target.clone(), source })?;
    sync_dir(&base.dir)?;
    let left_out = &ingested.report.left_out;
    let inputs =
        inputs.into_iter().filter(|input| left_out.iter().all(|file| file.file != input.name)).collect();
    let report = ingested.report;
    base.manifest.increments.push(Increment { folder, report, inputs, records, items, categories });
    base.save()
}

fn save_keys(dir: &Path, name: &str, keys: &Keys) -> Result<FileEntry, Error> {
    let encode =
        |error: arrow_schema::ArrowError| Error::Encode { file: name.to_owned(), what: error.to_string() };
    let bytes = encode_vocabulary(keys).map_err(encode)?;
    let path = dir.join(name);
    let written = File::create_new(&path).and_then(|mut file| file.write_all(&bytes));
    written.map_err(|source| Error::Write { path: path.clone(), source })?;
    entry(&path)
}

/// Syncs a file and says what is in it.
fn entry(path: &Path) -> Result<FileEntry, Error> {
    let failed = |source| Error::Read { path: path.to_owned(), source };
    File::open(path).and_then(|file| file.sync_all()).map_err(failed)?;
    file_entry(path)
}

fn lock(dir: &Path) -> Result<File, Error> {
    let path = dir.join(LOCK);
    let failed = |source| Error::Write { path: path.clone(), source };
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Busy { path: dir.to_owned() }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// A new base begins in an empty folder, or in one where nothing but the first increment was begun.
fn check_free(dir: &Path) -> Result<(), Error> {
    let entries = std::fs::read_dir(dir).map_err(|source| Error::Read { path: dir.to_owned(), source })?;
    for entry in entries.filter_map(Result::ok) {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_ours =
            name == LOCK || name == STAGING || name == "increment-00000" || name.starts_with(".tmp");
        if !is_ours {
            return Err(Error::OutputOccupied { path: dir.to_owned() });
        }
    }
    Ok(())
}

fn clear(dir: &Path) -> Result<(), Error> {
    match std::fs::remove_dir_all(dir) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::Write { path: dir.to_owned(), source })
        }
        _ => Ok(()),
    }
}

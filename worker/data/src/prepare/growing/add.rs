//! Adds files to a base: those that it does not have yet are read, checked row by row, and kept as an increment.

use std::fs::{File, TryLockError};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use muster_proto::dataset::{CleaningReport, DatasetSpec, FileEntry};
use rayon::prelude::*;

use super::digest::digest;
use super::manifest::{Increment, Input, Manifest, reading};
use super::{Base, sync_dir};
use crate::prepare::error::Error;
use crate::prepare::ingest::{Ingested, Part, Records, Sources, ingest, name_of, names};
use crate::prepare::inputs::{self, Found, Variables, Version};
use crate::prepare::make_pool;
use crate::prepare::merged::file_entry;
use crate::prepare::pass::Pulse;
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
    /// For whom they are added, to be noted with them.
    pub by: Option<&'a str>,
    /// Is told of each piece of work.
    pub pulse: Pulse<'a>,
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
/// The base is in use, was read in another way, or has a file of one of these names and other bytes; an input is missing or
/// broken, or changes while it is read; something cannot be written. The base is then as it was.
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
    let mut base = match Base::open(args.store)? {
        Some(base) => base,
        None => {
            check_free(args.store)?;
            Base { dir: args.store.to_owned(), manifest: Manifest::new(spec, vec![])? }
        }
    };
    base.manifest.check_reading(spec)?;
    let pool = make_pool(args.threads)?;
    let (root, pulse) = (args.base, args.pulse);
    let look = |found: &Found| look(&base, found, (root, pulse));
    let looked: Vec<Look> = pool.install(|| files.par_iter().map(look).collect::<Result<_, _>>())?;
    let (fresh, is_restamped) = sort_out(&mut base.manifest, looked);
    let known = (files.len() - fresh.len()) as u64;
    let mut added = Added { known, increments: base.manifest.increments.len() as u64, ..Added::default() };
    if fresh.is_empty() {
        if is_restamped {
            base.save()?;
        }
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
        pulse: args.pulse,
    };
    let ingested = ingest(&sources, &pool)?;
    let left_out = &ingested.report.left_out;
    let counts = |input: &Input| left_out.iter().all(|file| file.file != input.name);
    let inputs = fresh.into_iter().filter(|(_, input)| counts(input));
    let inputs: Vec<Input> =
        inputs.map(|(path, input)| steady(&path, input, args.pulse)).collect::<Result<_, _>>()?;
    added.files = inputs.len() as u64;
    added.report.clone_from(&ingested.report);
    publish(base, &staging, ingested, (inputs, args.by))?;
    added.increments += 1;
    Ok(added)
}

/// What a file is to a base.
enum Look {
    /// It does not have it.
    Fresh(PathBuf, Input),
    Known,
    /// It has it, with the same bytes, but its file system says something else of it.
    Restamped {
        name: String,
        stamp: String,
    },
}

/// Looks whether the base has a file. It is known again by what its file system says of it, so that thousands need not be
/// read; where that differs, its bytes decide.
fn look(base: &Base, found: &Found, (root, pulse): (&Path, Pulse<'_>)) -> Result<Look, Error> {
    let path = &found.path;
    let name = name_of(path, root);
    // Said before its digest is taken, so that a change while that is done shows.
    let Version { bytes, stamp } = found.version()?;
    let Some(input) = base.manifest.input(&name) else {
        let digest = match digest(path, pulse) {
            // Whether the others count without it is for whoever reads its rows to say.
            Err(error) if error.is_of_a_file() => None,
            digest => Some(digest?),
        };
        return Ok(Look::Fresh(path.clone(), Input { name, bytes, digest, stamp: Some(stamp) }));
    };
    let changed =
        |found: String, expected: String| Error::InputChanged { path: path.clone(), found, expected };
    if bytes != input.bytes {
        return Err(changed(format!("{bytes} bytes"), input.bytes.to_string()));
    }
    let Some(expected) = input.digest.as_ref().filter(|_| input.stamp.as_ref() != Some(&stamp)) else {
        return Ok(Look::Known);
    };
    let digest = digest(path, pulse)?;
    if digest == *expected {
        return Ok(Look::Restamped { name, stamp });
    }
    Err(changed(format!("the digest {digest}"), expected.clone()))
}

/// The files that are to be read, and whether the base has anything new to note of those that it has.
fn sort_out(manifest: &mut Manifest, looked: Vec<Look>) -> (Vec<(PathBuf, Input)>, bool) {
    let (mut fresh, mut is_restamped) = (Vec::new(), false);
    for look in looked {
        match look {
            Look::Fresh(path, input) => fresh.push((path, input)),
            Look::Known => {}
            Look::Restamped { name, stamp } => {
                manifest.restamp(&name, stamp);
                is_restamped = true;
            }
        }
    }
    (fresh, is_restamped)
}

/// Checks that a file that was read is the one whose digest was taken.
fn steady(path: &Path, mut input: Input, pulse: Pulse<'_>) -> Result<Input, Error> {
    if input.digest.is_none() {
        input.digest = Some(digest(path, pulse)?);
    }
    let Version { bytes, stamp } = Version::of(path)?;
    if bytes == input.bytes && input.stamp.as_ref() == Some(&stamp) {
        return Ok(input);
    }
    Err(Error::InputUnsteady { path: path.to_owned() })
}

/// Makes an increment durable, and then visible.
fn publish(
    mut base: Base,
    staging: &Path,
    ingested: Ingested,
    (inputs, by): (Vec<Input>, Option<&str>),
) -> Result<(), Error> {
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
    let Ingested { report, times, .. } = ingested;
    let by = by.map(str::to_owned);
    base.manifest.increments.push(Increment {
        folder,
        report,
        inputs,
        records,
        items,
        categories,
        times,
        by,
    });
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

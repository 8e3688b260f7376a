//! A worker's side: one unit of a preparation, done with the threads of this process.

use std::ops::Range;
use std::path::{Path, PathBuf};

use muster_proto::control::Unit;
use muster_proto::dataset::FileEntry;
use serde_json::Value;

use super::crew::{Answer, BenchFile, PassFile, bench_file, input_file, pass_file, records_file};
use super::files;
use super::merge::ShareFile;
use super::share::{Reading, reading_file, spec_from};
use crate::prepare::boundaries::Recount;
use crate::prepare::buckets::Buckets;
use crate::prepare::error::Error;
use crate::prepare::features::{CountItems, CountPrices, DealByItem};
use crate::prepare::filter::Filter;
use crate::prepare::ingest::{self, Found, Records, Sources};
use crate::prepare::kcore::CountAlive;
use crate::prepare::merged::{MergedFile, file_entry};
use crate::prepare::pass::{Bench, Pass, Pulse, Threads};
use crate::prepare::quantile::Digits;
use crate::prepare::sequences::Sort;
use crate::prepare::stage::Stage;
use crate::prepare::write::Write;
use crate::prepare::{fit, make_pool};

/// Bytes of an error that an answer has room for.
const LONGEST_MESSAGE: usize = 4096;

/// A unit to do.
#[derive(Clone, Copy)]
pub struct UnitArgs<'a> {
    /// The folder in which it is described and which takes what it finds.
    pub folder: &'a Path,
    /// Which unit.
    pub unit: Unit,
    /// What nobody else who does this unit has: goes into the names of all that is written.
    pub mark: &'a str,
    /// Number of threads.
    pub threads: usize,
    /// Is told of each piece of work that was done; false where the work is to stop.
    pub pulse: Pulse<'a>,
}

/// Does a unit of a preparation; what it came to, for whoever dealt it out. An error of the input is an answer, too.
///
/// # Errors
/// [`Error::Stopped`] where it was told to stop.
pub fn run_unit(args: &UnitArgs<'_>) -> Result<Value, Error> {
    let done = match args.unit {
        Unit::Share(share) => read_share(args, share),
        Unit::Part { pass, part } => make_part(args, pass, part),
    };
    let answer = match done {
        Ok(name) => Answer::Wrote(name),
        Err(Error::Stopped) => return Err(Error::Stopped),
        Err(error) => Answer::Error(Box::new(error.told().shortened(LONGEST_MESSAGE))),
    };
    serde_json::to_value(answer)
        .map_err(|error| Error::Encode { file: "the answer".to_owned(), what: error.to_string() })
}

/// Reads a share of the input into a folder of its own; its name.
fn read_share(args: &UnitArgs<'_>, share: u32) -> Result<String, Error> {
    let path = reading_file(args.folder);
    let Reading { spec, files: inputs, names, shares } = files::load(&path)?;
    let spec = spec_from(&spec, &path)?;
    let missing = || Error::Shared { path: path.clone(), what: format!("it has no share {share}") };
    let part = shares.get(share as usize).cloned().ok_or_else(missing)?;
    let name = format!("read-{share:05}{}", args.mark);
    let dir = args.folder.join(&name);
    std::fs::create_dir(&dir).map_err(|source| Error::Write { path: dir.clone(), source })?;
    let sources = Sources {
        spec: &spec,
        files: &inputs,
        names: &names,
        part,
        work: &dir,
        dataset: &dir,
        pulse: args.pulse,
    };
    let Found { ingested, quarantine, first_error, ending } =
        ingest::read(&sources, &make_pool(args.threads)?)?;
    let Records::Spilled(spills) = &ingested.spills else {
        unreachable!("rows that were just read are spilled");
    };
    let categories = ingested.categories.iter().enumerate();
    let categories =
        categories.map(|(idx, keys)| files::save_keys(&dir, &format!("keys-{idx:03}.arrow"), keys));
    let file = ShareFile {
        omitted: quarantine.finish_part()?,
        first_error: first_error.map(|error| error.told()),
        ending,
        layout: ingested.layout,
        records: records(spills)?,
        items: files::save_keys(&dir, "items.arrow", &ingested.items)?,
        categories: categories.collect::<Result<_, _>>()?,
        numeric: ingested.numeric,
        report: ingested.report,
    };
    files::save(&dir.join(ShareFile::NAME), &file)?;
    Ok(name)
}

/// The files of records by partition.
fn records(spills: &Buckets) -> Result<Vec<Option<FileEntry>>, Error> {
    let entry = |partition| {
        let path = spills.path(partition);
        if path.exists() { file_entry(&path).map(Some) } else { Ok(None) }
    };
    (0..spills.len()).map(entry).collect()
}

/// What a pass needs of this process.
struct Place<'a> {
    bench: Bench,
    threads: Threads<'a>,
    partitions: Range<usize>,
    input: PathBuf,
    sum: PathBuf,
}

/// Makes a part of a pass; the name of the file with its sum.
fn make_part(args: &UnitArgs<'_>, pass: u32, part: u32) -> Result<String, Error> {
    let PassFile { name, parts, staged, items } = files::load(&pass_file(args.folder, pass))?;
    let (bench, threads) = set_up(args, staged, items)?;
    let all = bench.stage.partitions;
    let bound = |part: usize| part * all / parts.max(1);
    let partitions = bound(part as usize)..bound(part as usize + 1).min(all);
    let sum = format!("sum-{pass:05}-{part:05}{}", args.mark);
    let input = input_file(args.folder, pass);
    let place = Place { bench, threads, partitions, input, sum: args.folder.join(&sum) };
    match name.as_str() {
        Sort::NAME => place.make::<Sort>(),
        CountAlive::NAME => place.make::<CountAlive>(),
        Filter::NAME => place.make::<Filter>(),
        Recount::NAME => place.make::<Recount>(),
        Digits::NAME => place.make::<Digits>(),
        CountPrices::NAME => place.make::<CountPrices>(),
        DealByItem::NAME => place.make::<DealByItem>(),
        CountItems::NAME => place.make::<CountItems>(),
        Write::NAME => place.make::<Write>(),
        _ => {
            let what = format!("it asks for the pass `{name}`, which this version does not know");
            Err(Error::Shared { path: pass_file(args.folder, pass), what })
        }
    }?;
    Ok(sum)
}

impl Place<'_> {
    fn make<P: Pass>(&self) -> Result<(), Error> {
        let pass: P = files::load(&self.input)?;
        let sum = self.threads.run_on(&self.bench, &pass, self.partitions.clone())?;
        files::save(&self.sum, &sum)
    }
}

fn set_up<'a>(
    args: &UnitArgs<'a>,
    staged: Vec<String>,
    items: Vec<String>,
) -> Result<(Bench, Threads<'a>), Error> {
    let path = bench_file(args.folder);
    let file: BenchFile = files::load(&path)?;
    let spec = spec_from(&file.spec, &path)?;
    let pool = make_pool(args.threads)?;
    // Whoever asked has found out that one partition fits.
    let workers =
        (fit(spec.memory, file.key_bytes, file.each).max(1) as usize).min(pool.current_num_threads());
    let stage = Stage {
        dir: args.folder.to_owned(),
        shape: file.shape,
        partitions: spec.partitions as usize,
        staged,
        items,
        mark: args.mark.to_owned(),
    };
    let bench = Bench {
        spec,
        stage,
        records: Records::Filed(MergedFile::new(records_file(args.folder))),
        layout: file.layout,
        items: file.items,
        categories: file.categories,
        dataset: file.dataset,
        target: file.target,
    };
    Ok((bench, Threads { pool, workers, pulse: args.pulse }))
}

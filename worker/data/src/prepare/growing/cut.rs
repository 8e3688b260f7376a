//! Cuts a dataset from a base: the increments are put together as if their files had been read one after the other.

use std::path::Path;

use muster_proto::dataset::{CleaningReport, DatasetManifest, DatasetSpec, FileEntry};

use super::Base;
use super::manifest::Increment;
use crate::prepare::attributes;
use crate::prepare::error::Error;
use crate::prepare::ingest::{Ingested, Records};
use crate::prepare::inputs::Variables;
use crate::prepare::intern::Interner;
use crate::prepare::merged::{Merged, Origin, Part, renumber};
use crate::prepare::pass::Pulse;
use crate::prepare::publish::Output;
use crate::prepare::spill::Layout;
use crate::prepare::vocabulary::Parent;
use crate::prepare::window::Window;
use crate::prepare::{derive_here, make_pool};
use crate::store::Dataset;

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
    /// Only rows of this time count.
    pub window: Window,
    /// Only the first so many increments count; all without it.
    pub increments: Option<u64>,
    /// Is told of each piece of work.
    pub pulse: Pulse<'a>,
}

/// A dataset that was cut.
#[derive(Debug, Clone, PartialEq)]
pub struct Cut {
    /// Its manifest: that of a preparation of files that have no rows outside the window.
    pub manifest: DatasetManifest,
    /// Rows of the increments that are not in the window.
    pub outside: u64,
}

/// Cuts a dataset.
///
/// # Errors
/// There is no base, it was read in another way, is damaged or has fewer increments; the parent does not fit; there is no row in
/// the window, or a window is asked for of a log without times; or as of a preparation.
pub fn cut(args: &CutArgs<'_>) -> Result<Cut, Error> {
    let spec = args.spec;
    if args.window != Window::default() && spec.columns.time.is_none() {
        return Err(Error::Timeless);
    }
    let base = Base::existing(args.store)?;
    base.manifest.check_reading(spec)?;
    let increments = base.first(args.increments)?;
    let parent = args.parent.map(|dir| load_parent(spec, dir)).transpose()?;
    let item_files = attributes::resolve_tables(spec, args.base, args.variables)?;
    let output = Output::start(args.out)?;
    let ingested = merge(spec, &base, increments, args.window)?;
    let rows = ingested.report.rows_in;
    let pool = make_pool(args.threads)?;
    let manifest = derive_here(spec, &item_files, (pool, args.pulse), output, ingested, parent)?;
    Ok(Cut { outside: rows - manifest.cleaning.rows_in, manifest })
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

/// What a preparation of all files of these increments would have found, but for rows that are passed over since they are not in
/// the window.
fn merge(
    spec: &DatasetSpec,
    base: &Base,
    increments: &[Increment],
    window: Window,
) -> Result<Ingested, Error> {
    let manifest = &base.manifest;
    let (items, _) = Interner::of_items(spec);
    let has_unknown = spec.vocabulary.min_train_events > 0;
    let n_categories = increments.first().map_or(0, |increment| increment.categories.len());
    let categories: Vec<Interner> = (0..n_categories).map(|_| Interner::with_unknown()).collect();
    let has_target = usize::from(spec.columns.target.is_some());
    let layout = Layout {
        categorical: n_categories,
        numeric: manifest.numeric.len() + has_target,
        has_ids: spec.columns.event_id.is_some(),
    };
    let (mut parts, mut report, mut passed_over) = (Vec::new(), CleaningReport::default(), 0);
    for increment in increments {
        if increment.times.is_some_and(|times| !window.meets(times)) {
            passed_over += increment.events();
            report.add(&increment.report);
            continue;
        }
        let dir = base.dir.join(&increment.folder);
        let (limit, unknown, origin) = (spec.cleaning.max_items, u32::from(has_unknown), Origin::Base);
        let of_items = ("item", limit, unknown);
        let path = |file: &FileEntry| dir.join(&file.file);
        let mut ids = vec![renumber(&path(&increment.items), &increment.items, origin, &items, of_items)?];
        for (file, interner) in increment.categories.iter().zip(&categories) {
            ids.push(renumber(&path(file), file, origin, interner, ("category", u32::MAX, 0))?);
        }
        let by = if spec.columns.time.is_some() { 0 } else { report.rows_in.cast_signed() };
        parts.push(Part { dir, records: increment.records.clone(), ids, by });
        report.add(&increment.report);
    }
    // A file that could not be read at first may have been added whole since, or have failed again.
    let is_in = |name: &str| increments.iter().any(|increment| increment.input(name).is_some());
    let mut told = std::collections::BTreeSet::new();
    report.left_out.retain(|file| !is_in(&file.file) && told.insert(file.file.clone()));
    let key_bytes = items.bytes() + categories.iter().map(Interner::bytes).sum::<u64>();
    let merged = Merged::new(parts, layout, Origin::Base, window);
    merged.pass_over(passed_over);
    Ok(Ingested {
        spills: Records::Merged(merged),
        layout,
        items: items.into_keys(),
        categories: categories.into_iter().map(Interner::into_keys).collect(),
        report,
        numeric: manifest.numeric.clone(),
        key_bytes,
        times: None,
    })
}

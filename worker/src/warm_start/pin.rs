//! Writes into a job what it begins from, so that the job says it by itself, wherever it runs and however often.

use std::path::Path;

use muster_data::Dataset;
use muster_proto::job::{JobSpec, WindowSpec};

use super::mapping::Mapping;
use super::{Error, Parent};
use crate::submission::absolute;

/// The most runs before the parent's whose datasets are noted.
const WINDOWS: usize = 64;

/// Checks that a job can begin from the parent that it names, and notes in it which model that is, on which dataset it was
/// trained, and what it has been through.
///
/// # Errors
/// The parent is of another shape, or another model than the job names, or was trained on another dataset.
pub fn pin(job: &mut JobSpec, parent: &Parent, dataset: Option<&Dataset>) -> Result<(), Error> {
    parent.check(job)?;
    let Some(warm) = &mut job.warm_start else { return Ok(()) };
    if let Some(dataset) = dataset {
        parent.check_dataset(dataset)?;
        warm.dataset = Some(absolute(dataset.dir())?);
        warm.dataset_digest = Some(dataset.manifest().digest.clone());
    }
    let address = parent.reader.location.address();
    warm.parent = if is_url(&address) { address.display().to_string() } else { absolute(&address)? };
    warm.model_digest = Some(parent.reader.manifest.model_digest.clone());
    if let Some(items) = &mut warm.items {
        *items = absolute(Path::new(items.as_str()))?;
    }
    // What is pinned is the file as it is now.
    warm.items_digest = None;
    warm.items_digest = Mapping::of(warm)?.digest;
    let updates = parent.updates();
    (warm.table_updates, warm.dense_updates) = (updates.tables, updates.dense);
    warm.windows = windows_before(&parent.job);
    Ok(())
}

/// The datasets of the runs before the parent's, newest first: its own parent's, and those that it has noted itself.
fn windows_before(parent: &JobSpec) -> Vec<WindowSpec> {
    let Some(warm) = &parent.warm_start else { return Vec::new() };
    let (Some(dataset), Some(digest)) = (&warm.dataset, &warm.dataset_digest) else { return Vec::new() };
    let newest = WindowSpec { dataset: dataset.clone(), digest: digest.clone() };
    std::iter::once(newest).chain(warm.windows.iter().cloned()).take(WINDOWS).collect()
}

fn is_url(path: &Path) -> bool {
    path.to_str().is_some_and(|text| text.contains("://"))
}

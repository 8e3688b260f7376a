//! Which checkpoints are kept: the newest few and the best, and the full ones that increments among them lie over.

use std::collections::BTreeSet;

use muster_proto::checkpoint::{Base, MANIFEST_FILE};

use super::Error;
use super::location::Location;
use super::reader::all;

/// Removes all but the newest `keep` checkpoints and the best of a run, with their bases and `base`, that of the
/// checkpoint to come. Of each the manifest goes first, and increments go before their bases, so that a removal that is
/// cut short leaves no checkpoint that looks whole and is not.
///
/// # Errors
/// A checkpoint that cannot be removed.
pub fn retain(run: &Location, keep: usize, base: Option<&Base>) -> Result<(), Error> {
    let found = all(run)?;
    let best = found.last().and_then(|r| r.manifest.validation.best_step);
    let newest = found.len().saturating_sub(keep.max(1));
    let (doomed, mut kept): (Vec<_>, Vec<_>) =
        found[..newest].iter().partition(|reader| Some(reader.manifest.step) != best);
    kept.extend(&found[newest..]);
    let bases = kept.iter().filter_map(|reader| reader.manifest.base.as_ref()).chain(base);
    let needed: BTreeSet<&str> = bases.map(|base| base.folder.as_str()).collect();
    for reader in doomed.into_iter().rev() {
        let address = reader.location.address();
        if address.file_name().is_some_and(|name| needed.contains(&*name.to_string_lossy())) {
            continue;
        }
        let location = &reader.location;
        location.remove(MANIFEST_FILE).map_err(|source| Error::Io {
            action: "remove",
            path: location.address(),
            source,
        })?;
    }
    Ok(())
}

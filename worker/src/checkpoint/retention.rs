//! Which checkpoints are kept: the newest few and the best.

use muster_proto::checkpoint::MANIFEST_FILE;

use super::Error;
use super::location::Location;
use super::reader::all;

/// Removes all but the newest `keep` checkpoints and the best of a run. The manifest goes first, so that a
/// removal that is cut short leaves no checkpoint that looks whole.
///
/// # Errors
/// A checkpoint that cannot be removed.
pub fn retain(run: &Location, keep: usize) -> Result<(), Error> {
    let found = all(run)?;
    let best = found.last().and_then(|r| r.manifest.validation.best_step);
    let newest = found.len().saturating_sub(keep.max(1));
    for reader in &found[..newest] {
        if Some(reader.manifest.step) == best {
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

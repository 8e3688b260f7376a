//! Which checkpoints are kept: the newest few and the best.

use std::path::Path;

use muster_proto::checkpoint::MANIFEST_FILE;

use super::Error;
use super::reader::all;

/// Removes all but the newest `keep` checkpoints and the best of a run directory. The manifest goes first, so that a
/// removal that is cut short leaves no checkpoint that looks whole.
///
/// # Errors
/// A checkpoint that cannot be removed.
pub fn retain(run_dir: &Path, keep: usize) -> Result<(), Error> {
    let found = all(run_dir)?;
    let best = found.last().and_then(|r| r.manifest.validation.best_step);
    let newest = found.len().saturating_sub(keep.max(1));
    for reader in &found[..newest] {
        if Some(reader.manifest.step) == best {
            continue;
        }
        let remove = || {
            std::fs::remove_file(reader.folder.join(MANIFEST_FILE))?;
            std::fs::remove_dir_all(&reader.folder)
        };
        remove().map_err(|source| Error::Io { action: "remove", path: reader.folder.clone(), source })?;
    }
    Ok(())
}

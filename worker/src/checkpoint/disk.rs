//! Files of checkpoints on a disk: flushed, and never half there under their names.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

/// Writes a file beside its place, flushes it and renames it.
pub(super) fn write(folder: &Path, file: &str, bytes: &[u8]) -> io::Result<()> {
    let path = folder.join(file);
    let beside = path.with_extension("tmp");
    let write = || {
        fs::create_dir_all(folder)?;
        let mut file = File::create(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, &path)
    };
    write().inspect_err(|_| {
        // What is left of it must not look like a file of the checkpoint; if it cannot be removed, its name says so.
        let _ = fs::remove_file(&beside);
    })
}

/// Flushes the folder's own entries, after which a renamed file survives a power cut.
pub(super) fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// The names in a folder; none where there is no folder.
pub(super) fn children(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        entries => entries?,
    };
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

//! The files of a schedule's folder.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Component, Path, PathBuf};

use serde::Serialize;

use super::Error;

/// The folder of a run.
#[derive(Debug, Clone)]
pub(super) struct RunFolder {
    workspace: PathBuf,
    dir: PathBuf,
}

impl RunFolder {
    /// The folder of a run in a schedule's, made where it is not there.
    pub(super) fn make(workspace: &str, run: &str) -> Result<Self, Error> {
        let mut parts = Path::new(run).components();
        if !matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None)) {
            return Err(Error::RunName { run: run.to_owned() });
        }
        let workspace = PathBuf::from(workspace);
        let dir = workspace.join("runs").join(run);
        fs::create_dir_all(&dir).map_err(|source| Error::Write { path: dir.clone(), source })?;
        Ok(Self { workspace, dir })
    }

    /// The base of all runs.
    pub(super) fn base(&self) -> PathBuf {
        self.workspace.join("base")
    }

    pub(super) fn dataset(&self) -> PathBuf {
        self.dir.join("dataset")
    }

    /// The run directory of the training, made where it is not there.
    pub(super) fn train(&self) -> Result<PathBuf, Error> {
        let dir = self.dir.join("train");
        fs::create_dir_all(&dir).map_err(|source| Error::Write { path: dir.clone(), source })?;
        Ok(dir)
    }

    /// Removes what an attempt at the dataset left that did not come to its end.
    pub(super) fn clear_leavings(&self) -> Result<(), Error> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::Write { path, source }
        };
        for entry in fs::read_dir(&self.dir).map_err(failed(&self.dir))? {
            let entry = entry.map_err(failed(&self.dir))?;
            if entry.file_name().to_string_lossy().starts_with(".preparing-") {
                // An attempt that was thought lost may be at work in it, and fails then.
                let removed = fs::remove_dir_all(entry.path());
                if let Err(error) = removed.or_else(gone) {
                    return Err(failed(&entry.path())(error));
                }
            }
        }
        Ok(())
    }

    /// Writes a file as JSON, so that it is on disk, and whole, or as it was before.
    pub(super) fn save(&self, name: &str, what: &impl Serialize) -> Result<PathBuf, Error> {
        let path = self.dir.join(name);
        let write = || -> std::io::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(&self.dir)?;
            let mut buffer = std::io::BufWriter::new(&mut file);
            serde_json::to_writer(&mut buffer, what)?;
            buffer.write_all(b"\n")?;
            buffer.flush()?;
            drop(buffer);
            file.as_file().sync_all()?;
            file.persist(&path).map_err(|error| error.error)?;
            File::open(&self.dir)?.sync_all()
        };
        write().map_err(|source| Error::Write { path: path.clone(), source })?;
        Ok(path)
    }
}

/// What is not there needs no removal.
fn gone(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

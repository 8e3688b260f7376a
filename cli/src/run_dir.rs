//! Folders that commands write: new or empty, so that nobody's files are overwritten and no two runs mix.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// The folder to write: `out` where it is named, else the first `runs/NAME-N` that is not there yet.
///
/// # Errors
/// Where the folder holds something, or cannot be made.
pub fn claim(out: Option<&Path>, name: &str) -> Result<PathBuf, Error> {
    match out {
        Some(out) => claim_named(out, "--out"),
        None => claim_numbered(Path::new("runs"), name),
    }
}

/// Makes a folder that a flag names, or accepts it where it is empty.
///
/// # Errors
/// As [`claim`].
pub fn claim_named(folder: &Path, flag: &str) -> Result<PathBuf, Error> {
    let refuse = |message: String| Error::bad_input(message).with_file(folder).with_field(flag);
    let shown = folder.display();
    match fs::read_dir(folder) {
        Ok(mut entries) => {
            if entries.next().is_some() {
                return Err(refuse(format!("{shown} is not empty; name a new folder with {flag}")));
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(folder)
                .map_err(|error| refuse(format!("cannot make the folder {shown}: {error}")))?;
        }
        Err(error) => return Err(refuse(format!("cannot use {shown} as a folder: {error}"))),
    }
    Ok(folder.to_path_buf())
}

fn claim_numbered(base: &Path, name: &str) -> Result<PathBuf, Error> {
    let refuse = |folder: &Path, error: io::Error| {
        let message =
            format!("cannot make the folder {}: {error}; name another with --out", folder.display());
        Error::failed(message).with_file(folder).with_field("--out")
    };
    fs::create_dir_all(base).map_err(|error| refuse(base, error))?;
    for number in 1..=100_000u32 {
        let folder = base.join(format!("{name}-{number}"));
        match fs::create_dir(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(refuse(&folder, error)),
        }
    }
    let message = format!("{} holds too many runs called {name}; name a folder with --out", base.display());
    Err(Error::bad_input(message).with_file(base).with_field("--out"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_something_in_it_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("precious"), "x").unwrap();
        let error = claim(Some(folder.path()), "job").unwrap_err();
        assert_eq!((error.kind.exit_code(), error.field.as_deref()), (2, Some("--out")));
        assert!(folder.path().join("precious").exists());
    }

    #[test]
    fn numbered_folders_never_repeat() {
        let folder = tempfile::tempdir().unwrap();
        let first = claim_numbered(&folder.path().join("runs"), "job").unwrap();
        let second = claim_numbered(&folder.path().join("runs"), "job").unwrap();
        assert!(first.ends_with("job-1") && second.ends_with("job-2"));
    }
}

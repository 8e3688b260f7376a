//! The files below a folder, and those that fit a pattern.
//!
//! Links are followed. A folder that contains itself through a link is an error: it has no end.

use std::path::{Component, Path, PathBuf};

use super::pattern::{fits, is_pattern};
use crate::prepare::error::Error;

/// All files below `dir`; names that begin with `.` or `_` are passed over, as writers of folders use them for marks
/// and for what is not finished.
pub(super) fn files_below(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut walk = Walk::default();
    walk.all(dir)?;
    Ok(walk.sorted())
}

/// The files that fit the pattern `path`, with all below the folders that do.
pub(super) fn matching(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let parts: Vec<Component<'_>> = path.components().collect();
    let fixed = parts.iter().take_while(|part| !is_pattern(part.as_ref())).count();
    let dir: PathBuf = parts[..fixed].iter().collect();
    let dir = if dir.as_os_str().is_empty() { PathBuf::from(".") } else { dir };
    let names: Vec<String> =
        parts[fixed..].iter().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
    let mut walk = Walk::default();
    if dir.is_dir() {
        walk.descend(&dir, &names)?;
    }
    Ok(walk.sorted())
}

#[derive(Default)]
struct Walk {
    /// The real paths of the folders that are being looked at, from the outermost on.
    above: Vec<PathBuf>,
    found: Vec<PathBuf>,
}

impl Walk {
    fn sorted(mut self) -> Vec<PathBuf> {
        let bytes = |path: &PathBuf| path.as_os_str().as_encoded_bytes().to_vec();
        self.found.sort_by_cached_key(bytes);
        self.found.dedup();
        self.found
    }

    fn all(&mut self, dir: &Path) -> Result<(), Error> {
        self.inside(dir, |walk| {
            for name in names(dir)? {
                if !name.starts_with(['.', '_']) {
                    walk.take(dir.join(name))?;
                }
            }
            Ok(())
        })
    }

    fn descend(&mut self, dir: &Path, pattern: &[String]) -> Result<(), Error> {
        let Some((first, rest)) = pattern.split_first() else { return Ok(()) };
        if first == "**" && rest.is_empty() {
            return self.all(dir);
        }
        self.inside(dir, |walk| {
            for name in names(dir)? {
                let path = dir.join(&name);
                if first == "**" {
                    if !name.starts_with('.') && path.is_dir() {
                        walk.descend(&path, pattern)?;
                    }
                } else if !fits(first, &name) {
                } else if rest.is_empty() {
                    walk.take(path)?;
                } else if path.is_dir() {
                    walk.descend(&path, rest)?;
                }
            }
            Ok(())
        })?;
        // No folder at all in between.
        if first == "**" { self.descend(dir, rest) } else { Ok(()) }
    }

    /// A folder is all that is below it; anything else is a file, also a broken link, which reading it will say.
    fn take(&mut self, path: PathBuf) -> Result<(), Error> {
        if path.is_dir() {
            return self.all(&path);
        }
        self.found.push(path);
        Ok(())
    }

    fn inside(&mut self, dir: &Path, look: impl FnOnce(&mut Self) -> Result<(), Error>) -> Result<(), Error> {
        let real = dir.canonicalize().map_err(|source| Error::Read { path: dir.to_owned(), source })?;
        if self.above.contains(&real) {
            return Err(Error::Loop { path: dir.to_owned(), target: real });
        }
        self.above.push(real);
        look(self)?;
        self.above.pop();
        Ok(())
    }
}

/// The names in a folder, sorted; one that is not UTF-8 could not be told in a report.
fn names(dir: &Path) -> Result<Vec<String>, Error> {
    let failed = |source| Error::Read { path: dir.to_owned(), source };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        names.push(name.into_string().map_err(|name| {
            let what = format!("file name {} is not UTF-8, rename it", name.display());
            failed(std::io::Error::other(what))
        })?);
    }
    names.sort_unstable();
    Ok(names)
}

//! The objects that a URL names: one, all below a prefix, or those that fit a pattern.
//!
//! `s3://bucket/logs` is the object of that name, or else all below `logs/`; patterns are those of paths, name by name.
//! Names that begin with `.` or `_` are passed over as they are in folders.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use muster_objects::{Object, list};
use muster_proto::dataset::SourceSpec;

use super::pattern::{fits, is_pattern};
use super::{Found, Version};
use crate::prepare::error::Error;

/// The objects in the order of their URLs' bytes.
pub(super) fn find(url: &str, source: &SourceSpec) -> Result<Vec<Found>, Error> {
    let failed = |source| Error::Read { path: PathBuf::from(url), source };
    let names: Vec<&str> = url.split('/').collect();
    // `s3:`, nothing, and the bucket come before the key.
    let (root, key) = names.split_at(names.len().min(3));
    let fixed = key.iter().take_while(|name| !is_pattern(Path::new(name))).count();
    if fixed == key.len() && !url.ends_with('/') && !key.is_empty() {
        match Object::open(url) {
            Ok(object) => {
                let listed = Some(Version::of_object(&object));
                return Ok(vec![Found { path: PathBuf::from(url), listed }]);
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
    }
    let prefix = [root, &key[..fixed]].concat().join("/");
    let below = prefix.trim_end_matches('/').len() + 1;
    let pattern: Vec<&str> = key[fixed..].iter().copied().filter(|name| !name.is_empty()).collect();
    let mut found = list(&prefix).map_err(failed)?;
    found.retain(|object| {
        let names: Vec<&str> = object.url().get(below..).unwrap_or_default().split('/').collect();
        is_match(&pattern, &names)
    });
    match (found.is_empty(), fixed == key.len()) {
        (false, _) => {
            let named = |object: &Object| Found {
                path: PathBuf::from(object.url()),
                listed: Some(Version::of_object(object)),
            };
            Ok(found.iter().map(named).collect())
        }
        (true, true) => {
            Err(Error::NotFound { path: PathBuf::from(url), source_spec: Box::new(source.clone()) })
        }
        (true, false) => Err(Error::NoFiles { path: PathBuf::from(url) }),
    }
}

/// Whether names of folders and an object below the fixed part fit a pattern; what fits with a folder has all below it.
fn is_match(pattern: &[&str], names: &[&str]) -> bool {
    match (pattern, names) {
        ([] | ["**"], names) => names.iter().all(|name| !name.starts_with(['.', '_'])),
        (_, []) => false,
        (["**", rest @ ..], [first, others @ ..]) => {
            is_match(rest, names)
                || !first.starts_with('.') && !others.is_empty() && is_match(pattern, others)
        }
        ([first, rest @ ..], [name, others @ ..]) => {
            fits(first, name) && (rest.is_empty() || !others.is_empty()) && is_match(rest, others)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_fit_patterns_as_files_do() {
        for (pattern, names, expected) in [
            ("", "a.csv", true),
            ("", "day=1/a.csv", true),
            ("", "_tmp/a.csv", false),
            ("", "day=1/.a.csv", false),
            ("*.csv", "a.csv", true),
            ("*.csv", "day=1/a.csv", false),
            ("*", "day=1/a.csv", true),
            ("*", "_a.csv", true),
            ("day=*/*.csv", "day=1/a.csv", true),
            ("day=*/*.csv", "day=1/b/a.csv", false),
            ("**/*.csv", "a.csv", true),
            ("**/*.csv", "x/y/a.csv", true),
            ("**/*.csv", "x/.y/a.csv", false),
            ("**", "x/y/a.csv", true),
            ("**/y/*", "x/y/a.csv", true),
            ("**/y/*", "x/z/a.csv", false),
        ] {
            let split =
                |text: &'static str| text.split('/').filter(|name| !name.is_empty()).collect::<Vec<_>>();
            assert_eq!(is_match(&split(pattern), &split(names)), expected, "{pattern} {names}");
        }
    }
}

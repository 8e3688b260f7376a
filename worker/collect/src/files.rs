//! Names and states of files in the folder of events.
//!
//! A file is written as `_STEM.jsonl.open`, sealed by renaming to `_STEM.jsonl.sealed`, and finished as `STEM.jsonl`, or
//! `STEM.jsonl.zst`, by another renaming. Names with `_` in front are not for readers, and `muster prepare` passes over
//! them. Stems sort in the order in which files were begun.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use muster_proto::dataset::time::format_iso8601;

/// How far a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    /// Being written.
    Open,
    /// Whole, not yet finished.
    Sealed,
    /// A compressed copy that is not whole.
    Partial,
    /// Whole and for readers.
    Finished,
}

/// A file of the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) stem: String,
    pub(crate) state: State,
    pub(crate) path: PathBuf,
}

/// The folder of events, and what its files are called.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    pub(crate) dir: PathBuf,
    name: String,
}

impl Folder {
    pub(crate) fn new(dir: &Path, name: &str) -> Self {
        Self { dir: dir.to_owned(), name: name.to_owned() }
    }

    /// The stem of file `number`, begun at `now` in milliseconds since 1970.
    pub(crate) fn stem(&self, number: u64, now: i64) -> String {
        let time: String =
            format_iso8601(now).chars().filter(|letter| !matches!(letter, '-' | ':')).collect();
        format!("{}-{number:010}-{time}", self.name)
    }

    pub(crate) fn path(&self, stem: &str, state: State, compressed: bool) -> PathBuf {
        self.dir.join(match (state, compressed) {
            (State::Open, _) => format!("_{stem}.jsonl.open"),
            (State::Sealed, _) => format!("_{stem}.jsonl.sealed"),
            (State::Partial, _) => format!("_{stem}.jsonl.zst.partial"),
            (State::Finished, false) => format!("{stem}.jsonl"),
            (State::Finished, true) => format!("{stem}.jsonl.zst"),
        })
    }

    /// The number in a stem of this folder.
    pub(crate) fn number(&self, stem: &str) -> Option<u64> {
        let rest = stem.strip_prefix(&self.name)?.strip_prefix('-')?;
        rest.split_once('-')?.0.parse().ok()
    }

    /// The files of this name, in the order in which they were begun.
    pub(crate) fn entries(&self) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let Some((stem, state)) = parse(&name) else { continue };
            if self.number(stem).is_some() {
                entries.push(Entry { stem: stem.to_owned(), state, path: entry.path() });
            }
        }
        entries.sort_by_key(|entry| (self.number(&entry.stem), entry.state));
        Ok(entries)
    }

    /// Flushes the folder's own entries, after which files that were made or renamed survive a power cut.
    pub(crate) fn sync(&self) -> io::Result<()> {
        File::open(&self.dir)?.sync_all()
    }
}

fn parse(name: &str) -> Option<(&str, State)> {
    let Some(hidden) = name.strip_prefix('_') else {
        let stem = name.strip_suffix(".jsonl").or_else(|| name.strip_suffix(".jsonl.zst"))?;
        return Some((stem, State::Finished));
    };
    let ends = [
        (".jsonl.open", State::Open),
        (".jsonl.sealed", State::Sealed),
        (".jsonl.zst.partial", State::Partial),
    ];
    ends.into_iter().find_map(|(end, state)| hidden.strip_suffix(end).map(|stem| (stem, state)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written_and_sort_by_number() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path(), "shop");
        let stems: Vec<String> = [2, 10].iter().map(|number| folder.stem(*number, 0)).collect();
        assert_eq!(stems[0], "shop-0000000002-19700101T000000Z");
        let states =
            [(State::Open, false), (State::Sealed, false), (State::Partial, true), (State::Finished, true)];
        for stem in stems.iter().rev() {
            for (state, compressed) in states {
                fs::write(folder.path(stem, state, compressed), "").unwrap();
            }
        }
        fs::write(dir.path().join("other-0000000001-x.jsonl"), "").unwrap();
        fs::write(dir.path().join("shop.jsonl"), "").unwrap();
        let found: Vec<(u64, State)> = folder
            .entries()
            .unwrap()
            .iter()
            .map(|entry| (folder.number(&entry.stem).unwrap(), entry.state))
            .collect();
        let expected: Vec<(u64, State)> =
            [2, 10].iter().flat_map(|number| states.map(|(state, _)| (*number, state))).collect();
        assert_eq!(found, expected);
    }
}

//! How the input is cut into shares: runs of whole files, or a piece of a file that is large.

use std::path::{Path, PathBuf};

use muster_objects::Object;
use muster_proto::dataset::DatasetSpec;
use serde::{Deserialize, Serialize};

use super::crew::Outcome;
use super::files;
use super::merge::Merging;
use crate::prepare::error::Error;
use crate::prepare::ingest::Part;
use crate::prepare::read::{GROUP_ROWS, Span, Table, spans};

/// Shares for each worker: one that is slower gets fewer, and one that is lost costs little.
const SHARES_A_WORKER: u64 = 8;

/// The shares of a log, in its order.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shares(Vec<Part>);

/// What workers that read have to know.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Reading {
    /// The dataset file as TOML, which keeps each number to the last bit.
    pub(super) spec: String,
    pub(super) files: Vec<PathBuf>,
    pub(super) names: Vec<String>,
    pub(super) shares: Vec<Part>,
}

impl Shares {
    pub(super) fn plan(spec: &DatasetSpec, files: &[PathBuf], workers: usize) -> Self {
        let sizes: Vec<u64> = files.iter().map(|file| size(file)).collect();
        let target = sizes.iter().sum::<u64>().div_ceil(workers.max(1) as u64 * SHARES_A_WORKER);
        let cut = |file: usize| {
            let (path, max_row) = (&files[file], spec.cleaning.max_row.bytes() as usize);
            let (format, header, wanted) = (spec.format, spec.header, &[]);
            spans(&Table { path, format, header, wanted, max_row, max_group: GROUP_ROWS }, target)
        };
        Self::of(&sizes, target, cut)
    }

    /// Puts files together up to `target` bytes, and cuts those that are larger.
    fn of(sizes: &[u64], target: u64, cut: impl Fn(usize) -> Option<Vec<Span>>) -> Self {
        let mut shares = Vec::new();
        let (mut begin, mut bytes) = (0, 0);
        for (file, size) in sizes.iter().enumerate() {
            let spans = if *size > target { cut(file) } else { None };
            if begin < file && (spans.is_some() || bytes + size > target) {
                shares.push(Part::Files(begin..file));
                (begin, bytes) = (file, 0);
            }
            bytes += size;
            if let Some(spans) = spans {
                shares.extend(spans.into_iter().map(|span| Part::Span { file, span }));
                (begin, bytes) = (file + 1, 0);
            }
        }
        if begin < sizes.len() {
            shares.push(Part::Files(begin..sizes.len()));
        }
        Self(shares)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Writes down what workers have to know.
    pub(super) fn save(
        &self,
        folder: &Path,
        spec: &DatasetSpec,
        files: &[PathBuf],
        names: &[String],
    ) -> Result<(), Error> {
        let (spec, shares) = (spec_text(spec)?, self.0.clone());
        files::save(
            &reading_file(folder),
            &Reading { spec, files: files.to_vec(), names: names.to_vec(), shares },
        )
    }

    /// Puts what came of the shares together, in the order of the log.
    pub(super) fn take(&self, results: Vec<Outcome>, merging: &mut Merging<'_>) -> Result<(), Error> {
        let mut results = self.0.iter().zip(results).peekable();
        while let Some((part, outcome)) = results.next() {
            let file = match part {
                Part::Files(files) => {
                    merging.take_files(files.clone(), outcome)?;
                    continue;
                }
                Part::Span { file, .. } => *file,
            };
            let mut pieces = vec![outcome];
            let is_of_file =
                |next: &(&Part, Outcome)| matches!(next.0, Part::Span { file: of, .. } if *of == file);
            while let Some((_, outcome)) = results.next_if(is_of_file) {
                pieces.push(outcome);
            }
            merging.take_pieces(file, pieces)?;
        }
        Ok(())
    }
}

pub(super) fn reading_file(folder: &Path) -> PathBuf {
    folder.join("reading")
}

/// A dataset file for workers.
pub(super) fn spec_text(spec: &DatasetSpec) -> Result<String, Error> {
    toml::to_string(spec)
        .map_err(|error| Error::Encode { file: "the dataset file".to_owned(), what: error.to_string() })
}

/// Reads what [`spec_text`] wrote in a file.
pub(super) fn spec_from(text: &str, path: &Path) -> Result<DatasetSpec, Error> {
    toml::from_str(text).map_err(|error| Error::Shared { path: path.to_owned(), what: error.to_string() })
}

/// The bytes of a file; 0 where they cannot be told, which whoever reads it will say.
fn size(path: &Path) -> u64 {
    match path.to_str().filter(|path| muster_objects::is_url(path)) {
        Some(url) => Object::open(url).map_or(0, |object| object.size()),
        None => std::fs::metadata(path).map_or(0, |metadata| metadata.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_files_go_together_and_large_ones_are_cut() {
        let span = |from, to| Span::Text { from, to, line: from + 1 };
        // The fifth is compressed: it cannot be cut.
        let cut = |file: usize| (file != 5).then(|| vec![span(0, 60), span(60, 110)]);
        let shares = Shares::of(&[30, 20, 60, 110, 10, 150, 10], 100, cut);
        let pieces = [span(0, 60), span(60, 110)].map(|span| Part::Span { file: 3, span });
        let [first, second] = pieces;
        let expected = [
            Part::Files(0..2),
            Part::Files(2..3),
            first,
            second,
            Part::Files(4..5),
            Part::Files(5..6),
            Part::Files(6..7),
        ];
        assert_eq!(shares.0, expected);
        assert_eq!(Shares::of(&[], 100, cut).0, []);
        assert_eq!(Shares::of(&[0, 0, 0], 100, cut).0, [Part::Files(0..3)]);
    }
}

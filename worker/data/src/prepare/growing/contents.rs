//! What a base has, for whoever wants to say later which files a dataset was made of.

use std::path::Path;

use muster_proto::dataset::CleaningReport;

use super::Base;
use crate::prepare::error::Error;

/// The increments of a base, or the first of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// In the order in which they were added.
    pub increments: Vec<Increment>,
}

/// What was added at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Increment {
    /// For whom; none where nobody said.
    pub by: Option<String>,
    /// The input files that count in it.
    pub files: Vec<InputFile>,
    /// What the rules on single rows did to them.
    pub report: CleaningReport,
    /// Milliseconds since 1970 of the first event and of the last; none where they were not noted.
    pub times: Option<(i64, i64)>,
}

/// An input file of a base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputFile {
    /// Its path below the dataset file's folder, or else all of it, or its URL.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// BLAKE3 of its bytes, or the tag that its store gives it; none of a file that was added before there were digests.
    pub digest: Option<String>,
}

impl Contents {
    /// The files, in the order in which they count.
    pub fn files(&self) -> impl Iterator<Item = &InputFile> {
        self.increments.iter().flat_map(|increment| &increment.files)
    }

    /// BLAKE3 over the files' names, sizes and digests, in their order.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for file in self.files() {
            for text in [&file.name, file.digest.as_deref().unwrap_or_default()] {
                hasher.update(&(text.len() as u64).to_le_bytes());
                hasher.update(text.as_bytes());
            }
            hasher.update(&file.bytes.to_le_bytes());
        }
        hasher.finalize().to_hex().to_string()
    }
}

/// Says what a base has: all of it, or its first increments; nothing where there is none yet.
///
/// # Errors
/// The base is damaged, or has fewer increments.
pub fn contents(store: &Path, increments: Option<u64>) -> Result<Contents, Error> {
    let Some(base) = Base::open(store)? else {
        return match increments {
            None => Ok(Contents { increments: vec![] }),
            Some(wanted) => Err(Error::FewIncrements { path: store.to_owned(), found: 0, wanted }),
        };
    };
    let increments = base.first(increments)?.iter().map(|increment| Increment {
        by: increment.by.clone(),
        files: increment
            .inputs
            .iter()
            .map(|input| InputFile {
                name: input.name.clone(),
                bytes: input.bytes,
                digest: input.digest.clone(),
            })
            .collect(),
        report: increment.report.clone(),
        times: increment.times,
    });
    Ok(Contents { increments: increments.collect() })
}

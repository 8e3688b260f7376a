//! A version of a model as one folder that opens elsewhere: on a machine without the cluster, its dataset or its logs.
//!
//! ```text
//! export.json       what it is, and a digest of every other file; written last
//! run.json          so that commands take the folder as they take a run
//! model/            a full checkpoint: safetensors, and a manifest
//! dataset/          the dataset's manifest, items and vocabularies; with histories its log partitions too
//! vocabulary.json   the same items and vocabularies as plain lists of keys, for other programs
//! job.toml          the job
//! report.json       metrics, what the gates said, lineage, cost, notes
//! evidence.json     what the gates went by, where it is kept
//! ```
//!
//! It is written beside its place and renamed, so that a folder of its name is a whole one.

mod contents;
mod folder;
mod listing;
mod vocabulary;

use std::path::{Path, PathBuf};

use muster_core::retrain::registry::Version;
use muster_data::Dataset;
use muster_proto::checkpoint::MANIFEST_FILE;
use muster_worker::checkpoint::{self, Reader};
use serde_json::{Value, json};

use self::contents::Contents;
use self::folder::Folder;
pub use self::listing::{FILE, Listed, Listing};
use crate::error::Error;
use crate::output::Report;
use crate::table::mebibytes;

/// What is to be exported.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The model's name.
    pub model: &'a str,
    /// The version.
    pub version: &'a Version,
    /// Whether the histories of users come along.
    pub with_histories: bool,
}

/// Writes the folder.
///
/// # Errors
/// Where the model or its dataset is gone or another one by now, or the folder is there or cannot be written.
pub fn write(asked: &Asked<'_>, out: &Path) -> Result<Exported, Error> {
    let reader = open_model(asked)?;
    let dataset = open_dataset(asked, &reader)?;
    let mut folder = Folder::begin(out)?;
    let contents = Contents { asked, reader: &reader, dataset: &dataset };
    contents.write(&mut folder)?;
    let listing = Listing {
        format: listing::FORMAT,
        model: asked.model.to_owned(),
        version: asked.version.number.0,
        model_digest: reader.manifest.model_digest.clone(),
        dataset: dataset.manifest().digest.clone(),
        muster: env!("CARGO_PKG_VERSION").to_owned(),
        histories: asked.with_histories,
        files: folder.files().clone(),
    };
    let text = serde_json::to_vec_pretty(&listing)
        .map_err(|error| Error::failed(format!("cannot write the list of files as JSON: {error}")))?;
    folder.write(FILE, &text)?;
    folder.finish()?;
    Ok(Exported { out: out.to_owned(), listing })
}

/// The version's checkpoint, which must still be the model that was registered.
fn open_model(asked: &Asked<'_>) -> Result<Reader, Error> {
    let known = &asked.version.model;
    let reader = checkpoint::find(Path::new(&known.checkpoint), true)?;
    let found = &reader.manifest.model_digest;
    if *found != known.model_digest {
        let message = format!(
            "{} of model {} is not at {} any more: the model there has digest {found}, not {}",
            asked.version.number, asked.model, known.checkpoint, known.model_digest
        );
        return Err(Error::failed(message).with_file(reader.file(MANIFEST_FILE)).with_field("model_digest"));
    }
    Ok(reader)
}

/// The dataset that the model was trained on.
fn open_dataset(asked: &Asked<'_>, reader: &Reader) -> Result<Dataset, Error> {
    let dir = Path::new(&asked.version.model.dataset);
    let dataset = Dataset::open(dir)?;
    let found = &dataset.manifest().digest;
    if *found != reader.manifest.dataset {
        let message = format!(
            "the dataset of {} is not at {} any more: what is there has digest {found}, not {}",
            asked.version.number,
            dir.display(),
            reader.manifest.dataset
        );
        return Err(Error::failed(message).with_file(dir).with_field("digest"));
    }
    Ok(dataset)
}

/// Refuses what needs the histories of users where a model was exported without them and no dataset is named. `instead` says what
/// else can be done.
///
/// # Errors
/// The refusal, or a folder that says something wrong of itself.
pub fn check_histories(model: &Path, dataset: Option<&Path>, instead: &str) -> Result<(), Error> {
    match Listing::find(model)? {
        Some(listing) if !listing.histories && dataset.is_none() => {
            let message = format!(
                "{} was exported without the histories of users: export it with --with-histories; {instead}",
                model.display()
            );
            Err(Error::bad_input(message).with_file(model).with_field("MODEL"))
        }
        _ => Ok(()),
    }
}

/// What was written.
#[derive(Debug, Clone)]
pub struct Exported {
    out: PathBuf,
    listing: Listing,
}

impl Report for Exported {
    fn text(&self) -> String {
        let Listing { model, version, model_digest, histories, files, .. } = &self.listing;
        let bytes = files.values().map(|file| file.bytes).sum();
        let ask = if *histories { "--user ID" } else { "--history ITEM,ITEM" };
        [
            format!("version {version} of model {model} in {}", self.out.display()),
            format!("  {} files, {}", files.len() + 1, mebibytes(bytes)),
            format!("  model digest {model_digest}"),
            format!("  ask it with `muster recommend {} {ask}`", self.out.display()),
        ]
        .join("\n")
    }

    fn json(&self) -> Value {
        json!({"out": self.out, "export": self.listing})
    }
}

//! What goes into an exported folder.

use std::path::{Path, PathBuf};

use muster_data::Dataset;
use muster_proto::checkpoint::{MANIFEST_FILE, Manifest, Piece};
use muster_proto::dataset::DatasetManifest;
use muster_worker::checkpoint::Reader;
use serde_json::json;

use super::folder::Folder;
use super::{Asked, vocabulary};
use crate::error::Error;
use crate::run_record::RunRecord;

/// The folder of the model.
const MODEL: &str = "model";
/// The folder of what is left of its dataset.
const DATASET: &str = "dataset";
/// What a run keeps of what its gates went by.
const EVIDENCE: &str = "evidence.json";

/// Where it all comes from.
pub(super) struct Contents<'a> {
    pub(super) asked: &'a Asked<'a>,
    pub(super) reader: &'a Reader,
    pub(super) dataset: &'a Dataset,
}

impl Contents<'_> {
    /// Writes all but the list of files.
    pub(super) fn write(&self, folder: &mut Folder) -> Result<(), Error> {
        self.write_model(folder)?;
        self.write_dataset(folder)?;
        vocabulary::write(self.dataset, folder)?;
        folder.write("job.toml", self.reader.manifest.job.as_bytes())?;
        self.write_report(folder)?;
        let record = RunRecord {
            name: self.asked.model.to_owned(),
            dataset: PathBuf::from(DATASET),
            workers: None,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            checkpoints: Some(PathBuf::from(MODEL)),
        };
        folder.write("run.json", &pretty(&record)?)
    }

    /// The checkpoint as a full one, whatever it was: each piece whole and checked on the way.
    fn write_model(&self, folder: &mut Folder) -> Result<(), Error> {
        let Reader { manifest, .. } = self.reader;
        let mut pieces = manifest.pieces.clone();
        for (name, piece) in &mut pieces {
            let bytes = self.reader.piece(name)?;
            *piece = Piece {
                file: format!("{}.safetensors", name.replace('/', "-")),
                bytes: bytes.len() as u64,
                digest: piece.digest.clone(),
                rows: None,
            };
            folder.write(&format!("{MODEL}/{}", piece.file), &bytes)?;
        }
        let manifest = Manifest { base: None, pieces, ..manifest.clone() };
        folder.write(&format!("{MODEL}/{MANIFEST_FILE}"), &pretty(&manifest)?)
    }

    /// The manifest as it is, so that it has the digest that the model names, and the files that a model needs to be asked.
    fn write_dataset(&self, folder: &mut Folder) -> Result<(), Error> {
        let manifest = self.dataset.manifest();
        let mut files = vec![DatasetManifest::FILE];
        files.extend(manifest.items_file.iter().map(|entry| entry.file.as_str()));
        files.extend(manifest.vocabularies.iter().map(|entry| entry.file.as_str()));
        if self.asked.with_histories {
            files.extend(manifest.partitions.iter().map(|entry| entry.file.as_str()));
        }
        for file in files {
            folder.copy(&self.dataset.dir().join(file), &format!("{DATASET}/{file}"))?;
        }
        self.check_copied(folder)
    }

    /// A file that was damaged at its source must not be found out where nobody can help it.
    fn check_copied(&self, folder: &Folder) -> Result<(), Error> {
        let manifest = self.dataset.manifest();
        let files = manifest
            .items_file
            .iter()
            .chain(&manifest.vocabularies)
            .map(|entry| (&entry.file, &entry.digest));
        let files = files.chain(manifest.partitions.iter().map(|entry| (&entry.file, &entry.digest)));
        for (file, digest) in files {
            let copied = folder.files().get(&format!("{DATASET}/{file}"));
            if copied.is_some_and(|copied| copied.digest != *digest) {
                let path = self.dataset.dir().join(file);
                let message = format!(
                    "{} is damaged: its digest is not that of the dataset's manifest",
                    path.display()
                );
                return Err(Error::failed(message).with_file(path).with_field("digest"));
            }
        }
        Ok(())
    }

    fn write_report(&self, folder: &mut Folder) -> Result<(), Error> {
        let report = json!({"model": self.asked.model, "version": self.asked.version});
        folder.write("report.json", &pretty(&report)?)?;
        let run = self.asked.version.model.folder.as_deref().map(Path::new);
        match run.map(|run| run.join(EVIDENCE)).filter(|path| path.is_file()) {
            Some(evidence) => folder.copy(&evidence, EVIDENCE),
            None => Ok(()),
        }
    }
}

fn pretty(value: &impl serde::Serialize) -> Result<Vec<u8>, Error> {
    serde_json::to_vec_pretty(value).map_err(|error| Error::failed(format!("cannot write JSON: {error}")))
}

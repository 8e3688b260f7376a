//! The model that a job begins from.

use std::path::Path;

use muster_proto::checkpoint::MANIFEST_FILE;
use muster_proto::config;
use muster_proto::job::{JobSpec, Updates, WarmStartSpec};

use super::{Error, shape};
use crate::checkpoint::{self, Reader};

/// A checkpoint with the job that it came from.
#[derive(Debug)]
pub struct Parent {
    /// The checkpoint.
    pub reader: Reader,
    /// Its job.
    pub job: JobSpec,
}

impl Parent {
    /// Finds the model: a checkpoint, or of a run directory the best one.
    ///
    /// # Errors
    /// There is none, or its manifest or its job cannot be read.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let reader = checkpoint::find(path, true)?;
        let file = reader.file(MANIFEST_FILE).display().to_string();
        let job = config::parse(&reader.manifest.job, &file, &[])
            .map_err(|source| Error::Job { path: reader.location.address(), source: Box::new(source) })?;
        Ok(Self { reader, job })
    }

    /// How often its parameters have been updated.
    #[must_use]
    pub fn updates(&self) -> Updates {
        self.job.updates_after(self.reader.manifest.step)
    }

    /// Checks that a job can begin from it: that it is the model that the job names, and of the same shape.
    ///
    /// # Errors
    /// The first thing that differs, with both values.
    pub fn check(&self, job: &JobSpec) -> Result<(), Error> {
        let Some(spec) = &job.warm_start else { return Ok(()) };
        let found = &self.reader.manifest.model_digest;
        if let Some(expected) = spec.model_digest.as_ref().filter(|expected| *expected != found) {
            return Err(Error::OtherModel {
                path: self.reader.location.address(),
                found: found.clone(),
                expected: expected.clone(),
            });
        }
        match shape::difference(job, spec, &self.job) {
            None => Ok(()),
            Some((field, found, expected)) => Err(self.unlike(field, found, expected)),
        }
    }

    pub(super) fn unlike(&self, field: String, found: String, expected: String) -> Error {
        Error::Unlike { path: self.reader.location.address(), field, found, expected }
    }

    /// Checks that `dataset` is the one that the model was trained on.
    ///
    /// # Errors
    /// It is another one.
    pub fn check_dataset(&self, dataset: &muster_data::Dataset) -> Result<(), Error> {
        let (found, expected) = (&dataset.manifest().digest, &self.reader.manifest.dataset);
        if found == expected {
            return Ok(());
        }
        Err(Error::OtherDataset {
            path: dataset.dir().to_owned(),
            of: format!("the parent in {}", self.reader.location.address().display()),
            found: found.clone(),
            expected: expected.clone(),
        })
    }

    /// Opens the dataset that the model was trained on.
    ///
    /// # Errors
    /// The job names none, it cannot be read, or it is another one.
    pub(super) fn dataset(&self, spec: &WarmStartSpec) -> Result<muster_data::Dataset, Error> {
        let missing = || Error::NoDataset { path: self.reader.location.address() };
        let dataset = muster_data::Dataset::open(Path::new(spec.dataset.as_ref().ok_or_else(missing)?))?;
        self.check_dataset(&dataset)?;
        Ok(dataset)
    }
}

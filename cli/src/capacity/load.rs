//! A question with everything it names: its own file, a table list beside it, a job with its dataset.

use std::path::Path;

use muster_core::capacity::import::import;
use muster_data::Dataset;
use muster_proto::capacity::{CapacitySpec, TableSpec, tables};
use muster_proto::config;
use muster_proto::job::JobSpec;

use crate::error::{Error, Kind};

/// Where a question comes from.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// Its file.
    pub spec: &'a Path,
    /// Values that replace those of the file.
    pub sets: &'a [String],
    /// A job and the folder of its dataset.
    pub job: Option<(&'a Path, &'a Path)>,
}

impl Source<'_> {
    /// Reads the question, with `sets` on top of its own.
    ///
    /// # Errors
    /// A file that cannot be read, or values that break a rule.
    pub fn load(&self, sets: &[String]) -> Result<CapacitySpec, Error> {
        let sets: Vec<String> = self.sets.iter().chain(sets).cloned().collect();
        let mut spec: CapacitySpec = config::load(self.spec, &sets)?;
        if let Some(list) = spec.table_list.take() {
            let path = self.spec.parent().unwrap_or(Path::new(".")).join(list);
            spec.tables.extend(table_list(&path)?);
            config::validate(&spec, &path.display().to_string())?;
        }
        if let Some((job, dataset)) = self.job {
            let job_spec: JobSpec = config::load(job, &[])?;
            let dataset = Dataset::open(dataset)?;
            import(&mut spec, &job_spec, dataset.manifest())
                .map_err(|error| Error::from_chain(Kind::BadInput, &error).with_file(job))?;
            config::validate(&spec, &job.display().to_string())?;
        }
        Ok(spec)
    }
}

/// Reads a file as text.
///
/// # Errors
/// It cannot be read.
pub fn read(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path)
        .map_err(|error| Error::bad_input(format!("cannot read {}: {error}", path.display())).with_file(path))
}

/// Writes a file.
///
/// # Errors
/// It cannot be written.
pub fn write(path: &Path, text: &str) -> Result<(), Error> {
    std::fs::write(path, text)
        .map_err(|error| Error::failed(format!("cannot write {}: {error}", path.display())).with_file(path))
}

/// Reads a table list: TorchRec's as `.json`, ours as anything else.
///
/// # Errors
/// It cannot be read, or is none.
pub fn table_list(path: &Path) -> Result<Vec<TableSpec>, Error> {
    let text = read(path)?;
    let json = path.extension().is_some_and(|extension| extension == "json");
    let list = if json { tables::from_torchrec(&text) } else { tables::from_csv(&text) };
    list.map_err(|error| {
        Error::bad_input(format!("{}: {error}", path.display())).with_file(path).with_field("table_list")
    })
}

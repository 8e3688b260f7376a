//! A schedule file with the dataset file and the job file that it names, as one thing that can be sent.

use std::fs;
use std::path::{Path, PathBuf};

use muster_core::retrain::{self, command::Applied};
use muster_proto::config::{self, Problems, Spec};
use muster_proto::dataset::DatasetSpec;
use muster_proto::job::JobSpec;
use muster_proto::schedule::ScheduleSpec;

use crate::error::{Error, chain};
use crate::submission::absolute;

/// The keys of a schedule file that name other files.
const FILES: [&str; 2] = ["dataset", "job"];

/// Reads all three files; paths become absolute, since nobody else knows where this program was started.
///
/// # Errors
/// All that is wrong with any of them, at once.
pub(crate) fn read(path: &Path, sets: &[String]) -> Result<Applied, Error> {
    let schedule = config::load::<ScheduleSpec>(path, sets).map_err(Error::from).and_then(|spec| {
        check_fires(&spec).map_err(|error| error.with_file(path))?;
        Ok(spec)
    });
    let [dataset, job] = match &schedule {
        Ok(spec) => [&spec.dataset, &spec.job].map(|file| Some(beside(path, file))),
        // A schedule that is refused may still name the others, so that their problems are told with its own.
        Err(_) => named_in(path),
    };
    let dataset = dataset.map(|path| text_of::<DatasetSpec>(&path, "dataset").map(|text| (path, text)));
    let job = job.map(|path| text_of::<FreeJob>(&path, "job"));
    match (schedule, dataset, job) {
        (Ok(spec), Some(Ok((dataset, dataset_toml))), Some(Ok(job_toml))) => {
            let dataset_folder = absolute(&beside(&dataset, "."))?;
            let spec = ScheduleSpec {
                dataset: absolute(&dataset)?,
                job: absolute(&beside(path, &spec.job))?,
                workspace: absolute(&beside(path, &spec.workspace))?,
                ..spec
            };
            Ok(Applied { spec, dataset_toml, dataset_folder, job_toml })
        }
        (schedule, dataset, job) => {
            let errors = [schedule.err(), dataset.and_then(Result::err), job.and_then(Result::err)];
            Err(together(errors.into_iter().flatten().collect()))
        }
    }
}

/// A job whose runs say by themselves what they begin from.
#[derive(serde::Deserialize)]
#[serde(transparent)]
struct FreeJob(JobSpec);

impl Spec for FreeJob {
    fn validate(&self, p: &mut Problems) {
        self.0.validate(p);
        p.check(
            self.0.warm_start.is_none(),
            "warm_start",
            || "is up to the schedule, whose [training] says what each run begins from; leave it out here",
        );
    }
}

/// Reads a file for its text, which is sent as it is, and finds what is wrong with it.
fn text_of<T: Spec>(path: &Path, key: &str) -> Result<String, Error> {
    let text = fs::read_to_string(path).map_err(|error| {
        let message = format!("`{key}`: cannot read {}: {error}", path.display());
        Error::bad_input(message).with_file(path).with_field(key)
    })?;
    config::parse::<T>(&text, &path.display().to_string(), &[])?;
    Ok(text)
}

/// The pattern and the zone, which the coordinator would refuse, too.
fn check_fires(spec: &ScheduleSpec) -> Result<(), Error> {
    let Err(error) = retrain::Schedule::new(spec.clone()) else { return Ok(()) };
    let field = if matches!(error, retrain::Error::Zone { .. }) { "time_zone" } else { "cron" };
    Err(Error::bad_input(format!("{field}: {}", chain(&error))).with_field(field))
}

fn beside(file: &Path, path: &str) -> PathBuf {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if path == "." { folder.to_owned() } else { folder.join(path) }
}

fn named_in(path: &Path) -> [Option<PathBuf>; 2] {
    let table = fs::read_to_string(path).ok().and_then(|text| text.parse::<toml::Table>().ok());
    FILES.map(|key| {
        let file = table.as_ref()?.get(key)?.as_str().filter(|file| !file.is_empty())?;
        Some(beside(path, file))
    })
}

/// One error with all messages; file and field are those of the first.
fn together(errors: Vec<Error>) -> Error {
    let message = errors.iter().map(|error| error.message.as_str()).collect::<Vec<_>>().join("\n");
    match errors.into_iter().next() {
        Some(first) => Error { message, ..first },
        None => Error::failed("the files could not be read"),
    }
}

//! Whole jobs that a calibration trains on local workers, to see what a step takes beside its terms.
//!
//! They are as different as jobs are in what the terms leave out: how many tokens, how wide, how large the tables, which
//! head, how many layers. Their datasets are generated and small, since only steps are looked at.

mod jobs;

use std::path::{Path, PathBuf};
use std::time::Duration;

use muster_core::cost::host::activations;
use muster_data::{GenerateArgs, generate};
use muster_proto::capacity::Phase;
use muster_proto::control::{DeviceKind, Queueing};
use muster_proto::measured::{Breakdown, Calibration, Elapsed, Forecast, Trial, TrialPart};

use crate::capacity::load;
use crate::cmd::prepare;
use crate::cmd::train::{self, Device};
use crate::context::Context;
use crate::error::Error;
use crate::forecast::{Here, Known, counted};
use crate::output::{Format, Output};
use crate::scored::Scored;
use crate::submission::{self, JobFile, Placement};
use jobs::{DATASETS, JOBS, Job};

/// How often each job is trained: runs of one job differ on a machine that others use too, and forecasts are of the median.
const ROUNDS: u32 = 3;

/// What the trials are held against, and on how many workers they run.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// The terms that were measured.
    pub calibration: &'a Calibration,
    /// Numbers of workers.
    pub workers: &'a [usize],
    /// Threads of each; the cores of this machine over the workers where absent.
    pub threads: Option<u32>,
    /// Whether every other job is left out.
    pub quick: bool,
}

/// Trains the jobs on each number of workers, in a folder of its own that is gone afterwards.
///
/// # Errors
/// A folder that cannot be written, or a run that fails.
pub fn measure(terms: Terms<'_>, context: &Context) -> Result<Vec<Trial>, Error> {
    let folder = std::env::temp_dir().join(format!("muster-trials-{}", std::process::id()));
    std::fs::create_dir_all(&folder).map_err(|error| {
        Error::failed(format!("cannot make a folder for trials: {error}")).with_file(&folder)
    })?;
    let measured = Trials { terms, folder: &folder, context }.all();
    let removed = std::fs::remove_dir_all(&folder);
    let measured = measured?;
    removed.map_err(|error| Error::failed(format!("cannot remove trials: {error}")).with_file(&folder))?;
    Ok(measured)
}

struct Trials<'a> {
    terms: Terms<'a>,
    folder: &'a Path,
    context: &'a Context,
}

impl Trials<'_> {
    fn all(&self) -> Result<Vec<Trial>, Error> {
        for (name, numbers) in DATASETS {
            self.dataset(name, &numbers)?;
        }
        let calibration = self.folder.join("calibration.toml");
        let text = toml::to_string(self.terms.calibration)
            .map_err(|error| Error::failed(format!("cannot write the calibration as TOML: {error}")))?;
        load::write(&calibration, &text)?;
        let (rounds, every) = if self.terms.quick { (1, 2) } else { (ROUNDS, 1) };
        let mut trials = Vec::new();
        // Round by round, so that a slow minute of the machine is not one job's.
        for round in 0..rounds {
            for workers in self.terms.workers {
                for job in JOBS.iter().step_by(every) {
                    trials.push(self.trial(job, *workers as u32, &calibration)?);
                }
            }
            let _ = self.context.output.say(&format!("round {} of {rounds} is trained", round + 1));
        }
        Ok(trials)
    }

    /// Commands that run inside of this one say nothing.
    fn quiet(&self) -> Context {
        Context { output: Output::new(Format::Text, true), log_level: self.context.log_level }
    }

    fn dataset(&self, name: &str, numbers: &GenerateArgs) -> Result<(), Error> {
        let log = format!("{name}.csv");
        generate(numbers, &self.folder.join(&log))?;
        let spec = format!(
            "name = \"{name}\"\ninput = \"{log}\"\nformat = \"csv\"\npartitions = 16\n[columns]\nuser = \"user\"\nitem = \"item\"\n\
             time = \"timestamp\"\ncategory = \"category\"\nrating = \"rating\"\ncategorical = [\"event\"]\n"
        );
        let dataset = self.write(&format!("{name}.toml"), &spec)?;
        let out = Some(self.folder.join(name));
        let args = prepare::Args { out, ..prepare::Args::of(dataset) };
        prepare::prepare_dataset(&self.quiet(), &args).map(|_| ())
    }

    fn write(&self, name: &str, text: &str) -> Result<PathBuf, Error> {
        let path = self.folder.join(name);
        load::write(&path, text)?;
        Ok(path)
    }

    fn trial(&self, job: &Job, workers: u32, calibration: &Path) -> Result<Trial, Error> {
        let file = self.write("job.toml", &job.toml())?;
        let dataset = self.folder.join(job.dataset);
        let (terms, activations) = self.terms_of(&file, &dataset, workers)?;
        let run = self.folder.join("run");
        let args = train::Args {
            job: file,
            dataset: Some(dataset),
            workers,
            min_workers: workers,
            spares: 0,
            coordinator: None,
            token_file: None,
            threads: self.terms.threads,
            device: Device::Cpu,
            seed: None,
            resume: None,
            from: None,
            out: Some(run.clone()),
            sets: Vec::new(),
            calibration: Some(calibration.to_path_buf()),
        };
        let measured = train::train(&self.quiet(), &args, None)?.measured();
        std::fs::remove_dir_all(&run)
            .map_err(|error| Error::failed(format!("cannot remove a trial: {error}")).with_file(&run))?;
        Ok(Trial {
            job: job.name.to_owned(),
            workers,
            activations,
            parts: parts(&terms, &measured),
            peak_bytes: measured.iter().map(|rank| rank.peak_bytes).collect(),
            forecast_bytes: terms.peak_bytes,
        })
    }

    /// What the job's terms come to, and its activations.
    fn terms_of(&self, file: &Path, dataset: &Path, workers: u32) -> Result<(Forecast, f64), Error> {
        let job = JobFile { path: file, sets: &[], seed: None }.load()?;
        let placement = Placement {
            dataset: dataset.to_path_buf(),
            workers,
            min_workers: workers,
            device: Some(DeviceKind::Cpu),
            queueing: Queueing::default(),
        };
        let submission = submission::plan(&job, file, &placement)?;
        let known = Known { calibration: self.terms.calibration.clone(), path: file.to_path_buf() };
        let threads = self.terms.threads.unwrap_or_else(|| crate::local::threads_each(workers));
        let (terms, made_from) = counted(&job, &submission, Here { workers, threads, known: Some(&known) })?;
        let activations = made_from.map_or(0.0, |from| activations(&job, &from.workload, &from.plan));
        Ok((terms, activations))
    }
}

/// What each part of a step comes to by its terms, and what it took on a machine whose processors were its own.
fn parts(terms: &Forecast, measured: &[Breakdown]) -> Vec<TrialPart> {
    let elapsed = |millis: Option<f64>| Elapsed(Duration::from_secs_f64(millis.unwrap_or(0.0) / 1e3));
    let phases = Phase::ALL.into_iter().map(Some).chain([None]);
    let scored = Scored { forecast: Some(terms), measured };
    let own = match (scored.step().measured, scored.without_steal().measured) {
        (Some(step), Some(own)) if step > 0.0 => own / step,
        _ => 1.0,
    };
    let part = |(phase, (_, pair)): (Option<Phase>, (String, crate::scored::Pair))| TrialPart {
        phase,
        terms: elapsed(pair.forecast),
        measured: elapsed(pair.measured.map(|measured| measured * own)),
    };
    phases.zip(scored.phases()).map(part).collect()
}

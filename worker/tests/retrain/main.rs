//! The tasks of schedules' runs: windows of a growing log become datasets and jobs, candidates are held against champions.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod judge;
#[path = "../support/mod.rs"]
mod support;
mod window;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use muster_proto::config;
use muster_proto::control::{Contender, Queueing, WindowDone, WindowEnd, WindowUnit};
use muster_proto::job::{JobSpec, WarmStartSpec};
use muster_worker::checkpoint;
use muster_worker::retrain::{Error, Work, prepare_window};
use support::Cluster;
use tempfile::TempDir;

const DATASET: &str = "name = \"weeks\"\ninput = \"log-*.csv\"\nformat = \"csv\"\npartitions = 16\n[columns]\n\
    user = \"user\"\nitem = \"item\"\ntime = \"time\"\ncategory = \"category\"\n";

const JOB: &str = "name = \"shop\"\n[batch]\nsequences = 12\nscore_block = 7\nmax_len = 6\n[model]\nembedding_dim = 8\n\
    hidden_size = 8\n[[model.features]]\ncolumn = \"category\"\ndim = 4\n[optimizer]\nlr = 0.02\n[training]\n\
    epochs = 2\n[evaluation]\nks = [1, 5, 10]\n";

const WEEK: i64 = 604_800_000;

/// When a week begins, in milliseconds since 1970.
fn begins(week: i64) -> i64 {
    1_400_000_000_000 + week * WEEK
}

/// Events of a week in CSV: each week has ten more items than the one before, and a new category.
fn week(number: u64) -> String {
    let mut log = String::from("user,item,time,category\n");
    let mut state = 11 + number;
    let mut next = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    for user in 0..60 {
        for event in 0..(4 + next(6)) {
            let (item, category) = (next(20 + 10 * number), next(4 + number));
            let time = begins(number as i64) / 1000 + user * 1000 + event as i64 * 60;
            writeln!(log, "u{user},i{item},{time},c{category}").unwrap();
        }
    }
    log
}

/// A schedule's folder, and the folder of its logs.
struct Shop {
    logs: TempDir,
    workspace: TempDir,
}

impl Shop {
    /// With the logs of some weeks.
    fn with(weeks: std::ops::Range<u64>) -> Self {
        let shop = Self { logs: tempfile::tempdir().unwrap(), workspace: tempfile::tempdir().unwrap() };
        weeks.for_each(|number| shop.write(number, &week(number)));
        shop
    }

    fn write(&self, number: u64, log: &str) {
        std::fs::write(self.log(number), log).unwrap();
    }

    fn log(&self, number: u64) -> PathBuf {
        self.logs.path().join(format!("log-{number}.csv"))
    }

    fn workspace(&self) -> String {
        self.workspace.path().display().to_string()
    }

    fn run(&self, name: &str) -> PathBuf {
        self.workspace.path().join("runs").join(name)
    }

    /// The window of all weeks to the end of that one, which is the test; the one before it validates.
    fn unit(&self, run: &str, last: i64) -> WindowUnit {
        WindowUnit {
            workspace: self.workspace(),
            run: run.to_owned(),
            dataset_toml: DATASET.to_owned(),
            folder: self.logs.path().display().to_string(),
            from: None,
            until: begins(last + 1),
            valid_from: begins(last - 1),
            test_from: begins(last),
            increments: None,
            accepted: None,
            job_toml: JOB.to_owned(),
            warm_start: None,
            name: format!("shop/{run}"),
            workers: 2,
            min_workers: 1,
            queueing: Queueing::default(),
        }
    }

    /// Makes a window, trains on it, and gives what came of both.
    fn train(&self, unit: &WindowUnit) -> (WindowDone, Contender) {
        let done = made(prepare_window(unit, &work()).unwrap());
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(&done.dataset, folder.path().join("data")).unwrap();
        let job: JobSpec = config::parse(&done.submission.spec_toml, "job", &[]).unwrap();
        let run_dir = Path::new(&done.submission.run_dir);
        Cluster::new(2).train(folder.path(), &job, Some(run_dir));
        let reader = checkpoint::find(run_dir, true).unwrap();
        let contender = Contender {
            checkpoint: reader.location.address().display().to_string(),
            dataset: done.dataset.clone(),
            model_digest: reader.manifest.model_digest,
        };
        (done, contender)
    }
}

fn work() -> Work<'static> {
    Work { threads: 2, pulse: &|| true }
}

fn made(end: WindowEnd) -> WindowDone {
    match end {
        WindowEnd::Made(done) => *done,
        WindowEnd::Empty(read) => panic!("the window is empty: {read:?}"),
    }
}

/// A warm start from a model, as the coordinator asks for it.
fn from(champion: &Contender) -> Option<WarmStartSpec> {
    let dataset = Some(champion.dataset.clone());
    Some(WarmStartSpec { dataset, ..WarmStartSpec::of(champion.checkpoint.clone()) })
}

fn message(result: Result<impl std::fmt::Debug, Error>) -> String {
    result.unwrap_err().to_string()
}

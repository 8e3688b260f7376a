//! The tasks of a schedule's run on a cluster of real processes: a worker makes the dataset and the job of a window, workers
//! train it, and a worker gathers what the candidate is judged by, whoever is lost on the way.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use std::path::Path;
use std::time::Duration;

use muster_core::retrain::gates::{Evidence, Judgement, Outcome};
use muster_proto::control::{
    Contender, JudgeDone, JudgeUnit, Queueing, TaskStage, TaskStatus, TaskWork, WindowDone, WindowEnd,
    WindowUnit,
};
use muster_proto::ids::TaskOwner;
use muster_proto::rpc::{JobClient, Target, TaskClient};
use muster_tests::cluster::Cluster;
use muster_tests::folder::Folder;
use muster_tests::process::{signal, wait_for};
use serde_json::Value;
use tokio::runtime::Runtime;

const JOB: &str = "name = \"shop\"\n[batch]\nsequences = 64\nmicro_batches = 4\nmax_len = 10\n[model]\nembedding_dim = 8\n\
    hidden_size = 8\n[training]\nepochs = 1\n[evaluation]\nks = [10]\n";

const GATES: &str = "cold_start = \"pass\"\n[relative]\nrule = \"not_worse\"\nmargin = 0.5\nmin_users = 30\n[budget]\n\
    max_size = \"10 MiB\"\nmax_latency = \"20s\"\n";

/// Whoever has tasks done, as the coordinator's own schedules do.
struct Owner {
    runtime: Runtime,
    tasks: TaskClient,
    jobs: JobClient,
}

impl Owner {
    fn of(cluster: &Cluster<'_>) -> Self {
        let runtime = Runtime::new().unwrap();
        let target = || Target { url: cluster.url().into(), token: None, deadline: Duration::from_secs(20) };
        let tasks = runtime.block_on(TaskClient::connect(target(), TaskOwner(7))).unwrap();
        let jobs = runtime.block_on(JobClient::connect(target())).unwrap();
        Self { runtime, tasks, jobs }
    }

    fn ask(&self, number: u32, work: TaskWork) {
        self.runtime.block_on(self.tasks.create(vec![(number, work)])).unwrap();
    }

    fn status(&self, number: u32) -> TaskStatus {
        self.runtime.block_on(self.tasks.tell(&[number])).unwrap().remove(0)
    }

    fn result<T: serde::de::DeserializeOwned>(&self, number: u32) -> T {
        let result = wait_for("the task to end", || match self.status(number).stage {
            TaskStage::Done { result } => Some(result),
            TaskStage::Failed { error } => panic!("{error}"),
            TaskStage::Waiting | TaskStage::Given { .. } => None,
        });
        serde_json::from_value(result).unwrap()
    }
}

/// The process of the worker that has a task.
fn busy(cluster: &Cluster<'_>) -> Option<u32> {
    let listed = cluster.ask(&["workers", "list"])?;
    let workers = listed["workers"].as_array()?;
    let name = |worker: &Value| Some(worker["capabilities"]["name"].as_str()?.to_owned());
    let busy = workers.iter().find(|worker| !worker["task"].is_null()).and_then(name)?;
    busy.rsplit_once('-')?.1.parse().ok()
}

/// Milliseconds since 1970 that lie so far into the time of a log.
struct Times(i64, i64);

impl Times {
    /// Of a dataset.
    fn of(dataset: &Path) -> Self {
        let manifest: Value =
            serde_json::from_slice(&std::fs::read(dataset.join("manifest.json")).unwrap()).unwrap();
        let [first, last] = [0, 1].map(|end| manifest["time_range"][end].as_i64().unwrap());
        Self(first, last)
    }

    fn at(&self, share: f64) -> i64 {
        self.0 + ((self.1 - self.0) as f64 * share) as i64
    }
}

/// A folder with the log of a shop, `log/dataset.toml`, in four files.
fn shop() -> Folder {
    let folder = Folder::new(env!("CARGO_BIN_EXE_muster-under-test"));
    let size = ["--events", "40000", "--users", "1500", "--items", "300", "--set", "files=4"];
    folder.result(&[&["generate", "--kind", "shop", "--out", "log"], &size[..]].concat());
    folder
}

fn unit(folder: &Folder, times: &Times) -> WindowUnit {
    WindowUnit {
        workspace: folder.at("nightly").display().to_string(),
        run: "run-1".to_owned(),
        dataset_toml: std::fs::read_to_string(folder.at("log/dataset.toml")).unwrap(),
        folder: folder.at("log").display().to_string(),
        from: Some(times.at(0.1)),
        until: times.at(0.9),
        valid_from: times.at(0.6),
        test_from: times.at(0.75),
        increments: None,
        accepted: None,
        job_toml: JOB.to_owned(),
        warm_start: None,
        name: "nightly/run-1".to_owned(),
        workers: 2,
        min_workers: 1,
        queueing: Queueing::default(),
    }
}

/// What the command cuts of the base of a window's run.
fn cut(folder: &Folder, unit: &WindowUnit) -> Value {
    let window = format!("{}..{}", iso(unit.from.unwrap()), iso(unit.until));
    let [valid, test] = [unit.valid_from, unit.test_from].map(iso);
    let sets = [
        "split.kind=\"time\"".to_owned(),
        format!("split.valid_from=\"{valid}\""),
        format!("split.test_from=\"{test}\""),
    ];
    let base = folder.at("nightly/base").display().to_string();
    let mut args =
        vec!["prepare", "log/dataset.toml", "--from", &base, "--out", "again", "--window", &window];
    sets.iter().for_each(|set| args.extend(["--set", set]));
    folder.result(&args)
}

fn iso(millis: i64) -> String {
    muster_proto::dataset::time::format_iso8601_exact(millis)
}

/// Has a worker make the window of a run, and kills it while it does.
fn window(owner: &Owner, cluster: &Cluster<'_>, unit: &WindowUnit) -> WindowDone {
    owner.ask(0, TaskWork::Window(Box::new(unit.clone())));
    let worker = wait_for("a worker to have the task", || busy(cluster));
    signal("KILL", worker);
    let WindowEnd::Made(window) = owner.result(0) else { panic!("the window has rows") };
    assert!(owner.status(0).attempt > 1, "the worker was lost after its work was done");
    *window
}

#[test]
fn a_run_goes_from_new_files_to_a_judgement_over_the_loss_of_a_worker() {
    let folder = shop();
    folder.result(&["prepare", "log/dataset.toml", "--out", "whole"]);
    let unit = unit(&folder, &Times::of(&folder.at("whole")));
    let cluster = Cluster::start(&folder, 3, &[]);
    let owner = Owner::of(&cluster);
    let window = window(&owner, &cluster, &unit);
    // What the first attempt added counts as the run's own, and the dataset is that of the window.
    assert_eq!((window.read.files, window.read.new_files), (4, 4));
    let again = cut(&folder, &unit);
    assert_eq!(again["digest"], window.digest);
    assert!(again["outside_window"].as_u64() > Some(0), "{again}");
    let job = owner.runtime.block_on(owner.jobs.submit(&window.submission)).unwrap();
    wait_for("the job to finish", || {
        let status = cluster.ask(&["jobs", "show", &job.0.to_string()])?;
        assert_ne!(status["phase"], "failed", "{status}");
        (status["phase"] == "finished").then_some(())
    });
    let mut unit = JudgeUnit {
        workspace: unit.workspace,
        run: unit.run,
        run_dir: window.submission.run_dir.clone(),
        dataset: window.dataset.clone(),
        champion: None,
        gates: toml::from_str(GATES).unwrap(),
    };
    owner.ask(1, TaskWork::Judge(Box::new(unit.clone())));
    let done: JudgeDone = owner.result(1);
    let evaluated = folder.result(&["evaluate", &unit.run_dir]);
    let (found, expected) = (done.metrics["NDCG@10"], evaluated["metrics"]["NDCG@10"].as_f64().unwrap());
    assert!((found - expected).abs() < 1e-12, "{found} {expected}");
    let judgement: Judgement = serde_json::from_value(done.judgement).unwrap();
    assert_eq!(judgement.outcome, Outcome::Passed, "{judgement:?}");
    let evidence: Evidence = serde_json::from_slice(&std::fs::read(&done.evidence).unwrap()).unwrap();
    assert_eq!(Some(evidence.users.len() as u64), evaluated["users"].as_u64());
    // A champion that is gone fails the task, with the folder's name.
    let gone = folder.at("gone").display().to_string();
    let (dataset, model_digest) = (window.dataset, done.model_digest);
    unit.champion = Some(Contender { checkpoint: gone.clone(), dataset, model_digest });
    owner.ask(2, TaskWork::Judge(Box::new(unit)));
    let error = wait_for("the task to fail", || match owner.status(2).stage {
        TaskStage::Failed { error } => Some(error),
        _ => None,
    });
    assert!(error.contains(&gone) && error.contains("has no checkpoint"), "{error}");
}

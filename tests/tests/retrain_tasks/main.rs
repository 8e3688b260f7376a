//! The tasks of a schedule's run on a cluster of real processes: a worker makes the dataset and the job of a window, workers
//! train it, and a worker gathers what the candidate is judged by, whoever is lost on the way.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use std::time::Duration;

use muster_core::retrain::gates::{Evidence, Judgement, Outcome};
use muster_proto::control::{
    Contender, JudgeDone, JudgeUnit, Queueing, TaskStage, TaskStatus, TaskWork, WindowEnd, WindowUnit,
};
use muster_proto::ids::TaskOwner;
use muster_proto::rpc::{JobClient, Target, TaskClient};
use muster_tests::cluster::Cluster;
use muster_tests::folder::Folder;
use muster_tests::process::{signal, wait_for};
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
    let name = |worker: &serde_json::Value| Some(worker["capabilities"]["name"].as_str()?.to_owned());
    let busy = workers.iter().find(|worker| !worker["task"].is_null()).and_then(name)?;
    busy.rsplit_once('-')?.1.parse().ok()
}

#[test]
fn a_run_goes_from_new_files_to_a_judgement_over_the_loss_of_a_worker() {
    let folder = Folder::new(env!("CARGO_BIN_EXE_muster-under-test"));
    let size = ["--events", "40000", "--users", "1500", "--items", "300", "--set", "files=4"];
    folder.result(&[&["generate", "--kind", "shop", "--out", "log"], &size[..]].concat());
    let whole = folder.result(&["prepare", "log/dataset.toml", "--out", "whole"]);
    let stats = folder.result(&["data", "stats", "whole"]);
    assert!(whole["events"].as_u64() > Some(10_000), "{whole} {stats}");
    let manifest: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.at("whole/manifest.json")).unwrap()).unwrap();
    let [first, last] = [0, 1].map(|end| manifest["time_range"][end].as_i64().unwrap());
    let at = |share: f64| first + ((last - first) as f64 * share) as i64;
    let cluster = Cluster::start(&folder, 3, &[]);
    let owner = Owner::of(&cluster);
    let unit = WindowUnit {
        workspace: folder.at("nightly").display().to_string(),
        run: "run-1".to_owned(),
        dataset_toml: std::fs::read_to_string(folder.at("log/dataset.toml")).unwrap(),
        folder: folder.at("log").display().to_string(),
        from: Some(at(0.1)),
        until: at(0.9),
        valid_from: at(0.6),
        test_from: at(0.75),
        increments: None,
        accepted: None,
        job_toml: JOB.to_owned(),
        warm_start: None,
        name: "nightly/run-1".to_owned(),
        workers: 2,
        min_workers: 1,
        queueing: Queueing::default(),
    };
    owner.ask(0, TaskWork::Window(Box::new(unit.clone())));
    let worker = wait_for("a worker to have the task", || busy(&cluster));
    signal("KILL", worker);
    let WindowEnd::Made(window) = owner.result(0) else { panic!("the window has rows") };
    assert!(owner.status(0).attempt > 1, "the worker was lost after its work was done");
    assert_eq!((window.read.files, window.read.new_files), (4, 4));
    // What the first attempt added counts as the run's own, and the dataset is that of the window.
    let window_of = format!("{}..{}", iso(at(0.1)), iso(at(0.9)));
    let [valid, test] = [at(0.6), at(0.75)].map(iso);
    let sets = [
        "split.kind=\"time\"".to_owned(),
        format!("split.valid_from=\"{valid}\""),
        format!("split.test_from=\"{test}\""),
    ];
    let mut args =
        vec!["prepare", "log/dataset.toml", "--from", "nightly/base", "--out", "again", "--window"];
    args.push(&window_of);
    sets.iter().for_each(|set| args.extend(["--set", set]));
    let again = folder.result(&args);
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
    let value = |metric: &str| evaluated["metrics"][metric].as_f64();
    assert_eq!(done.metrics.get("NDCG@10").copied(), value("NDCG@10"), "{evaluated}");
    let judgement: Judgement = serde_json::from_value(done.judgement).unwrap();
    assert_eq!(judgement.outcome, Outcome::Passed, "{judgement:?}");
    let evidence: Evidence = serde_json::from_slice(&std::fs::read(&done.evidence).unwrap()).unwrap();
    assert_eq!(Some(evidence.users.len() as u64), evaluated["users"].as_u64());
    // A champion that is gone fails the task, with the folder's name.
    let gone = folder.at("gone").display().to_string();
    unit.champion = Some(Contender {
        checkpoint: gone.clone(),
        dataset: window.dataset,
        model_digest: done.model_digest,
    });
    owner.ask(2, TaskWork::Judge(Box::new(unit)));
    let error = wait_for("the task to fail", || match owner.status(2).stage {
        TaskStage::Failed { error } => Some(error),
        _ => None,
    });
    assert!(error.contains(&gone) && error.contains("has no checkpoint"), "{error}");
}

fn iso(millis: i64) -> String {
    muster_proto::dataset::time::format_iso8601_exact(millis)
}

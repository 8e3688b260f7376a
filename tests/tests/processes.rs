//! The processes of a cluster on this machine: they find each other, and end when they should.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::fs;
use std::net::TcpListener;

use muster_tests::folder::Folder;
use muster_tests::process::{Running, children_of, is_running, signal, wait_for};
use muster_tests::small::prepared;
use serde_json::Value;

/// The program under test.
const MUSTER: &str = env!("CARGO_BIN_EXE_muster-under-test");

/// A training run that would go on for hours, once its two workers train.
fn endless_run(folder: &Folder) -> (Running, Vec<u32>) {
    let args =
        ["train", "job.toml", "--dataset", "prepared", "--out", "run", "--workers", "2", "--threads", "1"];
    let run = Running::start(folder.command(&args).args(["--set", "training.epochs=1000000"]));
    wait_for("the first record of training", || {
        let history = fs::read_to_string(folder.at("run/history.jsonl")).ok()?;
        history.contains("metrics").then_some(())
    });
    let workers = children_of(run.id());
    assert_eq!(workers.len(), 2);
    (run, workers)
}

fn assert_gone(workers: &[u32]) {
    for worker in workers {
        wait_for("a worker to end", || (!is_running(*worker)).then_some(()));
    }
}

#[test]
fn workers_do_not_outlive_the_command_that_was_killed() {
    let folder = prepared(MUSTER);
    let (run, workers) = endless_run(&folder);
    signal("KILL", run.id());
    assert_gone(&workers);
}

#[test]
fn an_interrupt_ends_the_run_and_its_workers_and_keeps_the_last_checkpoint() {
    let folder = prepared(MUSTER);
    let (run, workers) = endless_run(&folder);
    wait_for("a checkpoint", || {
        let checkpoints = fs::read_dir(folder.at("run/checkpoints")).ok()?;
        checkpoints.flatten().any(|entry| entry.path().join("manifest.json").exists()).then_some(())
    });
    signal("INT", run.id());
    let (code, stdout) = run.end();
    assert_eq!(code, Some(1), "{stdout}");
    assert!(stdout.contains("--resume"), "{stdout}");
    assert_gone(&workers);
    assert_eq!(folder.result(&["verify", "run"])["ok"], true);
}

#[test]
fn a_run_goes_on_without_a_worker_that_is_killed_and_ends_with_the_name_of_the_last() {
    let folder = prepared(MUSTER);
    let (run, workers) = endless_run(&folder);
    signal("KILL", workers[1]);
    wait_for("the run to go on with one worker", || {
        let history = fs::read_to_string(folder.at("run/history.jsonl")).ok()?;
        let goes_on = history.split("\"generation\":2").nth(1)?;
        goes_on.contains("loss").then_some(())
    });
    signal("KILL", workers[0]);
    let (code, stdout) = run.end();
    assert_eq!(code, Some(1), "{stdout}");
    let error: Value = serde_json::from_str(&stdout).unwrap();
    let message = error["error"]["message"].as_str().unwrap();
    assert!(message.contains("worker 0 ended (signal: 9"), "{message}");
    assert_gone(&workers);
}

#[test]
fn a_job_is_submitted_listed_and_cancelled_on_a_cluster_of_processes() {
    let folder = prepared(MUSTER);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (listen, url) = (format!("127.0.0.1:{port}"), format!("http://127.0.0.1:{port}"));
    let coordinator = Running::start(&mut folder.command(&["coordinator", "--listen", &listen]));
    let worker = Running::start(&mut folder.command(&["worker", "--coordinator", &url, "--threads", "1"]));
    let ask = |args: &[&str]| {
        let outcome = folder.muster(&[args, &["--coordinator", &url]].concat());
        (outcome.code == Some(0)).then(|| outcome.json())
    };
    wait_for("the worker to register", || {
        let workers = ask(&["workers", "list"])?;
        workers["workers"].as_array()?.iter().any(|worker| worker["connected"] == true).then_some(())
    });
    let submit = [
        "jobs",
        "submit",
        "job.toml",
        "--dataset",
        "prepared",
        "--out",
        "run",
        "--set",
        "training.epochs=1000000",
    ];
    let job = ask(&submit).unwrap()["job"].to_string();
    wait_for("the job to train", || (ask(&["jobs", "show", &job])?["phase"] == "training").then_some(()));
    assert_eq!(ask(&["jobs", "list"]).unwrap()["jobs"].as_array().unwrap().len(), 1);
    ask(&["jobs", "cancel", &job]).unwrap();
    wait_for("the job to end", || (ask(&["jobs", "show", &job])?["phase"] == "cancelled").then_some(()));
    signal("TERM", worker.id());
    assert_eq!(worker.end().0, Some(0));
    signal("TERM", coordinator.id());
    assert_eq!(coordinator.end().0, Some(0));
}

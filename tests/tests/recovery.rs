//! Any failure, any number of workers: training goes on, and the model is the one of a run in which nothing happened.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::path::Path;

use muster_tests::cluster::{Cluster, newest_manifest};
use muster_tests::folder::Folder;
use muster_tests::process::wait_for;
use muster_tests::small::long;
use serde_json::Value;

/// The program under test.
const MUSTER: &str = env!("CARGO_BIN_EXE_muster-under-test");

fn chaos(folder: &Folder, more: &[&str]) -> Value {
    let flags = ["chaos", "job.toml", "--dataset", "prepared", "--threads", "1", "--every-seconds", "0.2"];
    folder.result(&[&flags, more].concat())
}

fn assert_overcome(found: &Value, incidents: usize) {
    assert_eq!(found["ok"], true, "{found}");
    assert_eq!(found["model_digest"], found["undisturbed_digest"]);
    assert_eq!(found["incidents"].as_array().unwrap().len(), incidents, "{found}");
}

#[test]
fn workers_that_are_killed_and_stopped_do_not_change_the_model() {
    let folder = long(MUSTER);
    let faults = ["--workers", "4", "--kills", "3", "--pairs", "1", "--pauses", "1", "--pause-seconds", "7"];
    let found = chaos(&folder, &[&faults[..], &["--out", "out"]].concat());
    assert_overcome(&found, 5);
    let incidents = found["incidents"].as_array().unwrap();
    assert!(incidents.iter().any(|incident| incident["restored_from"] == "memory"), "{found}");
    assert!(incidents.iter().any(|incident| incident["detect"].as_f64().unwrap() >= 5.0), "{found}");
    assert_survivors_tell_what_they_did(&folder.path().join("out/disturbed/flight"));
}

/// Each rank that stopped before its end wrote down its last collectives, and why it stopped.
fn assert_survivors_tell_what_they_did(flights: &Path) {
    let mut told = 0;
    for file in std::fs::read_dir(flights).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let flight: Value = serde_json::from_str(&text).unwrap();
        assert!(!flight["error"].as_str().unwrap().is_empty(), "{flight}");
        let collectives = flight["collectives"].as_array().unwrap();
        assert!(collectives.len() <= 100, "{} collectives", collectives.len());
        assert!(collectives.is_sorted_by_key(|collective| collective["seq"].as_u64()), "{flight}");
        told += usize::from(!collectives.is_empty());
    }
    assert!(told >= 3, "{told} ranks told what they did");
}

#[test]
fn a_spare_steps_in_for_each_worker_that_is_killed() {
    let folder = long(MUSTER);
    let found = chaos(&folder, &["--workers", "2", "--spares", "1", "--kills", "3"]);
    assert_overcome(&found, 3);
    for incident in found["incidents"].as_array().unwrap() {
        assert_eq!(incident["after"], 2, "{incident}");
    }
}

#[test]
fn a_job_grows_and_shrinks_between_steps_and_a_drained_worker_hands_over_its_rank() {
    let folder = long(MUSTER);
    let job = ["job.toml", "--dataset", "prepared", "--set", "training.epochs=900"];
    let undisturbed = folder.result(&[&["train", "--workers", "1", "--out", "alone"], &job[..]].concat());
    let cluster = Cluster::start(&folder, 5, &[]);
    let submit = [&["jobs", "submit", "--workers", "2", "--out", "run"], &job[..]].concat();
    let id = cluster.ask(&submit).unwrap()["job"].to_string();
    cluster.trains_on(&id, 2);
    for (changes, workers) in (1..).zip(["4", "3", "1", "3"]) {
        cluster.ask(&["jobs", "scale", &id, "--workers", workers]).unwrap();
        cluster.trains_on(&id, workers.parse().unwrap());
        cluster.has_made(&id, changes);
    }
    let held = cluster.ask(&["jobs", "show", &id]).unwrap()["workers"][1].clone();
    cluster.ask(&["workers", "drain", &held.to_string()]).unwrap();
    let without_it = || {
        let status = cluster.ask(&["jobs", "show", &id])?;
        let workers = status["workers"].as_array()?;
        let moved = workers.len() == 3 && !workers.contains(&held);
        (status["phase"] == "training" && moved).then_some(())
    };
    wait_for("another worker to take the drained one's rank", without_it);
    wait_for("the job to finish", || {
        (cluster.ask(&["jobs", "show", &id])?["phase"] == "finished").then_some(())
    });
    let explained = cluster.ask(&["jobs", "explain", &id]).unwrap();
    let incidents = explained["incidents"].as_array().unwrap();
    assert_eq!(incidents.len(), 5, "{explained}");
    assert!(
        incidents.iter().all(|change| change["planned"] == true && change["steps_redone"] == 0),
        "{explained}"
    );
    let verified = folder.result(&["verify", "run", "--dataset", "prepared"]);
    assert_eq!(verified["ok"], true, "{verified}");
    assert_eq!(newest_manifest(&folder.at("run"))["model_digest"], undisturbed["model_digest"]);
}

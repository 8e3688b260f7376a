//! `muster train --from`: a model that begins from another one, over the real program, and what is refused.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::fs;

use muster_tests::folder::Folder;
use muster_tests::refusal::{Refusal, assert_refused};
use muster_tests::small;
use serde_json::Value;

/// The program under test.
const MUSTER: &str = env!("CARGO_BIN_EXE_muster-under-test");

/// A folder with a run `first`, and the dataset of the log after it grew by users and items, `grown`.
fn grown() -> Folder {
    let folder = small::prepared(MUSTER);
    folder.result(&["train", "job.toml", "--dataset", "prepared", "--out", "first"]);
    let mut log = small::log();
    for user in 12..18 {
        for event in 0..6 {
            let (item, time) = ((user + event * 5) % 13, 1_400_100_000 + user * 1000 + event * 60);
            log.push_str(&format!("u{user},i{item},{time},1.5,0\n"));
        }
    }
    folder.write("log.csv", log);
    folder.result(&["prepare", "dataset.toml", "--out", "grown"]);
    folder
}

/// Trains on the grown dataset from `first`, into `out`, with more flags.
fn train(folder: &Folder, out: &str, more: &[&str]) -> Value {
    let args = ["train", "job.toml", "--dataset", "grown", "--out", out, "--from", "first", "--threads", "1"];
    folder.result(&[&args[..], more].concat())
}

/// The job that the run's checkpoint has.
fn job_of(run: &Value) -> toml::Table {
    let manifest =
        fs::read_to_string(format!("{}/manifest.json", run["checkpoint"].as_str().unwrap())).unwrap();
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    manifest["job"].as_str().unwrap().parse().unwrap()
}

#[test]
fn one_dataset_and_one_parent_give_one_model_on_any_number_of_workers() {
    let folder = grown();
    let one = train(&folder, "one", &[]);
    let three = train(&folder, "three", &["--workers", "3"]);
    assert_eq!(one["model_digest"], three["model_digest"]);
    let cold = folder.result(&["train", "job.toml", "--dataset", "grown", "--out", "cold"]);
    assert_ne!(cold["model_digest"], one["model_digest"]);
    assert_eq!(folder.result(&["verify", "three"])["ok"], true);
    folder.result(&["evaluate", "three"]);
    let warm = job_of(&one)["warm_start"].as_table().unwrap().clone();
    let first: Value =
        serde_json::from_str(&fs::read_to_string(folder.at("first/run.json")).unwrap()).unwrap();
    assert_eq!(warm["dataset"].as_str(), first["dataset"].as_str());
    assert_eq!(warm["table_updates"], warm["dense_updates"]);
    assert!(warm["table_updates"].as_integer().unwrap() > 0 && warm["model_digest"].is_str(), "{warm:#?}");
}

#[test]
fn logs_with_other_names_of_items_go_on_from_a_model_as_those_with_its_own() {
    let folder = grown();
    let own = train(&folder, "own", &[]);
    // The names' order is the same, so that all else is alike.
    let log = fs::read_to_string(folder.at("log.csv")).unwrap().replace(",i", ",x");
    folder.write("log.csv", log.replacen(",xtem", ",item", 1));
    folder.result(&["prepare", "dataset.toml", "--out", "renamed"]);
    let names: serde_json::Map<String, Value> =
        (0..40).map(|item| (format!("x{item}"), format!("i{item}").into())).collect();
    folder.write("names.json", Value::from(names).to_string());
    let args = ["train", "job.toml", "--dataset", "renamed", "--from", "first", "--threads", "1", "--out"];
    let named = ["--set", "warm_start.items=\"names.json\""];
    let mapped = folder.result(&[&args[..], &["mapped"], &named].concat());
    assert_eq!(mapped["model_digest"], own["model_digest"]);
    let strange = folder.muster(&[&args[..], &["strange"]].concat());
    assert!(
        strange.code == Some(1) && strange.json().to_string().contains("knows none of the"),
        "{strange:?}"
    );
    folder.write("names.json", "[1, 2]");
    let broken = folder.muster(&[&args[..], &["broken"], &named].concat());
    let told = broken.json().to_string();
    assert!(
        broken.code == Some(2) && told.contains("names.json is no JSON object of names to names"),
        "{told}"
    );
}

#[test]
fn a_run_that_began_from_another_is_resumed_without_naming_it_again() {
    let folder = grown();
    let whole = train(&folder, "whole", &["--set", "training.epochs=4"]);
    train(&folder, "part", &["--set", "training.epochs=2"]);
    let resumed = folder.result(&[
        "train",
        "job.toml",
        "--resume",
        "part",
        "--workers",
        "2",
        "--set",
        "training.epochs=4",
        "--threads",
        "1",
    ]);
    assert_eq!(resumed["model_digest"], whole["model_digest"]);
    let refused = ["train", "job.toml", "--resume", "first", "--set", "warm_start.parent=part"];
    let words = &["began from initial values"];
    assert_refused(
        &folder.muster(&refused),
        Refusal { code: 2, file: "first", field: "warm_start.parent", words },
    );
}

#[test]
fn a_third_run_notes_the_datasets_before_its_parents() {
    let folder = grown();
    train(&folder, "second", &[]);
    let args = ["train", "job.toml", "--dataset", "grown", "--out", "third", "--from", "second"];
    let third = folder.result(&[&args[..], &["--set", "warm_start.evict_after=3"]].concat());
    let warm = job_of(&third)["warm_start"].as_table().unwrap().clone();
    let windows = warm["windows"].as_array().unwrap();
    assert!(windows.len() == 1 && windows[0]["dataset"].as_str().unwrap().ends_with("prepared"), "{warm:#?}");
    assert_eq!(folder.result(&["verify", "third"])["ok"], true);
}

#[test]
fn a_parent_that_does_not_fit_is_refused_before_anything_is_started() {
    let folder = grown();
    let refused = |from: &str, set: &str| {
        let mut args = vec!["train", "job.toml", "--dataset", "grown", "--out", "refused", "--from", from];
        args.extend(["--set", set]);
        let outcome = folder.muster(&args);
        assert!(!folder.at("refused").exists(), "a run directory was made");
        outcome
    };
    let refusal = |field, words| Refusal { code: 2, file: "", field, words };
    let nowhere = refused("nowhere", "seed=1");
    assert_refused(
        &nowhere,
        Refusal { file: "nowhere", ..refusal("warm_start.parent", &["has no checkpoint"]) },
    );
    let shape = refused("first", "model.layers=2");
    assert_refused(&shape, refusal("model.layers", &["is 1 there and 2 in the job"]));
    let digest = refused("first", "warm_start.model_digest=ab");
    assert_refused(&digest, refusal("warm_start.parent", &["another model", "not ab"]));
    let dataset = refused("first", "warm_start.dataset=grown");
    assert_refused(&dataset, refusal("warm_start.dataset", &["is not the dataset of the parent"]));
    fs::remove_file(folder.at("first/run.json")).unwrap();
    let unknown = refused("first", "seed=1");
    assert_refused(&unknown, refusal("warm_start.dataset", &["nothing says which dataset"]));
    let named = train(&folder, "named", &["--set", "warm_start.dataset=prepared"]);
    assert!(named["model_digest"].is_string());
}

#[test]
fn a_parent_whose_piece_is_damaged_fails_the_run_and_names_it() {
    let folder = grown();
    let checkpoints = fs::read_dir(folder.at("first/checkpoints")).unwrap().flatten();
    let newest = checkpoints.map(|entry| entry.path()).max().unwrap();
    fs::remove_file(newest.join("dense.safetensors")).unwrap();
    let args = ["train", "job.toml", "--dataset", "grown", "--out", "damaged", "--from", "first"];
    let words = &["piece dense is damaged", "restore the file"];
    assert_refused(&folder.muster(&args), Refusal { code: 1, file: "", field: "", words });
}

//! The commands in the order a user meets them, over the real program: results as JSON, and what fits to what.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::fs;

use muster_tests::small::{folder, prepared};
use serde_json::Value;

/// The program under test.
const MUSTER: &str = env!("CARGO_BIN_EXE_muster-under-test");

fn assert_has(object: &Value, keys: &[&str]) {
    for key in keys {
        assert!(!object[key].is_null(), "{key} is missing in {object:#}");
    }
}

#[test]
fn the_first_command_shows_a_model_that_beats_its_baselines() {
    let folder = muster_tests::folder::Folder::new(MUSTER);
    let demo = folder.result(&["demo"]);
    let hit_rate = |path: &str| demo.pointer(path).and_then(Value::as_f64).unwrap();
    let model = hit_rate("/evaluate/metrics/HR@10");
    assert!(model >= 2.0 * hit_rate("/evaluate/baselines/popularity/HR@10"), "{demo:#}");
    assert!(model > hit_rate("/evaluate/baselines/markov/HR@10"), "{demo:#}");
    assert!(model < hit_rate("/oracle/HR@10"), "{demo:#}");
    let recommendations = demo["recommend"]["recommendations"].as_array().unwrap();
    assert_eq!(recommendations.len(), 10);
    assert!(recommendations.iter().all(|item| item["reason"]["lowers_score_by"].is_number()), "{demo:#}");
}

#[test]
fn a_log_becomes_a_dataset_a_model_and_recommendations() {
    let folder = folder(MUSTER);
    let prepared = folder.result(&["prepare", "dataset.toml", "--out", "prepared"]);
    assert_has(&prepared, &["rows_in", "rows_out", "dropped", "digest"]);
    assert_eq!(folder.result(&["data", "stats", "prepared"])["users"], 12);

    let args =
        ["train", "job.toml", "--dataset", "prepared", "--out", "run", "--workers", "2", "--threads", "1"];
    let trained = folder.result(&args);
    let promised = [
        "run",
        "generation",
        "world_size",
        "steps",
        "samples",
        "tokens_per_second",
        "model_digest",
        "checkpoint",
    ];
    assert_has(&trained, &promised);
    assert_has(&trained["metrics"], &["HR@10", "NDCG@10"]);
    assert_eq!(trained["world_size"], 2);
    assert!(fs::read_to_string(folder.at("run/curves.svg")).unwrap().contains("Training loss"));

    let evaluated = folder.result(&["evaluate", "run", "--csv", "report.csv"]);
    assert_has(&evaluated, &["metrics", "users", "ties", "seen_filtered"]);
    assert_has(&evaluated["baselines"]["popularity"], &["HR@10", "NDCG@10"]);
    assert_eq!(evaluated["metrics"], trained["metrics"], "one process and the cluster judge a model alike");
    assert!(
        fs::read_to_string(folder.at("report.csv")).unwrap().starts_with("metric,model,markov,popularity\n")
    );

    let recommended = folder.result(&["recommend", "run", "--user", "u3", "-k", "2"]);
    assert_eq!(recommended["recommendations"].as_array().unwrap().len(), 2);

    let verified = folder.result(&["verify", "run"]);
    assert_eq!((&verified["ok"], &verified["problems"]), (&Value::Bool(true), &Value::Array(Vec::new())));
}

#[test]
fn a_run_that_is_resumed_on_another_number_of_workers_ends_as_if_never_stopped() {
    let folder = prepared(MUSTER);
    let whole =
        ["train", "job.toml", "--dataset", "prepared", "--out", "whole", "--set", "training.epochs=4"];
    let whole = folder.result(&whole);
    folder.result(&[
        "train",
        "job.toml",
        "--dataset",
        "prepared",
        "--out",
        "half",
        "--set",
        "training.epochs=2",
    ]);
    let resumed = ["train", "job.toml", "--resume", "half", "--workers", "3", "--set", "training.epochs=4"];
    let resumed = folder.result(&resumed);
    assert_eq!(resumed["model_digest"], whole["model_digest"]);
    assert_eq!(resumed["steps"], whole["steps"]);
    assert_eq!(folder.result(&["verify", "half"])["ok"], true);
}

#[test]
fn the_same_flags_give_the_same_log_and_the_same_dataset() {
    let folder = folder(MUSTER);
    for name in ["a", "b"] {
        let log = format!("{name}.csv");
        folder.result(&["generate", "--users", "50", "--items", "60", "--events", "300", "--out", &log]);
    }
    assert_eq!(fs::read(folder.at("a.csv")).unwrap(), fs::read(folder.at("b.csv")).unwrap());
    let digest = |out: &str| folder.result(&["prepare", "dataset.toml", "--out", out])["digest"].clone();
    assert_eq!(digest("one"), digest("two"));
}

#[test]
fn an_override_and_a_seed_change_the_model_and_nothing_else_does() {
    let folder = prepared(MUSTER);
    let digest = |out: &str, more: &[&str]| {
        let args = [&["train", "job.toml", "--dataset", "prepared", "--out", out], more].concat();
        folder.result(&args)["model_digest"].clone()
    };
    let plain = digest("plain", &[]);
    assert_eq!(digest("again", &["--threads", "2"]), plain);
    assert_eq!(digest("placed", &["--workers", "2", "--set", "tables.placement.item=table_wise"]), plain);
    assert_ne!(digest("seed", &["--seed", "7"]), plain);
    assert_ne!(digest("set", &["--set", "model.dropout_output=0.5"]), plain);
}

#[test]
fn text_for_people_goes_to_stdout_and_progress_to_stderr() {
    let folder = prepared(MUSTER);
    let mut command = std::process::Command::new(MUSTER);
    command.args(["train", "job.toml", "--dataset", "prepared", "--out", "run"]).current_dir(folder.path());
    let outcome = muster_tests::binary::run_command(&mut command).expect_success();
    assert!(
        outcome.stdout.contains("model digest") && !outcome.stdout.contains("validation"),
        "{outcome:#?}"
    );
    assert!(outcome.stderr.contains("validation") && outcome.stderr.contains("HR@10"), "{outcome:#?}");
}

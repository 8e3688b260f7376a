//! The examples over real logs: prepared from their files, and trained for a few steps by their jobs.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot be set up has failed, or says why it is skipped"
)]

use std::path::Path;

use muster_tests::binary::run_command;
use muster_tests::folder::Folder;
use muster_tests::source::root;
use serde_json::Value;

const MUSTER: &str = env!("CARGO_BIN_EXE_muster-under-test");

/// Prepares an example with the logs that lie below `variable`, and trains two steps; none, loudly, without them.
fn walk(name: &str, variable: &str, file: &str) -> Option<(Value, Value)> {
    let data = std::env::var_os(variable).filter(|data| Path::new(data).join(file).exists());
    let Some(data) = data else {
        assert!(std::env::var_os("MUSTER_REQUIRE_ALL").is_none(), "{variable} is not set, or lacks {file}");
        println!("skipped: {variable} is not set, or lacks {file}");
        return None;
    };
    let folder = Folder::new(MUSTER);
    let example = root().join("deploy/examples").join(name);
    let file = |name: &str| example.join(name).display().to_string();
    let (dataset, job) = (file("dataset.toml"), file("job.toml"));
    let result =
        |args: &[&str]| run_command(folder.command(args).env("MUSTER_DATA", &data)).expect_success().json();
    let prepared = result(&["prepare", &dataset, "--out", "prepared"]);
    let steps = ["--set", "training.max_steps=2", "--out", "run", "--workers", "1"];
    let trained = result(&[&["train", &job, "--dataset", "prepared"], &steps[..]].concat());
    assert_eq!(trained["steps"], 2, "{trained}");
    Some((prepared, trained))
}

#[test]
fn retailrocket_sessions_train() {
    let file = "raw-logs/sample_retailrocket.csv";
    let Some((prepared, _)) = walk("retailrocket", "MUSTER_DATA", file) else { return };
    assert_eq!(prepared["rows_in"], 10_080);
}

#[test]
fn diginetica_purchases_train() {
    let file = "raw-logs/diginetica-purchases.csv";
    let Some((prepared, _)) = walk("diginetica", "MUSTER_DATA", file) else { return };
    assert_eq!(prepared["rows_in"], 18_025);
}

#[test]
fn clicks_of_the_open_bandit_data_train() {
    let Some((prepared, _)) = walk("obp", "MUSTER_OBP", "obp/dataset/obd/bts/all/all.csv") else { return };
    assert_eq!(prepared["rows_in"], 20_000);
}

//! Checkpoints and logs in an object store: the real program against a real S3 protocol over a socket.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot be set up has failed, or says why it is skipped"
)]

mod inputs;
mod server;

use std::path::Path;

use muster_tests::folder::Folder;
use muster_tests::refusal::{Refusal, assert_refused};
use muster_tests::small::{self, prepared};
use serde_json::Value;
use server::Server;

/// The program under test.
const MUSTER: &str = env!("CARGO_BIN_EXE_muster-under-test");

const TO_THE_STORE: &str = "checkpoint.location=s3://models/nightly";

fn train<'a>(out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["train", "job.toml", "--dataset", "prepared", "--out", out], more].concat()
}

fn files_below(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn result(server: &Server, folder: &Folder, args: &[&str]) -> Value {
    server.run(folder, args).expect_success().json()
}

#[test]
fn a_run_with_its_checkpoints_in_a_store_is_used_like_one_on_a_disk() {
    let Some(server) = Server::start("models", 0) else { return };
    let folder = prepared(MUSTER);
    let here = result(&server, &folder, &train("here", &["--workers", "2"]));
    let there = result(&server, &folder, &train("there", &["--workers", "2", "--set", TO_THE_STORE]));
    assert_eq!(there["model_digest"], here["model_digest"]);
    let checkpoint = there["checkpoint"].as_str().unwrap();
    assert!(checkpoint.starts_with("s3://models/nightly/there/checkpoints/step-"), "{checkpoint}");
    assert!(!files_below(&folder.at("there")).contains(&"checkpoints".to_owned()));

    let wanted = result(&server, &folder, &["evaluate", "here"])["metrics"].clone();
    assert_eq!(result(&server, &folder, &["evaluate", "there"])["metrics"], wanted);
    let url = ["evaluate", "s3://models/nightly/there", "--dataset", "prepared"];
    assert_eq!(result(&server, &folder, &url)["metrics"], wanted);
    assert_eq!(result(&server, &folder, &["verify", "there"])["ok"], true);
}

#[test]
fn a_run_goes_on_from_a_store_that_fails_every_third_request() {
    let Some(server) = Server::start("models", 3) else { return };
    let folder = prepared(MUSTER);
    let whole = result(&server, &folder, &train("whole", &["--set", "training.epochs=4"]));
    result(&server, &folder, &train("half", &["--set", TO_THE_STORE, "--set", "training.epochs=2"]));
    let resumed = ["train", "job.toml", "--resume", "half", "--workers", "3", "--set", TO_THE_STORE];
    let resumed = result(&server, &folder, &[&resumed[..], &["--set", "training.epochs=4"]].concat());
    assert_eq!(resumed["model_digest"], whole["model_digest"]);
    assert_eq!(result(&server, &folder, &["verify", "half"])["ok"], true);
}

#[test]
fn a_new_run_does_not_take_the_address_of_another() {
    let Some(server) = Server::start("models", 0) else { return };
    let folder = prepared(MUSTER);
    let first = result(&server, &folder, &train("a/run", &["--set", TO_THE_STORE]));
    let second = server.run(&folder, &train("b/run", &["--set", TO_THE_STORE, "--seed", "7"]));
    let words = &["s3://models/nightly/run", "another run"];
    assert_refused(&second, Refusal { code: 2, file: "nightly/run", field: "--out", words });
    let kept = result(&server, &folder, &["verify", "s3://models/nightly/run", "--dataset", "prepared"]);
    assert_eq!(kept["ok"], true, "{kept:#}");
    assert!(first["model_digest"].is_string());
}

#[test]
fn a_location_that_is_no_store_is_refused_before_anything_starts() {
    let folder = prepared(MUSTER);
    let args = train("run", &["--set", "checkpoint.location=/tmp/elsewhere"]);
    let expected =
        Refusal { code: 2, file: "job.toml", field: "checkpoint.location", words: &["s3://BUCKET/PREFIX"] };
    assert_refused(&folder.muster(&args), expected);
    assert!(!folder.at("run").exists());
}

#[test]
fn increments_in_a_store_that_fails_every_third_request_are_read_over_their_base() {
    let Some(server) = Server::start("models", 3) else { return };
    let folder = small::generated(MUSTER, [200, 2000, 4000], 4, WIDE_JOB);

    let here = result(&server, &folder, &train("here", &["--workers", "2"]));
    let there = result(&server, &folder, &train("there", &["--workers", "2", "--set", TO_THE_STORE]));
    assert_eq!(there["model_digest"], here["model_digest"]);
    assert!(
        there["checkpoints"]["bytes"].as_u64().unwrap() > 0 && there["checkpoints"]["count"] == 4,
        "{there}"
    );
    let verified = result(&server, &folder, &["verify", "there"]);
    assert_eq!((&verified["ok"], &verified["increments"]), (&true.into(), &1.into()), "{verified}");
    let increment = "s3://models/nightly/there/checkpoints/step-000000006-g1";
    let of_store = result(&server, &folder, &["evaluate", increment, "--dataset", "prepared"]);
    let of_disk = result(&server, &folder, &["evaluate", "here/checkpoints/step-000000006-g1"]);
    assert_eq!(of_store["metrics"], of_disk["metrics"]);
}

/// A job that touches few rows between two checkpoints, and keeps the last increment with its base.
const WIDE_JOB: &str = "name = \"wide\"\n[batch]\nsequences = 8\nmicro_batches = 4\nmax_len = 4\n[model]\n\
    embedding_dim = 8\nhidden_size = 8\n[model.head.sampled_softmax]\nnegatives = 4\n[table_optimizer]\n\
    kind = \"lazy_adam\"\nlr = 0.01\n[training]\nmax_steps = 8\n[checkpoint]\nevery_steps = 2\nkeep = 1\n";

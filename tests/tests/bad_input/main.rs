//! Bad input over the real program: each kind gives a clear error with file and field, exit code 2 or 1, and leaves
//! nothing behind that looks whole.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod cluster;
mod flags;
mod job;
mod model;
mod prepare;

use muster_tests::folder::Folder;
use muster_tests::small;

/// The program under test.
const MUSTER: &str = env!("CARGO_BIN_EXE_muster-under-test");

fn folder() -> Folder {
    small::folder(MUSTER)
}

fn prepared() -> Folder {
    small::prepared(MUSTER)
}

#[test]
fn the_good_input_of_these_tests_is_good() {
    let folder = prepared();
    let summary = folder.result(&["train", "job.toml", "--dataset", "prepared", "--out", "run"]);
    assert!(summary["model_digest"].is_string(), "{summary}");
}

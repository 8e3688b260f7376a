//! Flags that mean nothing or cannot be.

use muster_tests::refusal::{Refusal, assert_refused};

use crate::folder;

#[test]
fn a_command_that_is_not_there_comes_with_the_nearest_one() {
    let outcome = folder().muster(&["trian", "job.toml"]);
    assert_refused(&outcome, Refusal { code: 2, file: "", field: "", words: &["trian", "train"] });
}

#[test]
fn a_flag_that_is_not_there_is_named() {
    let outcome = folder().muster(&["verify", "run", "--fast"]);
    assert_refused(&outcome, Refusal { code: 2, file: "", field: "--fast", words: &["unexpected argument"] });
}

#[test]
fn a_flag_that_is_required_is_named() {
    let outcome = folder().muster(&["prepare", "dataset.toml"]);
    assert_refused(&outcome, Refusal { code: 2, file: "", field: "--out", words: &["required"] });
}

#[test]
fn no_workers_at_all_are_refused() {
    let outcome = folder().muster(&["train", "job.toml", "--dataset", "prepared", "--workers", "0"]);
    assert_refused(
        &outcome,
        Refusal { code: 2, file: "", field: "--workers", words: &["0 is not in 1..=1024"] },
    );
}

#[test]
fn a_device_that_does_not_exist_is_refused_with_those_that_do() {
    let outcome = folder().muster(&["train", "job.toml", "--dataset", "prepared", "--device", "tpu"]);
    assert_refused(&outcome, Refusal { code: 2, file: "", field: "--device", words: &["tpu", "cpu"] });
}

#[test]
fn more_users_than_an_id_has_bits_for_are_refused() {
    let folder = folder();
    let outcome = folder.muster(&["generate", "--users", "5000000000", "--out", "big.csv"]);
    assert_refused(&outcome, Refusal { code: 2, file: "", field: "--users", words: &["5000000000"] });
    assert!(!folder.at("big.csv").exists());
}

#[test]
fn a_generated_log_that_cannot_be_written_is_not_left_half() {
    let folder = folder();
    let outcome = folder.muster_on_full_disk(16, &["generate", "--events", "100000", "--out", "big.csv"]);
    assert_refused(
        &outcome,
        Refusal { code: 1, file: "big.csv", field: "", words: &["big.csv", "file too large"] },
    );
    assert!(!folder.at("big.csv").exists(), "half a log looks like a whole one");
}

#[test]
fn a_log_in_a_folder_that_is_not_there_is_refused() {
    let outcome = folder().muster(&["generate", "--out", "nowhere/log.csv"]);
    assert_refused(
        &outcome,
        Refusal { code: 1, file: "nowhere/log.csv", field: "", words: &["no such file"] },
    );
}

#[test]
fn workers_below_zero_are_refused_as_a_number() {
    let outcome = folder().muster(&["train", "job.toml", "--dataset", "prepared", "--workers", "-3"]);
    assert_refused(&outcome, Refusal { code: 2, file: "", field: "--workers", words: &["-3"] });
}

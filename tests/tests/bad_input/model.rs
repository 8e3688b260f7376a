//! Models, users and runs that are not what they say they are.

use std::fs;
use std::path::PathBuf;

use muster_tests::folder::Folder;
use muster_tests::refusal::{Refusal, assert_refused};

use crate::{folder, prepared};

/// A folder with a trained run in `run`.
fn trained() -> Folder {
    let folder = prepared();
    folder.result(&["train", "job.toml", "--dataset", "prepared", "--out", "run"]);
    folder
}

/// The folder of the run's one checkpoint.
fn checkpoint(folder: &Folder) -> PathBuf {
    let mut checkpoints: Vec<PathBuf> =
        fs::read_dir(folder.at("run/checkpoints")).unwrap().flatten().map(|entry| entry.path()).collect();
    checkpoints.sort();
    checkpoints.pop().unwrap()
}

/// The first file with pieces of a checkpoint.
fn piece_file(folder: &Folder) -> PathBuf {
    let files = fs::read_dir(checkpoint(folder)).unwrap().flatten().map(|entry| entry.path());
    let mut pieces: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|ext| ext == "safetensors")).collect();
    pieces.sort();
    pieces.swap_remove(0)
}

fn flip_a_bit(path: &PathBuf) {
    let mut bytes = fs::read(path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_model_that_is_not_there_is_named() {
    let outcome = prepared().muster(&["evaluate", "nowhere", "--dataset", "prepared"]);
    assert_refused(&outcome, Refusal { code: 2, file: "nowhere", field: "", words: &["nowhere"] });
}

#[test]
fn a_folder_that_is_no_run_is_no_model() {
    let folder = folder();
    fs::create_dir(folder.at("empty")).unwrap();
    let outcome = folder.muster(&["recommend", "empty", "--user", "u1"]);
    assert_refused(&outcome, Refusal { code: 2, file: "empty", field: "", words: &["checkpoint"] });
}

#[test]
fn a_checkpoint_without_its_manifest_does_not_exist() {
    let folder = trained();
    fs::remove_file(checkpoint(&folder).join("manifest.json")).unwrap();
    let outcome = folder.muster(&["evaluate", "run", "--dataset", "prepared"]);
    assert_refused(&outcome, Refusal { code: 2, file: "run", field: "", words: &["checkpoint"] });
}

#[test]
fn a_piece_with_a_flipped_bit_is_refused_by_its_digest() {
    let folder = trained();
    let piece = piece_file(&folder);
    flip_a_bit(&piece);
    let outcome = folder.muster(&["evaluate", "run", "--dataset", "prepared"]);
    let name = piece.file_name().unwrap().to_string_lossy().into_owned();
    assert_refused(&outcome, Refusal { code: 1, file: &name, field: "", words: &["digest", &name] });
}

#[test]
fn a_piece_that_is_missing_is_named() {
    let folder = trained();
    let piece = piece_file(&folder);
    fs::remove_file(&piece).unwrap();
    let outcome = folder.muster(&["evaluate", "run", "--dataset", "prepared"]);
    let name = piece.file_name().unwrap().to_string_lossy().into_owned();
    assert_refused(&outcome, Refusal { code: 1, file: &name, field: "", words: &[&name] });
}

#[test]
fn a_model_over_another_dataset_is_refused() {
    let folder = trained();
    folder.result(&["prepare", "dataset.toml", "--out", "other", "--set", "cleaning.duplicates=repeats"]);
    let outcome = folder.muster(&["evaluate", "run", "--dataset", "other"]);
    assert_refused(&outcome, Refusal { code: 2, file: "other", field: "--dataset", words: &["dataset"] });
}

#[test]
fn a_user_that_the_dataset_does_not_know_is_refused() {
    let outcome = trained().muster(&["recommend", "run", "--dataset", "prepared", "--user", "nobody"]);
    assert_refused(&outcome, Refusal { code: 2, file: "", field: "--user", words: &["nobody"] });
}

#[test]
fn a_run_that_holds_verifies_and_one_with_a_flipped_bit_does_not() {
    let folder = trained();
    assert_eq!(folder.result(&["verify", "run"])["ok"], true);
    flip_a_bit(&piece_file(&folder));
    let outcome = folder.muster(&["verify", "run"]);
    assert_eq!(outcome.code, Some(1), "{outcome:#?}");
    let report = outcome.json();
    assert_eq!(report["ok"], false);
    assert!(report["problems"].to_string().contains("digest"), "{report}");
}

#[test]
fn a_run_that_is_not_there_cannot_be_verified() {
    let outcome = folder().muster(&["verify", "nowhere"]);
    assert_refused(&outcome, Refusal { code: 2, file: "nowhere", field: "", words: &["nowhere"] });
}

#[test]
fn a_dataset_that_is_not_there_has_no_statistics() {
    let outcome = folder().muster(&["data", "stats", "nowhere"]);
    assert_refused(
        &outcome,
        Refusal { code: 2, file: "nowhere/manifest.json", field: "", words: &["muster prepare"] },
    );
}

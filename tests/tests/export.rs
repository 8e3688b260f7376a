//! `muster models export`: a version as one folder, opened where nothing else of it is left.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use muster_cli::export::{self, Asked};
use muster_core::retrain::registry::Version;
use muster_tests::folder::Folder;
use muster_tests::refusal::{Refusal, assert_refused};
use muster_tests::small;
use serde_json::{Value, json};

/// The program under test.
const MUSTER: &str = env!("CARGO_BIN_EXE_muster-under-test");

/// A folder with a run `first` of the small log.
fn trained() -> Folder {
    let folder = small::prepared(MUSTER);
    folder.result(&["train", "job.toml", "--dataset", "prepared", "--out", "first", "--threads", "1"]);
    folder
}

/// A checkpoint of the folder as the registry knows it.
fn version(folder: &Folder, checkpoint: &Path) -> Version {
    let manifest: Value =
        serde_json::from_str(&fs::read_to_string(checkpoint.join("manifest.json")).unwrap()).unwrap();
    let dataset = folder.at("prepared");
    let version = json!({
        "number": 3, "created": "2026-11-28T02:11:00Z",
        "model": {
            "model_digest": manifest["model_digest"], "checkpoint": checkpoint, "checkpoint_digest": "", "bytes": 1,
            "dataset": dataset, "folder": folder.path(),
            "lineage": {
                "job": manifest["job"], "dataset": manifest["dataset"], "code": "0.1.0", "numerics": manifest["numerics"], "seed": 7,
            },
            "metrics": {"NDCG@10": 0.25}, "cost": {"cpu_seconds": 1.0, "worker_seconds": 1.0, "wall": {"secs": 1, "nanos": 0}},
        },
    });
    serde_json::from_value(version).unwrap()
}

/// The checkpoints of the run that a test of their manifest holds for.
fn checkpoints(folder: &Folder, holds: impl Fn(&Value) -> bool) -> Vec<PathBuf> {
    let all = fs::read_dir(folder.at("first/checkpoints")).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> = all
        .filter(|path| {
            let manifest = fs::read_to_string(path.join("manifest.json")).unwrap();
            holds(&serde_json::from_str(&manifest).unwrap())
        })
        .collect();
    found.sort();
    found
}

/// Exports the run's checkpoint to `exported` and takes everything else away.
fn exported(folder: &Folder, with_histories: bool) -> Value {
    let checkpoint = checkpoints(folder, |_| true).pop().unwrap();
    let version = version(folder, &checkpoint);
    let asked = Asked { model: "shop", version: &version, with_histories };
    let report = export::write(&asked, &folder.at("exported")).unwrap();
    for gone in ["first", "prepared", "log.csv", "dataset.toml", "job.toml"] {
        fs::rename(folder.at(gone), folder.at(&format!("{gone}-away"))).unwrap();
    }
    muster_cli::output::Report::json(&report)
}

/// The items of a user of the small log, the oldest first.
fn history(user: &str) -> String {
    let log = small::log();
    let of_user = log.lines().filter_map(|line| line.strip_prefix(&format!("{user},"))?.split(',').next());
    of_user.collect::<Vec<_>>().join(",")
}

#[test]
fn a_model_without_its_logs_recommends_to_a_history_what_it_recommended_to_the_user_with_it() {
    let folder = trained();
    let before = folder.result(&["recommend", "first", "--user", "u3", "-k", "4"]);
    exported(&folder, false);
    let after = folder.result(&["recommend", "exported", "--history", &history("u3"), "-k", "4"]);
    assert_eq!(after["recommendations"], before["recommendations"]);
    assert!(!before["recommendations"].as_array().unwrap().is_empty());
    let strange = format!("nobody-sold-this,{}", history("u3"));
    let with_strange = folder.result(&["recommend", "exported", "--history", &strange, "-k", "4"]);
    assert_eq!(with_strange["recommendations"], before["recommendations"]);
    assert_eq!(with_strange["unknown"], json!(["nobody-sold-this"]));
    let refused = |args: &[&str], words: &[&str]| {
        let code = 2;
        assert_refused(&folder.muster(args), Refusal { code, file: "", field: "", words });
    };
    refused(&["recommend", "exported", "--user", "u3"], &["without the histories", "--history"]);
    refused(&["evaluate", "exported"], &["without the histories", "--dataset"]);
    refused(&["recommend", "exported", "--history", "nobody-sold-this"], &["no item of the history"]);
}

#[test]
fn a_model_with_its_histories_is_evaluated_elsewhere_as_at_home() {
    let folder = trained();
    let before = (
        folder.result(&["evaluate", "first"]),
        folder.result(&["recommend", "first", "--user", "u3", "-k", "4"]),
    );
    exported(&folder, true);
    let after = (
        folder.result(&["evaluate", "exported"]),
        folder.result(&["recommend", "exported", "--user", "u3", "-k", "4"]),
    );
    assert_eq!(before, after);
}

/// Reads the folder with what every Python has: sizes, the header of each safetensors file, and a row for each item.
const READER: &str = r#"
import json, math, os, struct, sys
root = sys.argv[1]
listing = json.load(open(os.path.join(root, "export.json")))
for name, file in listing["files"].items():
    assert os.path.getsize(os.path.join(root, name)) == file["bytes"], name
vocabulary = json.load(open(os.path.join(root, "vocabulary.json")))
manifest = json.load(open(os.path.join(root, "model", "manifest.json")))
tables = {table["name"]: table for table in manifest["tables"]}
rows = {}
for piece, entry in manifest["pieces"].items():
    with open(os.path.join(root, "model", entry["file"]), "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        data = file.read()
    header.pop("__metadata__", None)
    if not piece.startswith("table/item/"):
        continue
    block = int(piece.rsplit("/", 1)[1])
    tensor = header["weight"]
    assert tensor["dtype"] == "F32", tensor
    count, dim = tensor["shape"]
    begin, end = tensor["data_offsets"]
    values = struct.unpack("<%df" % (count * dim), data[begin:end])
    for local in range(count):
        rows[local * tables["item"]["row_blocks"] + block] = values[local * dim:(local + 1) * dim]
assert sorted(rows) == list(range(len(vocabulary["items"]))), sorted(rows)
assert all(math.isfinite(value) for row in rows.values() for value in row)
report = json.load(open(os.path.join(root, "report.json")))
print(json.dumps({
    "items": vocabulary["items"],
    "first_row": rows[vocabulary["items"].index("i3")],
    "ndcg": report["version"]["model"]["metrics"]["NDCG@10"],
    "digest": manifest["model_digest"] == listing["model_digest"],
}))
"#;

#[test]
fn another_program_reads_items_rows_and_report_without_knowing_this_one() {
    let folder = trained();
    folder.write("evidence.json", "{\"users\":[]}");
    let report = exported(&folder, false);
    assert!(report["export"]["files"].get("evidence.json").is_some(), "{report}");
    let output = Command::new("python3").args(["-c", READER]).arg(folder.at("exported")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut items: Vec<&str> =
        read["items"].as_array().unwrap().iter().map(|item| item.as_str().unwrap()).collect();
    items.sort_unstable();
    assert_eq!(items, ["i0", "i1", "i2", "i3", "i4", "i5", "i6", "i7"]);
    assert_eq!(read["first_row"].as_array().unwrap().len(), 8);
    assert_eq!((&read["ndcg"], &read["digest"]), (&json!(0.25), &json!(true)));
}

/// A job that touches few rows between two checkpoints.
const WIDE_JOB: &str = "name = \"wide\"\n[batch]\nsequences = 4\nmicro_batches = 4\nmax_len = 4\n[model]\n\
    embedding_dim = 8\nhidden_size = 8\n[model.head.sampled_softmax]\nnegatives = 4\n[table_optimizer]\n\
    kind = \"lazy_adam\"\nlr = 0.01\n[training]\nmax_steps = 8\n[checkpoint]\nevery_steps = 2\nkeep = 10\n";

#[test]
fn an_increment_is_exported_as_the_whole_model_that_it_stands_for() {
    let folder = small::generated(MUSTER, [40, 400, 800], 4, WIDE_JOB);
    folder.result(&["train", "job.toml", "--dataset", "prepared", "--out", "first", "--threads", "1"]);
    let increments = checkpoints(&folder, |manifest| manifest["base"].is_object());
    let checkpoint = increments.last().expect("a run with these settings writes increments");
    let version = version(&folder, checkpoint);
    let asked = Asked { model: "shop", version: &version, with_histories: true };
    export::write(&asked, &folder.at("exported")).unwrap();
    let manifest: Value =
        serde_json::from_str(&fs::read_to_string(folder.at("exported/model/manifest.json")).unwrap())
            .unwrap();
    assert_eq!(manifest["model_digest"], json!(version.model.model_digest));
    assert!(manifest.get("base").is_none(), "{manifest}");
    let one = folder.result(&["evaluate", checkpoint.to_str().unwrap(), "--dataset", "prepared"]);
    assert_eq!(one, folder.result(&["evaluate", "exported"]));
}

#[test]
fn what_cannot_be_exported_whole_leaves_nothing() {
    let folder = trained();
    let checkpoint = checkpoints(&folder, |_| true).pop().unwrap();
    let version = version(&folder, &checkpoint);
    let out = folder.at("exported");
    let refused = |version: &Version, with_histories: bool| {
        let asked = Asked { model: "shop", version, with_histories };
        let error = export::write(&asked, &out).unwrap_err();
        let left = fs::read_dir(folder.path())
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("exported."));
        assert_eq!(left.count(), 0, "a part was left");
        error
    };
    let mut other = version.clone();
    other.model.model_digest = "another".into();
    let error = refused(&other, false);
    assert!(error.message.contains("any more") && error.kind.exit_code() == 1, "{}", error.message);
    let partition = fs::read_dir(folder.at("prepared")).unwrap().map(|entry| entry.unwrap().path());
    let partition =
        partition.filter(|path| path.file_name().unwrap().to_string_lossy().contains("part")).max().unwrap();
    let kept = fs::read(&partition).unwrap();
    fs::write(&partition, &kept[1..]).unwrap();
    let error = refused(&version, true);
    assert!(error.message.contains("damaged"), "{}", error.message);
    fs::write(&partition, kept).unwrap();
    fs::create_dir(&out).unwrap();
    let error = refused(&version, false);
    assert!(error.message.contains("is there already") && error.kind.exit_code() == 2, "{}", error.message);
    fs::remove_dir(&out).unwrap();
    let piece = checkpoint.join("dense.safetensors");
    fs::write(&piece, &fs::read(&piece).unwrap()[1..]).unwrap();
    let error = refused(&version, false);
    assert!(error.message.contains("dense") && !out.exists(), "{}", error.message);
}

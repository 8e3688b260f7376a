//! Logs in an object store: the dataset is that of the same files on a disk, whatever the store does on the way.

use std::fs;

use muster_tests::folder::Folder;
use muster_tests::refusal::{Refusal, assert_refused};
use serde_json::Value;

use crate::MUSTER;
use crate::server::Server;

const COLUMNS: &str = "[columns]\nuser = \"user\"\nitem = \"item\"\ntime = \"timestamp\"\n";

/// A folder with generated logs in `logs/`: `events` rows of `format`, in files of which two are compressed.
fn with_logs(events: u32) -> Folder {
    let folder = Folder::new(MUSTER);
    for (seed, name) in ["day-1.csv", "day-2.csv", "day-3.csv"].into_iter().enumerate() {
        let (seed, events) = (seed.to_string(), events.to_string());
        let size = ["--users", "2000", "--items", "500", "--events", &events, "--seed", &seed];
        folder.result(&[&["generate"], &size[..], &["--out", name]].concat());
    }
    let read = |name: &str| fs::read(folder.at(name)).unwrap();
    folder.write("logs/day-1.csv", read("day-1.csv"));
    folder.write("logs/2026/day-2.csv.zst", zstd::encode_all(read("day-2.csv").as_slice(), 1).unwrap());
    folder.write("logs/2026/day-3.csv", read("day-3.csv"));
    folder.write("logs/_unfinished.csv", "no,header\n");
    folder.write("dataset.toml", spec("logs", "csv"));
    folder
}

const OBJECTS: [&str; 4] =
    ["logs/day-1.csv", "logs/2026/day-2.csv.zst", "logs/2026/day-3.csv", "logs/_unfinished.csv"];

fn spec(input: &str, format: &str) -> String {
    format!("name = \"log\"\ninput = \"{input}\"\nformat = \"{format}\"\npartitions = 8\n{COLUMNS}")
}

fn prepare(server: &Server, folder: &Folder, input: &str) -> Value {
    prepare_with(server, folder, input, &[])
}

fn prepare_with(server: &Server, folder: &Folder, input: &str, more: &[&str]) -> Value {
    let set = format!("input={input}");
    let args = [&["prepare", "dataset.toml", "--set", &set, "--out", "there"], more].concat();
    server.run(folder, &args).expect_success().json()
}

#[test]
fn a_slow_store_that_fails_every_fifth_call_gives_the_dataset_of_local_files() {
    let Some(server) = Server::start_with("lake", 5, &["slow", "cut"]) else { return };
    // The first file has several parts, so that calls fail in its midst.
    let folder = with_logs(120_000);
    let large: String = {
        let text = fs::read_to_string(folder.at("logs/day-1.csv")).unwrap();
        let (header, rows) = text.split_once('\n').unwrap();
        format!("{header}\n{}", rows.repeat((18 << 20) / rows.len() + 1))
    };
    folder.write("logs/day-1.csv", &large);
    for object in OBJECTS {
        server.put(object, &fs::read(folder.at(object)).unwrap());
    }
    let here = folder.result(&["prepare", "dataset.toml", "--out", "here"]);
    assert!(here["rows_in"].as_u64().unwrap() > 600_000, "{here}");
    for input in ["s3://lake/logs", "s3://lake/logs/", "s3://lake/logs/**"] {
        let there = prepare(&server, &folder, input);
        for key in ["rows_in", "rows_out", "dropped", "digest"] {
            assert_eq!(there[key], here[key], "{input}: {key}");
        }
    }
    let spread = prepare_with(&server, &folder, "s3://lake/logs", &["--workers", "2", "--threads", "1"]);
    assert_eq!((&spread["digest"], &spread["dropped"]), (&here["digest"], &here["dropped"]));
    let one = folder.result(&["prepare", "dataset.toml", "--set", "input=logs/2026/*.csv", "--out", "one"]);
    assert_eq!(prepare(&server, &folder, "s3://lake/logs/2026/*.csv")["digest"], one["digest"]);
    assert_eq!(prepare(&server, &folder, "s3://lake/logs/2026/day-3.csv")["digest"], one["digest"]);
}

#[test]
fn parquet_is_read_by_ranges_to_the_same_dataset() {
    let Some(server) = Server::start_with("lake", 5, &["slow", "cut"]) else { return };
    let folder = Folder::new(MUSTER);
    folder.result(&["generate", "--kind", "series", "--sequences", "256", "--out", "log.parquet"]);
    let columns = "[columns]\nuser = \"series\"\ntime = \"step\"\ntime_format = \"millis\"\nnumeric = [\"x*\"]\ntarget = \"y\"\n";
    let head =
        "name = \"log\"\nkind = \"series\"\ninput = \"log.parquet\"\nformat = \"parquet\"\npartitions = 4\n";
    folder.write("dataset.toml", format!("{head}{columns}[split]\nkind = \"holdout\"\n"));
    let bytes = fs::read(folder.at("log.parquet")).unwrap();
    assert!(bytes.len() > 4 << 20, "{} bytes are a block or two", bytes.len());
    server.put("log.parquet", &bytes);
    let here = folder.result(&["prepare", "dataset.toml", "--out", "here"]);
    assert_eq!(prepare(&server, &folder, "s3://lake/log.parquet")["digest"], here["digest"]);
    let spread = prepare_with(&server, &folder, "s3://lake/log.parquet", &["--workers", "2"]);
    assert_eq!(spread["digest"], here["digest"]);
}

#[test]
fn rows_and_objects_that_are_refused_are_named_by_their_url() {
    let Some(server) = Server::start_with("lake", 0, &["changes"]) else { return };
    let folder = Folder::new(MUSTER);
    let rows: String = (0..200).map(|row| format!("u{},i{},{row}\n", row % 9, row % 5)).collect();
    let good = format!("user,item,timestamp\n{rows}");
    server.put("logs/a.csv", format!("{good}u1,i1,soon\n").as_bytes());
    server.put("logs/b.csv.gz", &good.as_bytes()[..20]);
    // Whatever was read of the first version is taken back.
    server.put("logs/changes.csv", format!("{good}{}", "u7,i7,7\n".repeat((10 << 20) / 8)).as_bytes());
    folder.write("dataset.toml", spec("s3://lake/logs/*", "csv"));
    let drop = ["--set", "cleaning.on_invalid=drop"];
    let args = [&["prepare", "dataset.toml", "--out", "there"], &drop[..]].concat();
    let prepared = server.run(&folder, &args).expect_success().json();
    assert_eq!(
        (&prepared["rows_in"], &prepared["dropped"]["invalid"]),
        (&201.into(), &1.into()),
        "{prepared}"
    );
    let left_out = prepared["left_out"].as_array().unwrap();
    let why = |idx: usize| (left_out[idx]["file"].as_str().unwrap(), left_out[idx]["why"].as_str().unwrap());
    assert_eq!(left_out.len(), 2, "{prepared}");
    assert_eq!(why(0).0, "s3://lake/logs/b.csv.gz");
    assert!(
        why(1).0 == "s3://lake/logs/changes.csv" && why(1).1.contains("changed while it was read"),
        "{prepared}"
    );
    let quarantine = fs::read_to_string(folder.at("there/quarantine.jsonl")).unwrap();
    let expected = "\"file\":\"s3://lake/logs/a.csv\",\"line\":202,";
    assert!(quarantine.contains(expected), "{quarantine}");
}

#[test]
fn a_log_grows_by_the_objects_that_are_new() {
    let Some(server) = Server::start_with("lake", 5, &["slow", "cut"]) else { return };
    let folder = with_logs(5_000);
    let put = |object: &str| server.put(object, &fs::read(folder.at(object)).unwrap());
    let add = |input: &str| {
        let set = format!("input={input}");
        server.run(&folder, &["prepare", "dataset.toml", "--set", &set, "--into", "base"])
    };
    let added = |input: &str| add(input).expect_success().json();
    put(OBJECTS[1]);
    let first = added("s3://lake/logs");
    assert_eq!((&first["files"], &first["known"]), (&1.into(), &0.into()), "{first}");
    put(OBJECTS[0]);
    put(OBJECTS[2]);
    put(OBJECTS[3]);
    let second = added("s3://lake/logs");
    assert_eq!((&second["files"], &second["known"]), (&2.into(), &1.into()), "{second}");
    let none = added("s3://lake/logs/day-1.csv");
    assert_eq!((&none["files"], &none["known"]), (&0.into(), &1.into()), "{none}");
    let cut = folder.result(&["prepare", "dataset.toml", "--from", "base", "--out", "cut"]);
    // One-shot preparation in the order in which the base had them.
    let inputs = "input=[\"logs/2026/day-2.csv.zst\", \"logs/2026/day-3.csv\", \"logs/day-1.csv\"]";
    let whole = folder.result(&["prepare", "dataset.toml", "--set", inputs, "--out", "whole"]);
    assert_eq!(cut["digest"], whole["digest"]);
    server.put(OBJECTS[0], b"user,item,timestamp\nu1,i1,1\n");
    let refusal = Refusal { code: 2, file: OBJECTS[0], field: "", words: &["28 bytes"] };
    assert_refused(&add("s3://lake/logs"), refusal);
}

#[test]
fn what_is_not_in_the_store_is_bad_input() {
    let Some(server) = Server::start("lake", 0) else { return };
    let folder = Folder::new(MUSTER);
    for (input, word) in [
        ("s3://lake/nothing", "does not exist"),
        ("s3://lake/*.csv", "stands for no file"),
        ("s3://other/log.csv", "s3://other/log.csv"),
        ("s3:///log.csv", "names no bucket"),
    ] {
        folder.write("dataset.toml", spec(input, "csv"));
        let refused = server.run(&folder, &["prepare", "dataset.toml", "--out", "there"]);
        assert_refused(&refused, Refusal { code: 2, file: input, field: "", words: &[word] });
    }
}

//! `muster prepare` spread over workers, as real processes: the same bytes from any number of them, whatever happens to them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod cluster;

use std::path::Path;

use cluster::Cluster;
use muster_tests::folder::Folder;
use muster_tests::process::{Running, is_running, signal, wait_for};
use serde_json::Value;

const MUSTER: &str = env!("CARGO_BIN_EXE_muster-under-test");

/// Rules and columns for which every pass is made.
const RULES: [&str; 8] = [
    "--set",
    "cleaning.min_user_events=5",
    "--set",
    "cleaning.min_item_events=4",
    "--set",
    "split.kind=\"time\"",
    "--set",
    "features.derive=[\"hour\", \"item_buys\", \"price_bucket\"]",
];

/// A folder with the log of a shop, `log/dataset.toml`, with dirt in it.
fn shop(events: u32) -> Folder {
    let folder = Folder::new(MUSTER);
    let events = events.to_string();
    let size = ["--events", &events, "--users", "3000", "--items", "900"];
    let dirt = ["--set", "files=2", "--set", "dirt.rate=0.1"];
    folder.result(&[&["generate", "--kind", "shop", "--out", "log"], &size[..], &dirt[..]].concat());
    folder
}

fn args<'a>(out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["prepare", "log/dataset.toml", "--out", out], &RULES[..], more].concat()
}

/// The names and bytes of a dataset's files.
fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(dir).unwrap().map(Result::unwrap);
    let mut files: Vec<(String, Vec<u8>)> = entries
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), std::fs::read(entry.path()).unwrap()))
        .collect();
    files.sort();
    files
}

/// What one process makes of the log, and its files.
fn whole(folder: &Folder) -> (Value, Vec<(String, Vec<u8>)>) {
    let mut result = folder.result(&args("whole", &[]));
    result["dataset"].take();
    result["quarantine"].take();
    (result, files(&folder.at("whole")))
}

fn assert_whole(folder: &Folder, out: &str, mut result: Value, whole: &(Value, Vec<(String, Vec<u8>)>)) {
    result["dataset"].take();
    result["quarantine"].take();
    assert_eq!(result, whole.0, "{out}");
    assert!(files(&folder.at(out)) == whole.1, "{out}: the files differ");
}

#[test]
fn one_process_one_worker_and_three_make_the_same_dataset() {
    let folder = shop(30_000);
    let whole = whole(&folder);
    assert!(whole.1.iter().any(|(name, _)| name == "quarantine.jsonl"));
    for workers in ["1", "3"] {
        let result = folder.result(&args(workers, &["--workers", workers, "--threads", "1"]));
        assert_whole(&folder, workers, result, &whole);
    }
    let cluster = Cluster::start(&folder, 3);
    let result = folder.result(&args("cluster", &["--coordinator", &cluster.url]));
    assert_whole(&folder, "cluster", result, &whole);
    // Nothing is left of the work, neither in the folder nor at the workers.
    let names = files_and_folders(folder.path());
    assert!(names.iter().all(|name| !name.starts_with(".preparing")), "{names:?}");
    wait_for("the workers to be idle", || (cluster.busy().is_empty()).then_some(()));
}

fn files_and_folders(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap().map(Result::unwrap);
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn workers_that_are_killed_or_fall_silent_on_the_way_leave_no_trace() {
    let folder = shop(60_000);
    let whole = whole(&folder);
    let cluster = Cluster::start(&folder, 4);
    let mut command = folder.command(&args("out", &["--coordinator", &cluster.url]));
    let preparing = Running::start(&mut command);
    for _ in 0..2 {
        let worker = wait_for("a worker to have a task", || cluster.busy().first().copied());
        assert!(is_running(preparing.id()), "the work was over before anybody was killed");
        signal("KILL", worker);
        wait_for("the worker to be lost", || (!cluster.known().contains(&worker)).then_some(()));
    }
    // One that is stopped counts as lost, and goes on later with what was given to another meanwhile.
    let silent = wait_for("a worker to have a task", || cluster.busy().first().copied());
    signal("STOP", silent);
    wait_for("the silent worker to be lost", || (!cluster.known().contains(&silent)).then_some(()));
    signal("CONT", silent);
    let (code, text) = preparing.end();
    assert_eq!(code, Some(0), "{text}");
    assert_whole(&folder, "out", serde_json::from_str(&text).unwrap(), &whole);
}

#[test]
fn a_command_that_is_killed_leaves_no_dataset_and_its_workers_to_the_next() {
    let folder = shop(30_000);
    let whole = whole(&folder);
    let cluster = Cluster::start(&folder, 2);
    let preparing = Running::start(&mut folder.command(&args("out", &["--coordinator", &cluster.url])));
    wait_for("a worker to have a task", || cluster.busy().first().copied());
    signal("KILL", preparing.id());
    assert_eq!(preparing.end().0, None);
    assert!(!folder.at("out").exists());
    let result = folder.result(&args("out", &["--coordinator", &cluster.url]));
    assert_whole(&folder, "out", result, &whole);
}

#[test]
fn a_coordinator_that_is_killed_on_the_way_is_followed_by_one_that_knows_the_tasks() {
    let folder = shop(60_000);
    let whole = whole(&folder);
    let mut cluster = Cluster::start(&folder, 2);
    let preparing = Running::start(&mut folder.command(&args("out", &["--coordinator", &cluster.url])));
    for _ in 0..2 {
        wait_for("a worker to have a task", || cluster.busy().first().copied());
        assert!(is_running(preparing.id()), "the work was over before the coordinator was killed");
        cluster.replace_coordinator();
    }
    let (code, text) = preparing.end();
    assert_eq!(code, Some(0), "{text}");
    assert_whole(&folder, "out", serde_json::from_str(&text).unwrap(), &whole);
}

#[test]
fn what_is_wrong_with_the_input_is_said_as_one_process_says_it() {
    let folder = Folder::new(MUSTER);
    let rows: String = (0..120_000).map(|row| format!("u{},i{},{row}\n", row % 97, row % 31)).collect();
    folder.write("good.csv", format!("user,item,time\n{rows}"));
    folder.write("bad.csv", format!("user,item,time\n{}", rows.replace("u5,i9,", "u5,i9,yesterday")));
    folder.write("other.csv", "user,thing,time\n1,a,1\n");
    let spec = "name = \"log\"\ninput = [\"good.csv\"]\nformat = \"csv\"\npartitions = 4\n[columns]\nuser = \"user\"\n\
                item = \"item\"\ntime = \"time\"\n[cleaning]\nstrict = true\n";
    folder.write("dataset.toml", spec);
    let cluster = Cluster::start(&folder, 2);
    for sets in [
        &["input=[\"good.csv\", \"bad.csv\"]"][..],
        &["input=[\"other.csv\", \"good.csv\"]"],
        &["input=[\"good.csv\", \"gone.csv\"]"],
        &["cleaning.max_items=30"],
        &["cleaning.min_user_events=1000000"],
        &["split.kind=\"time\"", "split.valid_from=\"1960-01-01\"", "split.test_from=\"1960-01-02\""],
    ] {
        let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
        let args = |more: &[&'static str]| {
            [&["prepare", "dataset.toml", "--out", "out"][..], &sets[..], more].concat()
        };
        let alone = folder.muster(&args(&[]));
        assert_eq!(alone.code, Some(2), "{alone:?}");
        let mut over = args(&["--coordinator"]);
        over.push(&cluster.url);
        let over = folder.muster(&over);
        assert_eq!((over.code, over.json()), (alone.code, alone.json()), "{sets:?}");
    }
    assert_eq!(files_and_folders(folder.path()).len(), 5, "{:?}", files_and_folders(folder.path()));
}

#[test]
fn without_anybody_who_answers_nothing_is_begun() {
    let folder = shop(2_000);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}");
    let outcome = folder.muster(&args("out", &["--coordinator", &url]));
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    assert_eq!(outcome.json()["error"]["field"], "--coordinator");
    assert!(outcome.json()["error"]["message"].as_str().unwrap().contains(&url));
    assert_eq!(files_and_folders(folder.path()), ["log"]);
}

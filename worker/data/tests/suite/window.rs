//! Windows of a growing log, which increments count, and which files they are of.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use muster_data::prepare::{AddArgs, Cut, CutArgs, Error, Window, add, contents, cut};
use muster_proto::config;
use muster_proto::dataset::DatasetSpec;
use serde_json::Value;

use crate::fixture::{CSV, Folder};
use crate::growing::{Log, dataset_files};

fn cut_of(
    log: &Log,
    out: &str,
    (window, increments): (Window, Option<u64>),
    sets: &[&str],
) -> Result<Cut, Error> {
    let (spec, base, store, out) = (log.spec(sets), log.dir(), log.path("store"), log.path(out));
    cut(&CutArgs {
        spec: &spec,
        base: &base,
        store: &store,
        parent: None,
        out: &out,
        threads: 2,
        variables: &|_| None,
        window,
        increments,
        pulse: &|| true,
    })
}

/// The records of a text in CSV with the lines that they begin in; a quote that nobody closes makes one of many lines.
fn records(text: &[u8]) -> Vec<(u64, &[u8])> {
    let (mut reader, mut rest, mut records) = (csv_core::Reader::new(), text, Vec::new());
    let (mut output, mut ends) = (vec![0; text.len() + 1], vec![0; text.len() + 1]);
    while !rest.is_empty() {
        let (begin, mut taken) = (text.len() - rest.len(), 0);
        loop {
            let (result, read, ..) = reader.read_record(&rest[taken..], &mut output, &mut ends);
            taken += read;
            if matches!(result, csv_core::ReadRecordResult::Record | csv_core::ReadRecordResult::End) {
                break;
            }
        }
        let record = &rest[..taken];
        let blank = record.iter().take_while(|byte| matches!(byte, b'\n' | b'\r')).count();
        let before = &text[..begin + blank];
        records.push((before.iter().filter(|byte| **byte == b'\n').count() as u64 + 1, record));
        rest = &rest[taken..];
    }
    records
}

/// Writes the first files of the log again into `log` of another folder, without the rows that are no others than events outside
/// the window; those that a rule rejects have no time that anybody could go by.
fn without_others(log: &Log, window: Window, files: usize) -> (tempfile::TempDir, u64) {
    let quarantine = fs::read_to_string(log.path("whole/quarantine.jsonl")).unwrap();
    let rejected: BTreeSet<(String, u64)> = quarantine
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter_map(|row| Some((row["file"].as_str()?.to_owned(), row["line"].as_u64()?)))
        .collect();
    let (folder, outside) = (tempfile::tempdir().unwrap(), Cell::new(0));
    for file in 0..files {
        let name = format!("events-0000{file}.csv");
        let text = fs::read(log.dir().join(&name)).unwrap();
        let stays = |(line, record): &(u64, &[u8])| {
            let is_rejected = rejected.contains(&(name.clone(), *line));
            let record = String::from_utf8_lossy(record);
            let time = || record.split(',').nth(3).and_then(|time| time.parse().ok());
            let stays = *line == 1 || is_rejected || time().is_some_and(|time| window.holds(time));
            outside.set(outside.get() + u64::from(!stays));
            stays
        };
        let kept: Vec<u8> =
            records(&text).into_iter().filter(stays).flat_map(|(_, record)| record.to_vec()).collect();
        fs::write(folder.path().join(&name), kept).unwrap();
    }
    for entry in fs::read_dir(log.dir()).unwrap().map(Result::unwrap) {
        if !entry.file_name().to_string_lossy().starts_with("events-") {
            fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
        }
    }
    (folder, outside.get())
}

#[test]
fn a_cut_of_a_window_is_the_dataset_of_files_without_all_other_rows() {
    let log = Log::new();
    let (first, last) = log.one_shot("whole", &[]).time_range.unwrap();
    (0..5).for_each(|file| drop(log.add("store", file)));
    let at = |share: f64| Some(first + ((last - first) as f64 * share) as i64);
    let windows = [
        (at(0.3), at(0.7), None),
        (at(0.0), at(0.5), Some(4)),
        (at(0.55), at(0.8), Some(5)),
        (None, at(0.25), Some(2)),
        (at(0.6), None, None),
        // The end is not in it, and the last event is.
        (None, Some(last), None),
        (None, Some(last + 1), None),
    ];
    let rules = ["split.kind=\"time\"", "split.valid=0.1", "split.test=0.1"];
    for (number, (from, until, increments)) in windows.into_iter().enumerate() {
        let window = Window { from, until };
        let sets = if number % 2 == 0 { &rules[..] } else { &[] };
        let found = cut_of(&log, "cut", (window, increments), sets).unwrap();
        let (files, outside) = without_others(&log, window, increments.unwrap_or(5) as usize);
        let (spec, out) = (log.spec(sets), log.path("plain"));
        let args = muster_data::PrepareArgs {
            spec: &spec,
            base: files.path(),
            out: &out,
            threads: 1,
            variables: &|_| None,
        };
        let plain = muster_data::prepare(&args).unwrap();
        assert_eq!(found, Cut { manifest: plain, outside }, "{window}");
        assert!(outside > 0 || until == Some(last + 1), "{window}");
        assert_eq!(dataset_files(&log.path("cut")), dataset_files(&out), "{window}");
    }
}

#[test]
fn the_increments_of_a_run_give_its_dataset_again_although_files_were_added_since() {
    let log = Log::new();
    (0..3).for_each(|file| drop(log.add("store", file)));
    let (three, pinned) = (cut_of(&log, "three", (Window::default(), None), &[]).unwrap(), 3);
    let noted = contents(&log.path("store"), None).unwrap();
    (3..5).for_each(|file| drop(log.add("store", file)));
    let again = cut_of(&log, "again", (Window::default(), Some(pinned)), &[]).unwrap();
    assert_eq!(again, three);
    assert_eq!(contents(&log.path("store"), Some(pinned)).unwrap(), noted);
    let all = contents(&log.path("store"), None).unwrap();
    assert_eq!((all.files().count(), noted.files().count()), (5, 3));
    assert_ne!(all.digest(), noted.digest());
    for file in all.files() {
        let bytes = fs::read(log.dir().join(&file.name)).unwrap();
        assert_eq!(file.bytes, bytes.len() as u64);
        assert_eq!(file.digest.as_deref(), Some(blake3::hash(&bytes).to_hex().as_str()));
    }
    let error = cut_of(&log, "never", (Window::default(), Some(6)), &[]).unwrap_err().to_string();
    assert!(error.contains("has 5 increments, 6 are asked for"), "{error}");
}

#[test]
fn a_window_without_rows_and_a_log_without_times_are_told() {
    let log = Log::new();
    log.add("store", 0);
    let window = Window { from: None, until: Some(0) };
    let error = cut_of(&log, "never", (window, None), &[]).unwrap_err();
    assert!(matches!(error, Error::NothingInWindow { outside, .. } if outside > 1000), "{error}");
    assert!(error.to_string().contains("rows is in the window ..1970-01-01T00:00:00Z"), "{error}");
    assert!(!log.path("never").exists());
    let folder = Folder::with("log.csv", "user,item\n1,a\n2,b\n");
    let text = CSV.replace("time = \"time\"\n", "");
    let spec: DatasetSpec = config::parse(&text, "dataset.toml", &[]).unwrap();
    let (base, store, out) = (folder.path(), &folder.path().join("store"), &folder.out());
    let (variables, pulse) = (&|_: &str| None, &|| true);
    add(&AddArgs { spec: &spec, base, store, threads: 1, variables, by: None, pulse }).unwrap();
    let (parent, increments) = (None, None);
    let args =
        CutArgs { spec: &spec, base, store, parent, out, threads: 1, variables, window, increments, pulse };
    let error = cut(&args).unwrap_err().to_string();
    assert!(error.contains("rows have no times"), "{error}");
}

#[test]
fn a_file_that_changes_while_it_is_read_is_named_and_nothing_is_added() {
    let log = Log::new();
    log.add("store", 0);
    let before = contents(&log.path("store"), None).unwrap();
    let (spec, base, store) = (log.spec(&["input=events-00001.csv"]), log.dir(), log.path("store"));
    let path = log.dir().join("events-00001.csv");
    let bytes = fs::read(&path).unwrap();
    let is_changed = AtomicBool::new(false);
    // The first beat comes when its digest is being taken, which is before its rows are read.
    let pulse = || {
        if !is_changed.swap(true, Ordering::Relaxed) {
            let mut other = bytes.clone();
            let end = other.len() - 3;
            other[end] = if other[end] == b'1' { b'2' } else { b'1' };
            fs::write(&path, other).unwrap();
        }
        true
    };
    let (variables, by) = (&|_: &str| None, None);
    let args = AddArgs { spec: &spec, base: &base, store: &store, threads: 1, variables, by, pulse: &pulse };
    let error = add(&args).unwrap_err();
    assert!(matches!(error, Error::InputUnsteady { .. }), "{error}");
    assert!(error.to_string().contains("events-00001.csv changed while it was read"), "{error}");
    assert_eq!(contents(&store, None).unwrap(), before);
    assert_eq!(add(&args).unwrap().files, 1, "a file that stays as it is is added");
}

#[test]
fn a_file_of_a_base_is_the_same_by_its_bytes_whenever_it_was_written() {
    let log = Log::new();
    log.add("store", 2);
    let path = log.dir().join("events-00002.csv");
    let bytes = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    fs::write(&path, &bytes).unwrap();
    let later = SystemTime::now() + Duration::from_secs(60);
    fs::File::open(&path).unwrap().set_modified(later).unwrap();
    let one = ["input=events-00002.csv"];
    assert_eq!(log.try_add("store", &one).unwrap().known, 1);
    // What is said of it now is noted, and the base is whole.
    assert_eq!(log.try_add("store", &one).unwrap().known, 1);
    // The same size, and other bytes.
    let mut other = bytes.clone();
    let end = other.len() - 3;
    other[end] = if other[end] == b'1' { b'2' } else { b'1' };
    fs::write(&path, other).unwrap();
    let error = log.try_add("store", &one).unwrap_err();
    assert!(matches!(error, Error::InputChanged { .. }), "{error}");
    assert!(error.to_string().contains("has the digest"), "{error}");
}

#[test]
fn a_stopped_addition_leaves_the_base_as_it_was() {
    let log = Log::new();
    let (spec, base, store) = (log.spec(&[]), log.dir(), log.path("store"));
    let (variables, pulse) = (&|_: &str| None, &|| false);
    let args = AddArgs { spec: &spec, base: &base, store: &store, threads: 1, variables, by: None, pulse };
    assert!(matches!(add(&args), Err(Error::Stopped)));
    assert!(contents(&store, None).unwrap().increments.is_empty());
    let args = AddArgs { by: Some("nightly/2026-01-02"), pulse: &|| true, ..args };
    assert_eq!(add(&args).unwrap().files, 5);
    let held = contents(&store, None).unwrap().increments;
    assert_eq!(held[0].by.as_deref(), Some("nightly/2026-01-02"));
    assert!(held[0].times.is_some());
}

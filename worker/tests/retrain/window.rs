//! What becomes of a window.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use muster_data::prepare::Error as PrepareError;
use muster_data::{Dataset, PrepareArgs, prepare};
use muster_proto::config;
use muster_proto::control::{WindowEnd, WindowUnit};
use muster_proto::dataset::{DatasetManifest, DatasetSpec};
use muster_proto::job::JobSpec;
use muster_worker::retrain::{Error, Work, prepare_window};
use muster_worker::run_record::RunRecord;
use serde_json::Value;

use crate::{DATASET, Shop, begins, from, made, message, week, work};

/// What a preparation makes of some weeks, split as the window of the last of them.
fn plain(weeks: std::ops::Range<u64>) -> DatasetManifest {
    let last = weeks.end as i64 - 1;
    let shop = Shop::with(weeks);
    let time = muster_proto::dataset::time::format_iso8601_exact;
    let sets = [
        "split.kind=\"time\"".to_owned(),
        format!("split.valid_from=\"{}\"", time(begins(last - 1))),
        format!("split.test_from=\"{}\"", time(begins(last))),
    ];
    let spec: DatasetSpec = config::parse(DATASET, "dataset.toml", &sets).unwrap();
    let (base, out) = (shop.logs.path(), &shop.workspace.path().join("plain"));
    prepare(&PrepareArgs { spec: &spec, base, out, threads: 1, variables: &|_| None }).unwrap()
}

#[test]
fn a_window_becomes_its_dataset_and_a_job_and_says_which_files_counted() {
    let shop = Shop::with(0..4);
    let unit = WindowUnit { from: Some(begins(1)), ..shop.unit("first", 3) };
    let done = made(prepare_window(&unit, &work()).unwrap());
    assert_eq!(done.digest, plain(1..4).digest);
    assert_eq!((done.read.increments, done.read.files, done.read.new_files), (1, 4, 4));
    let rows: u64 = (0..4).map(|number| week(number).lines().count() as u64 - 1).sum();
    assert_eq!((done.read.rows_read, done.read.rows_rejected), (rows, 0));
    let dataset = Dataset::open(Path::new(&done.dataset)).unwrap();
    let manifest = dataset.manifest();
    assert_eq!((done.rows, done.users), (manifest.events, u64::from(manifest.users)));
    assert!(done.newest.unwrap() > begins(3) && done.newest.unwrap() < begins(4));
    let pins: Value =
        serde_json::from_slice(&fs::read(shop.run("first").join("pins.json")).unwrap()).unwrap();
    let digest = blake3::hash(week(2).as_bytes()).to_hex().to_string();
    assert_eq!(pins["files"]["log-2.csv"], digest);
    assert_eq!(pins["files_digest"], done.read.files_digest);
    let submission = &done.submission;
    assert_eq!(submission.name, "shop/first");
    assert_eq!((submission.world_size.0, submission.min_workers), (2, 1));
    assert!(submission.tables.iter().any(|table| table.name == "item" && table.rows == done.items));
    let record = RunRecord::find(Path::new(&submission.run_dir)).unwrap().unwrap();
    assert_eq!(record.dataset, Path::new(&done.dataset));
}

#[test]
fn a_rerun_with_the_increments_of_a_run_gives_its_dataset_again() {
    let shop = Shop::with(0..3);
    let first = made(prepare_window(&shop.unit("first", 2), &work()).unwrap());
    // A late file of the second week, and the next one.
    shop.write(90, &week(1).replace(",i1,", ",i17,"));
    shop.write(3, &week(3));
    let next = made(prepare_window(&shop.unit("next", 2), &work()).unwrap());
    assert_ne!(next.digest, first.digest);
    assert_eq!((next.read.increments, next.read.files, next.read.new_files), (2, 5, 2));
    let again = WindowUnit { increments: Some(first.read.increments), ..shop.unit("again", 2) };
    let again = made(prepare_window(&again, &work()).unwrap());
    assert_eq!((again.digest, again.read.new_files), (first.digest, 0));
    assert_eq!(again.read.files_digest, first.read.files_digest);
    // Whoever knows what was accepted counts all that came since, whichever run added it.
    let since = WindowUnit { accepted: Some(1), ..shop.unit("since", 2) };
    assert_eq!(made(prepare_window(&since, &work()).unwrap()).read.new_files, 2);
}

#[test]
fn a_second_attempt_over_the_leavings_of_the_first_comes_to_the_same() {
    let shop = Shop::with(0..3);
    let expected = made(prepare_window(&shop.unit("run", 2), &work()).unwrap());
    let (mut beats, mut stopped_in) = (0, Vec::new());
    loop {
        let shop = Shop::with(0..3);
        let count = AtomicU32::new(0);
        let pulse = || count.fetch_add(1, Ordering::Relaxed) < beats;
        let unit = shop.unit("run", 2);
        match prepare_window(&unit, &Work { threads: 1, pulse: &pulse }) {
            Err(Error::Stopped | Error::Prepare(PrepareError::Stopped)) => {}
            Err(error) => panic!("{error}"),
            Ok(_) => break,
        }
        // What a process leaves that is killed in the middle of it.
        let leavings = shop.run("run").join(".preparing-gone");
        fs::create_dir_all(leavings.join("work")).unwrap();
        let made = made(prepare_window(&unit, &work()).unwrap());
        assert!(!leavings.exists());
        assert_eq!((&made.digest, &made.read), (&expected.digest, &expected.read), "after {beats} beats");
        stopped_in.push(beats);
        beats += 1 + beats / 3;
    }
    assert!(stopped_in.len() > 4, "{stopped_in:?}");
}

#[test]
fn a_window_without_a_row_is_empty_and_says_what_was_read() {
    let shop = Shop::with(0..2);
    let unit = WindowUnit { from: Some(begins(5)), ..shop.unit("later", 8) };
    let WindowEnd::Empty(read) = prepare_window(&unit, &work()).unwrap() else { panic!("it has rows") };
    assert_eq!((read.files, read.new_files), (2, 2));
    assert!(!shop.run("later").join("dataset").exists());
    let shop = Shop::with(0..0);
    let text = message(prepare_window(&shop.unit("none", 3), &work()));
    assert!(text.contains("stands for no file"), "{text}");
    shop.write(0, "user,item,time,category\n");
    assert!(matches!(prepare_window(&shop.unit("none", 3), &work()), Ok(WindowEnd::Empty(_))));
}

#[test]
fn a_log_that_changes_its_form_is_named_by_file_and_column_or_counted_as_rejected() {
    let shop = Shop::with(0..3);
    made(prepare_window(&shop.unit("first", 2), &work()).unwrap());
    // A column is gone: the one new file is of no use.
    shop.write(3, &week(3).replace("user,item,time,category", "user,item,time,kind"));
    let text = message(prepare_window(&shop.unit("gone", 3), &work()));
    assert!(text.contains("log-3.csv: there is no column `category`"), "{text}");
    // Among other new files it is left out, and named.
    shop.write(4, &week(4));
    let done = made(prepare_window(&shop.unit("other", 4), &work()).unwrap());
    assert_eq!(done.read.new_files, 1);
    assert!(done.read.left_out[0].contains("log-3.csv: there is no column `category`"), "{:?}", done.read);
    // A type changed.
    let text_of_days = week(5).replace(",1402", ",day 1402").replace(",1403", ",day 1403");
    shop.write(3, &text_of_days);
    let text = message(prepare_window(&shop.unit("type", 5), &work()));
    assert!(text.contains("log-3.csv:2: column `time`"), "{text}");
    let lenient = DATASET.to_owned() + "[cleaning]\non_invalid = \"drop\"\n";
    let other = Shop::with(0..3);
    other.write(3, &text_of_days);
    let unit = WindowUnit { dataset_toml: lenient.clone(), ..other.unit("lenient", 2) };
    let read = made(prepare_window(&unit, &work()).unwrap()).read;
    assert_eq!(read.rows_rejected, text_of_days.lines().count() as u64 - 1);
    // The base of a schedule is read by one set of rules.
    let unit = WindowUnit { dataset_toml: lenient, ..shop.unit("rules", 4) };
    let text = message(prepare_window(&unit, &work()));
    assert!(text.contains("the base was read with other values of cleaning.on_invalid"), "{text}");
    // A file that counts has other bytes.
    fs::remove_file(shop.log(3)).unwrap();
    shop.write(1, &week(1).replace("u3,", "u4,"));
    let text = message(prepare_window(&shop.unit("changed", 4), &work()));
    assert!(text.contains("log-1.csv has the digest"), "{text}");
    assert!(text.contains("files of a base must not change"), "{text}");
}

#[test]
fn a_dataset_and_a_job_that_no_schedule_can_run_are_refused_with_what_is_missing() {
    let shop = Shop::with(0..3);
    let refused = |change: &dyn Fn(&mut WindowUnit)| {
        let mut unit = shop.unit("run", 2);
        change(&mut unit);
        message(prepare_window(&unit, &work()))
    };
    let text = refused(&|unit| unit.dataset_toml = DATASET.replace("time = \"time\"\n", ""));
    assert!(text.contains("it names no column in `columns.time`"), "{text}");
    let text = refused(&|unit| unit.job_toml.push_str("[model.head.mse]\nlabel = \"rating\"\n"));
    assert!(text.contains("ranks no items"), "{text}");
    let text = refused(&|unit| unit.job_toml = unit.job_toml.replace("\"category\"", "\"brand\""));
    assert!(text.contains("brand"), "{text}");
    let text = refused(&|unit| unit.run = "../elsewhere".to_owned());
    assert!(text.contains("cannot be the name of a run's folder"), "{text}");
    let text = refused(&|unit| unit.increments = Some(7));
    assert!(text.contains("increments, 7 are asked for"), "{text}");
}

#[test]
fn a_job_begins_from_the_model_of_an_earlier_window_with_all_of_it_pinned() {
    let shop = Shop::with(0..3);
    let (_, champion) = shop.train(&shop.unit("first", 2));
    shop.write(3, &week(3));
    let unit = WindowUnit { warm_start: from(&champion), ..shop.unit("next", 3) };
    let (done, next) = shop.train(&unit);
    let job: JobSpec = config::parse(&done.submission.spec_toml, "job", &[]).unwrap();
    let warm = job.warm_start.unwrap();
    assert_eq!(warm.model_digest.as_ref(), Some(&champion.model_digest));
    assert_eq!(warm.dataset.as_ref(), Some(&champion.dataset));
    assert!(warm.table_updates > 0 && warm.windows.is_empty());
    // The same window and parent give the same model.
    let again = WindowUnit {
        warm_start: from(&champion),
        increments: Some(done.read.increments),
        ..shop.unit("again", 3)
    };
    let (_, again) = shop.train(&again);
    assert_eq!(again.model_digest, next.model_digest);
    // The parent is gone, or is another model by now.
    let mut other = unit.clone();
    other.warm_start.as_mut().unwrap().model_digest = Some(next.model_digest);
    let text = message(prepare_window(&other, &work()));
    assert!(text.contains("is another model than the job begins from"), "{text}");
    fs::remove_dir_all(&champion.checkpoint).unwrap();
    let text = message(prepare_window(&unit, &work()));
    assert!(text.contains("has no checkpoint"), "{text}");
}

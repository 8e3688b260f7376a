//! Preparation in units that are dealt out: whoever does them, in whatever order and how often, the bytes are those of one process.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::Path;

use muster_data::prepare::{Dealer, Error, SpreadArgs, UnitArgs, prepare_spread, run_unit};
use muster_data::{ShopArgs, generate_shop};
use muster_proto::config;
use muster_proto::control::Unit;
use muster_proto::dataset::{DatasetManifest, DatasetSpec, ShopSpec};
use serde_json::Value;

use crate::fixture::{CSV, Folder, files};
use crate::inputs::gzip;

/// Workers that get units out of order, lose some half-way, and do others twice.
#[derive(Default)]
struct Unruly {
    workers: usize,
    attempts: Cell<u32>,
    units: RefCell<BTreeMap<String, usize>>,
}

impl Unruly {
    fn new(workers: usize) -> Self {
        Self { workers, ..Self::default() }
    }

    fn attempt(&self, folder: &Path, unit: Unit, is_stopped: bool) -> Result<Value, Error> {
        let attempt = self.attempts.get() + 1;
        self.attempts.set(attempt);
        let (mark, pulse) = (format!(".{attempt}-7"), || !is_stopped);
        run_unit(&UnitArgs { folder, unit, mark: &mark, threads: 1 + attempt as usize % 2, pulse: &pulse })
    }
}

impl Dealer for Unruly {
    fn workers(&self) -> usize {
        self.workers
    }

    fn deal(&self, stage: &str, folder: &Path, units: Vec<Unit>) -> Result<Vec<Value>, String> {
        *self.units.borrow_mut().entry(stage.to_owned()).or_default() += units.len();
        let mut results = vec![Value::Null; units.len()];
        // The last comes first.
        for (place, unit) in units.into_iter().enumerate().rev() {
            match place % 3 {
                // A worker is lost in the midst of it; what it left is in the way of nobody.
                0 => drop(self.attempt(folder, unit, true)),
                // Or when it was through, before it could say so.
                1 => drop(self.attempt(folder, unit, false)),
                _ => {}
            }
            results[place] = self.attempt(folder, unit, false).map_err(|error| error.to_string())?;
        }
        Ok(results)
    }

    fn is_stopped(&self) -> bool {
        false
    }
}

/// What comes of a preparation over so many workers, and how many units each stage had.
fn spread(
    (spec, base, out): (&str, &Path, &Path),
    workers: usize,
) -> (Result<DatasetManifest, Error>, BTreeMap<String, usize>) {
    let spec: DatasetSpec = config::parse(spec, "dataset.toml", &[]).unwrap();
    let dealer = Unruly::new(workers);
    let made = prepare_spread(&SpreadArgs { spec: &spec, base, out, variables: &|_| None, dealer: &dealer });
    (made, dealer.units.into_inner())
}

/// Spreads a preparation of a folder, and holds what comes of it against what one process made in `out`.
pub(crate) fn assert_same(
    whole: &Result<DatasetManifest, Error>,
    out: &Path,
    (spec, base): (&str, &Path),
) -> BTreeMap<String, usize> {
    let elsewhere = Folder::new();
    let (made, units) = spread((spec, base, &elsewhere.out()), 2);
    match (whole, made) {
        (Ok(whole), Ok(made)) => {
            assert_eq!(*whole, made);
            assert!(files(out) == files(&elsewhere.out()), "the files differ");
        }
        (Err(whole), Err(made)) => {
            assert_eq!(whole.to_string(), made.to_string());
            assert_eq!(whole.place(), made.place());
            assert_eq!(files(elsewhere.path()), [], "a failed preparation left something behind");
        }
        (whole, made) => panic!("one process: {whole:?}, spread: {made:?}"),
    }
    units
}

/// A shop with dirt in some format, and rules and columns of every sort.
fn shop(sets: &[&str]) -> (Folder, String) {
    let folder = Folder::new();
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    let shop = "users = 900\nitems = 400\nevents = 40000\ncategories = 12\n[dirt]\nrate = 0.1\n";
    let spec: ShopSpec = config::parse(shop, "shop.toml", &sets).unwrap();
    let log = folder.path().join("log");
    generate_shop(&ShopArgs { spec: &spec, out: &log, threads: 2 }).unwrap();
    let text = std::fs::read_to_string(log.join("dataset.toml")).unwrap();
    for entry in std::fs::read_dir(&log).unwrap() {
        let entry = entry.unwrap();
        std::fs::rename(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    std::fs::remove_dir(log).unwrap();
    let cleaning = "[cleaning]\nmin_user_events = 5\nmin_item_events = 4\nmax_user_events = 60";
    let text = text.replace("[cleaning]", cleaning);
    let tables = "[vocabulary]\nmin_train_events = 6\n[features]\nderive = [\"hour\", \"item_buys\", \"user_clicks\",                   \"price_bucket\", \"time_gap\", \"session\"]\n[split]\nkind = \"time\"\nvalid = 0.07\n";
    (folder, format!("partitions = 7\n{text}{tables}"))
}

/// Units that read, of a log that is the same from one process and from many.
fn reads(folder: &Folder, spec: &str) -> usize {
    let made = folder.prepare_with(spec, &folder.out(), 2);
    made.as_ref().unwrap();
    assert_same(&made, &folder.out(), (spec, folder.path()))["read"]
}

#[test]
fn a_log_in_any_format_is_the_same_dataset_over_any_number_of_workers() {
    // Files, and whether they are cut: text that is plain is, and Parquet that has more than one row group.
    for (sets, least) in [
        (&["format=\"csv\""][..], 3),
        (&["format=\"jsonl\""], 4),
        (&["format=\"csv\"", "compression=\"gzip\"", "files=3"], 3),
        (&["format=\"parquet\"", "files=4"], 4),
    ] {
        let (folder, spec) = shop(sets);
        let units = reads(&folder, &spec);
        assert!(units >= least, "{sets:?}: {units} shares");
        let whole = files(&folder.out());
        for workers in [1, 3, 8] {
            let out = folder.path().join(format!("over-{workers}"));
            let (made, units) = spread((&spec, folder.path(), &out), workers);
            made.unwrap();
            assert!(files(&out) == whole, "{sets:?} over {workers} workers");
            assert_eq!(units["sort"], (4 * workers).min(7), "parts are dealt to all workers");
            std::fs::remove_dir_all(out).unwrap();
        }
    }
}

/// Rows of a log of some megabytes, all of the same few users and items, with quotes that hold line ends.
fn rows(number: usize) -> String {
    (0..number)
        .map(|row| format!("u{},i{},{},\"a\n,{row}\"\n", row % 97, row % 31, 100 + row % 5000))
        .collect()
}

const WITH_NOTE: &str = "categorical = [\"note\"]\n";

#[test]
fn text_with_marks_quotes_and_other_line_ends_is_cut_where_records_end() {
    let text = format!("user,item,time,note\n{}", rows(200_000));
    let folder = Folder::new();
    for (text, spec) in [
        (format!("\u{feff}{text}"), format!("{CSV}{WITH_NOTE}")),
        (
            text.replace("u1,", "u1,,").replace('\n', "\r\n"),
            format!("{CSV}{WITH_NOTE}[cleaning]\non_invalid = \"drop\"\n"),
        ),
        // Without times, positions take their place.
        (text.clone(), CSV.replace("time = \"time\"\n", "")),
        // Without a header, the first row counts.
        (
            rows(200_000),
            format!("header = false\n{CSV}")
                .replace("\"user\"", "\"1\"")
                .replace("\"item\"", "\"2\"")
                .replace("\"time\"", "\"3\""),
        ),
    ] {
        folder.write("log.csv", text);
        assert!(reads(&folder, &spec) >= 4);
    }
}

#[test]
fn a_cut_file_counts_whole_or_not_at_all() {
    let text = rows(200_000);
    let folder = Folder::with("good.csv", "user,item,time,note\nu1,i1,7,x\n,i2,8,y\nu1,i3,9,z\n");
    let spec = CSV.replace("\"log.csv\"", "[\"log.csv\", \"good.csv\", \"log.csv\"]");
    let lenient = format!("{spec}{WITH_NOTE}[cleaning]\non_invalid = \"drop\"\nmax_row = \"64 KiB\"\n");
    let strict = format!("{lenient}strict = true\n");
    // A quote in the last piece is not closed, so that nobody knows what rows it took with it.
    folder.write("log.csv", format!("user,item,time,note\n{text}u1,i1,5,\"{}", "x\n".repeat(70_000)));
    let manifest = folder.prepare(&lenient).unwrap();
    assert_eq!((manifest.cleaning.left_out.len(), manifest.cleaning.rows_in), (2, 3));
    assert!(folder.refused(&strict).contains("is not closed within 65536 bytes"));
    // The first of two bad values is the error, wherever the pieces are cut.
    let bad = text.replace("u3,i7,4003,", "u3,i7,yesterday,").replace("u9,i9,", "u9,i9,tomorrow");
    folder.write("log.csv", format!("user,item,time,note\n{bad}"));
    let error = folder.refused(&format!("{spec}{WITH_NOTE}"));
    assert!(error.contains("log.csv:") && error.contains("column `time`"), "{error}");
    // Of objects, each piece may lack a key that the whole has; a key that none has is a missing column.
    let objects = |key: &str| -> String {
        let object = |row: usize| {
            let note = if row == 90_000 { format!(",\"{key}\":\"n\"") } else { String::new() };
            format!("{{\"user\":\"u{}\",\"item\":{},\"time\":{row}{note}}}\n", row % 97, row % 31)
        };
        (0..100_000).map(object).collect()
    };
    let lines = lenient
        .replace("format = \"csv\"", "format = \"jsonl\"")
        .replace(", \"good.csv\", \"log.csv\"]", "]");
    folder.write("log.csv", objects("note"));
    assert!(reads(&folder, &lines) >= 3);
    folder.write("log.csv", objects("nota"));
    assert!(folder.refused(&lines).contains("there is no column `note`"));
}

#[test]
fn bad_files_and_empty_ones_end_as_they_do_in_one_process() {
    let folder = Folder::with("a.csv", "user,item,time\n1,a,1\n1,b,2\n2,b,\n");
    folder.write("b.csv", "user,item,time\n");
    folder.write("c.csv", "user,other\n1,c\n");
    folder.write("d.csv.gz", &gzip("user,item,time\n1,a,7\n")[..30]);
    folder.write("e.csv", "user,item,time\n3,c,4\n3,d,4\n");
    let spec = CSV.replace("\"log.csv\"", "\"*.csv*\"");
    let manifest = folder.prepare(&spec).unwrap();
    assert_eq!((manifest.cleaning.left_out.len(), manifest.cleaning.rows_in), (2, 5));
    assert!(folder.out().join("quarantine.jsonl").exists());
    assert!(folder.refused(&format!("{spec}[cleaning]\nstrict = true\n")).contains("c.csv"));
    for name in ["a.csv", "e.csv"] {
        std::fs::remove_file(folder.path().join(name)).unwrap();
    }
    std::fs::remove_dir_all(folder.out()).unwrap();
    assert!(folder.refused(&spec).contains("c.csv: there is no column `item`"));
    // Bounds hold for all shares together.
    folder.write("a.csv", "user,item,time\n1,a,1\n1,b,2\n");
    folder.write("e.csv", "user,item,time\n3,c,4\n3,d,4\n");
    let few = format!("{spec}[cleaning]\nmax_items = 3\n");
    assert!(folder.refused(&few).contains("column `item` has more than 3 distinct values"));
}

/// Answers what the test says.
struct Answers(Result<Value, &'static str>);

impl Dealer for Answers {
    fn workers(&self) -> usize {
        1
    }

    fn deal(&self, _: &str, _: &Path, units: Vec<Unit>) -> Result<Vec<Value>, String> {
        self.0.clone().map(|answer| vec![answer; units.len()]).map_err(str::to_owned)
    }

    fn is_stopped(&self) -> bool {
        self.0 == Err("stopped")
    }
}

#[test]
fn answers_that_mean_nothing_and_workers_that_fail_are_errors_that_leave_nothing() {
    let folder = Folder::with("log.csv", "user,item,time\n1,a,1\n");
    let spec: DatasetSpec = config::parse(CSV, "dataset.toml", &[]).unwrap();
    let before = files(folder.path());
    for (answer, expected) in [
        (Ok(serde_json::json!({"said": 1})), "a worker's answer cannot be read"),
        (Ok(serde_json::json!({"wrote": "nowhere"})), "cannot read"),
        (Err("no worker is left"), "the work could not be spread over workers: no worker is left"),
        (Err("stopped"), "stopped on request"),
    ] {
        let (dealer, out) = (Answers(answer), folder.out());
        let args =
            SpreadArgs { spec: &spec, base: folder.path(), out: &out, variables: &|_| None, dealer: &dealer };
        let error = prepare_spread(&args).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert_eq!(files(folder.path()), before);
    }
}

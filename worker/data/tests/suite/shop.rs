//! Simulated shops: the same bytes on any number of threads, and a cleaning report that finds what was planted, exactly.

use std::collections::BTreeSet;
use std::path::Path;

use muster_data::generate::{DATASET_FILE, TRUTH_FILE, Truth};
use muster_data::{Dataset, PrepareArgs, ShopArgs, generate_shop, prepare};
use muster_proto::config;
use muster_proto::dataset::{DatasetManifest, DatasetSpec, DirtKind, ShopSpec};

use crate::fixture::{Folder, files};

const SMALL: &str = "users = 900\nitems = 400\nevents = 60000\ncategories = 12\n[dirt]\nrate = 0.2\n";

fn shop(sets: &[&str]) -> ShopSpec {
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    config::parse(SMALL, "shop.toml", &sets).unwrap()
}

fn generate(spec: &ShopSpec, out: &Path, threads: usize) -> Truth {
    generate_shop(&ShopArgs { spec, out, threads }).unwrap()
}

fn prepare_shop(log: &Path, out: &Path, sets: &[&str]) -> DatasetManifest {
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    let spec: DatasetSpec = config::load(&log.join(DATASET_FILE), &sets).unwrap();
    prepare(&PrepareArgs { spec: &spec, base: log, out, threads: 2, variables: &|_| None }).unwrap()
}

#[test]
fn the_cleaning_report_finds_what_was_planted_in_every_format() {
    let formats = [
        &["format=\"csv\""][..],
        &["format=\"csv\"", "compression=\"gzip\"", "files=3"],
        &["format=\"jsonl\"", "files=2"],
        &["format=\"jsonl\"", "compression=\"zstd\""],
        &["format=\"parquet\"", "files=4"],
    ];
    let mut datasets = BTreeSet::new();
    for sets in formats {
        let folder = Folder::new();
        let (log, spec) = (folder.path().join("log"), shop(sets));
        let truth = generate(&spec, &log, 2);
        assert_eq!(truth.files.len(), spec.files as usize);
        let kinds: BTreeSet<DirtKind> = truth.planted.keys().copied().collect();
        assert_eq!(kinds, spec.dirt_kinds().into_iter().collect(), "{sets:?} plants every kind");
        let manifest = prepare_shop(&log, &folder.out(), &[]);
        let report = &manifest.cleaning;
        assert_eq!((report.rows_in, report.rows_out), (truth.rows, spec.events), "{sets:?}");
        assert_eq!(report.dropped, truth.dropped, "{sets:?}");
        let written: Truth = serde_json::from_slice(&std::fs::read(log.join(TRUTH_FILE)).unwrap()).unwrap();
        assert_eq!(written, truth);
        datasets.insert(files_of(&folder.out()));
    }
    assert_eq!(datasets.len(), 1, "the clean log is the same in every format, whatever dirt it holds");
}

/// The digests of all files but the manifest and the quarantine, in which the dirt shows.
fn files_of(dataset: &Path) -> Vec<(String, String)> {
    let hashed = |(name, bytes): (String, Vec<u8>)| (name, blake3::hash(&bytes).to_hex().to_string());
    files(dataset).into_iter().filter(|(name, _)| name.ends_with(".arrow")).map(hashed).collect()
}

#[test]
fn the_bytes_of_a_shop_never_change_and_do_not_know_the_threads() {
    let folder = Folder::new();
    let spec = shop(&["events=3000"]);
    let of = |name: &str, threads| {
        let out = folder.path().join(name);
        generate(&spec, &out, threads);
        files(&out)
    };
    let one = of("one", 1);
    assert_eq!(one, of("three", 3));
    // Once more over the first: a generated log may be replaced.
    assert_eq!(one, of("one", 2));
    let log = &one.iter().find(|(name, _)| name == "events-00000.csv").unwrap().1;
    assert_eq!(blake3::hash(log).to_hex()[..16], *"89aedabd195e2ee1");
    let other = folder.path().join("other");
    generate(&shop(&["events=3000", "seed=2"]), &other, 1);
    assert_ne!(files(&other), one);
}

#[test]
fn a_folder_that_is_no_log_is_not_replaced() {
    let folder = Folder::with("mine.txt", "mine");
    let spec = shop(&["events=300"]);
    let error = generate_shop(&ShopArgs { spec: &spec, out: folder.path(), threads: 1 }).unwrap_err();
    assert!(error.to_string().contains("is not a generated log"), "{error}");
    assert_eq!(files(folder.path()).len(), 1);
}

#[test]
fn a_shop_looks_like_one() {
    let folder = Folder::new();
    let log = folder.path().join("log");
    let spec = shop(&["users=20000", "items=3000", "events=200000", "dirt.rate=0.0"]);
    generate(&spec, &log, 2);
    let manifest = prepare_shop(&log, &folder.out(), &[]);
    let dataset = Dataset::open(&folder.out()).unwrap();
    let items = dataset.load_items().unwrap();
    // Popularity: the first tenth of the items has over a third of the events, the last half under a quarter.
    let counts = items.train_counts();
    let total: u64 = counts.iter().sum();
    let share = |of: &[u64]| of.iter().sum::<u64>() as f64 / total as f64;
    assert!(share(&counts[..counts.len() / 10]) > 0.33, "{}", share(&counts[..counts.len() / 10]));
    assert!(share(&counts[counts.len() / 2..]) < 0.25);
    // The funnel: a view, a quarter of them carts, two fifths of these purchases.
    let actions = dataset.load_vocabulary("event").unwrap();
    let mut of_action = std::collections::BTreeMap::<String, u64>::new();
    let (mut same_category, mut pairs) = (0, 0_u64);
    let mut first_seen = vec![i64::MAX; items.len()];
    for index in 0..manifest.partitions.len() as u32 {
        let partition = dataset.load(index).unwrap();
        for action in &partition.categorical[0] {
            *of_action.entry(actions.key(*action).to_owned()).or_default() += 1;
        }
        for (item, time) in partition.items.iter().zip(&partition.times) {
            first_seen[*item as usize] = first_seen[*item as usize].min(*time);
        }
        for user in 0..partition.users() {
            for pair in partition.categorical[1][partition.range(user)].windows(2) {
                pairs += 1;
                same_category += u64::from(pair[0] == pair[1]);
            }
        }
    }
    let ratio = |a: &str, b: &str| of_action[a] as f64 / of_action[b] as f64;
    assert!((ratio("cart", "view") - 0.25).abs() < 0.02, "{of_action:?}");
    assert!((ratio("buy", "cart") - 0.4).abs() < 0.03, "{of_action:?}");
    // Tastes: by chance, two events in a row share one of twelve categories far less often.
    assert!(same_category as f64 > 0.4 * pairs as f64, "{same_category} of {pairs}");
    // New items: about three in ten are first seen after the first tenth of the log, spread over the rest.
    let (start, end) = manifest.time_range.unwrap();
    let late = first_seen.iter().filter(|time| **time > start + (end - start) / 10).count();
    assert!((0.2..0.6).contains(&(late as f64 / items.len() as f64)), "{late} of {}", items.len());
}

#[test]
fn a_shop_that_cannot_be_is_refused_with_what_would_be_enough() {
    let problems = |text: &str| config::parse::<ShopSpec>(text, "shop.toml", &[]).unwrap_err().to_string();
    let found = problems(
        "users = 10\nevents = 100000\nitems = 4\nzipf = 1.1\nfiles = 0\nformat = \"parquet\"\ncompression = \"gzip\"\n",
    );
    for part in ["take at least 390", "under 4 a category", "multiple of 0.25", "files", "Parquet compresses"]
    {
        assert!(found.contains(part), "{part} in {found}");
    }
    let found = problems("format = \"parquet\"\ndays = 1\n[dirt]\nkinds = [\"cut_line\"]\n");
    assert!(found.contains("dirt.kinds.0") && found.contains("take at least 43"), "{found}");
}

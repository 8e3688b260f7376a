//! Growing logs: a base to which files are added, and the datasets that are cut from it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use muster_data::prepare::{AddArgs, Added, CutArgs, Error, Window, add, cut};
use muster_data::{Dataset, ShopArgs, generate_shop};
use muster_proto::config;
use muster_proto::dataset::{DatasetManifest, DatasetSpec, ShopSpec};

use crate::fixture::{CSV, Folder, files, sequences};

/// A log in five files, with dirt, and rules of every sort.
pub(crate) struct Log {
    pub(crate) folder: Folder,
    text: String,
}

impl Log {
    pub(crate) fn new() -> Self {
        let folder = Folder::new();
        let shop =
            "users = 900\nitems = 400\nevents = 20000\ncategories = 12\nfiles = 5\n[dirt]\nrate = 0.1\n";
        let spec: ShopSpec = config::parse(shop, "shop.toml", &[]).unwrap();
        generate_shop(&ShopArgs { spec: &spec, out: &folder.path().join("log"), threads: 2 }).unwrap();
        let text = std::fs::read_to_string(folder.path().join("log/dataset.toml")).unwrap();
        let text = text.replace(
            "[cleaning]",
            "[cleaning]\nmin_user_events = 5\nmin_item_events = 4\nmax_user_events = 60",
        );
        Self {
            folder,
            text: format!(
                "partitions = 7\n{text}[vocabulary]\nmin_train_events = 6\n[features]\nderive = [\"hour\", \"item_buys\", \"price_bucket\"]\n"
            ),
        }
    }

    pub(crate) fn spec(&self, sets: &[&str]) -> DatasetSpec {
        let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
        config::parse(&self.text, "dataset.toml", &sets).unwrap()
    }

    pub(crate) fn dir(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn try_add(&self, store: &str, sets: &[&str]) -> Result<Added, Error> {
        let (spec, base) = (self.spec(sets), self.dir());
        let store = &self.path(store);
        add(&AddArgs {
            spec: &spec,
            base: &base,
            store,
            threads: 2,
            variables: &|_| None,
            by: None,
            pulse: &|| true,
        })
    }

    pub(crate) fn add(&self, store: &str, file: usize) -> Added {
        self.try_add(store, &[&format!("input=events-0000{file}.csv")]).unwrap()
    }

    fn cut(&self, store: &str, out: &str, parent: Option<&str>, sets: &[&str]) -> DatasetManifest {
        let (spec, base, parent) = (self.spec(sets), self.dir(), parent.map(|parent| self.path(parent)));
        let (store, out, parent) = (&self.path(store), &self.path(out), parent.as_deref());
        let (window, increments, variables, pulse) = (Window::default(), None, &|_: &str| None, &|| true);
        let args = CutArgs {
            spec: &spec,
            base: &base,
            store,
            parent,
            out,
            threads: 2,
            variables,
            window,
            increments,
            pulse,
        };
        cut(&args).unwrap().manifest
    }

    pub(crate) fn one_shot(&self, out: &str, sets: &[&str]) -> DatasetManifest {
        let (spec, base) = (self.spec(sets), self.dir());
        let args = muster_data::PrepareArgs {
            spec: &spec,
            base: &base,
            out: &self.path(out),
            threads: 1,
            variables: &|_| None,
        };
        muster_data::prepare(&args).unwrap()
    }
}

/// The files of a dataset but for the quarantine, which stays in the base.
pub(crate) fn dataset_files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    files(dir).into_iter().filter(|(name, _)| name != "quarantine.jsonl").collect()
}

#[test]
fn a_cut_after_five_increments_is_the_dataset_of_all_files_at_once() {
    let log = Log::new();
    let whole = log.one_shot("whole", &[]);
    for (store, order) in [("in-order", [0, 1, 2, 3, 4]), ("shuffled", [3, 0, 4, 2, 1])] {
        for (place, file) in order.into_iter().enumerate() {
            let added = log.add(store, file);
            assert_eq!((added.files, added.known, added.increments), (1, 0, place as u64 + 1));
        }
        let manifest = log.cut(store, "cut", None, &[]);
        assert_eq!(manifest, whole, "{store}");
        assert_eq!(dataset_files(&log.path("cut")), dataset_files(&log.path("whole")), "{store}");
    }
    // What is not about reading rows is free with each cut.
    let loose = [
        "cleaning.min_user_events=1",
        "vocabulary.min_train_events=0",
        "split.kind=\"time\"",
        "cleaning.duplicates=\"keep\"",
    ];
    assert_eq!(log.cut("in-order", "cut", None, &loose), log.one_shot("whole", &loose));
}

#[test]
fn files_in_another_order_and_other_numbers_of_threads_give_the_same_bytes() {
    let log = Log::new();
    let whole = log.one_shot("whole", &[]);
    let order = "input=[\"events-00002.csv\", \"events-00004.csv\", \"events-00000.csv\", \"events-00003.csv\", \"events-00001.csv\"]";
    assert_eq!(log.one_shot("shuffled", &[order]), whole);
    assert_eq!(log.one_shot("again", &[]), whole);
    let spec = log.spec(&[]);
    let out = log.path("four");
    let args = muster_data::PrepareArgs {
        spec: &spec,
        base: &log.dir(),
        out: &out,
        threads: 4,
        variables: &|_| None,
    };
    assert_eq!(muster_data::prepare(&args).unwrap(), whole);
    for name in ["shuffled", "again", "four"] {
        assert_eq!(dataset_files(&log.path(name)), dataset_files(&log.path("whole")), "{name}");
    }
    // Without the order of files in it, the quarantine is the same, too.
    assert_eq!(files(&log.path("four")), files(&log.path("again")));
}

#[test]
fn files_that_are_in_the_base_are_passed_over() {
    let log = Log::new();
    log.add("store", 1);
    let added = log.try_add("store", &[]).unwrap();
    assert_eq!((added.files, added.known, added.increments), (4, 1, 2));
    let nothing = log.try_add("store", &[]).unwrap();
    assert_eq!((nothing.files, nothing.known, nothing.increments), (0, 5, 2));
    assert_eq!(log.cut("store", "cut", None, &[]), log.one_shot("whole", &[]));
    // A file that changed is not the one that was added.
    let path = log.dir().join("events-00001.csv");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.extend_from_slice(b"e1,u1,i1,1735700000000,s,view,c1,1.00,\n");
    std::fs::write(&path, bytes).unwrap();
    let error = log.try_add("store", &[]).unwrap_err().to_string();
    assert!(error.contains("files of a base must not change"), "{error}");
}

#[test]
fn a_cut_with_a_parent_keeps_its_ids_and_appends() {
    let log = Log::new();
    (0..3).for_each(|file| drop(log.add("store", file)));
    let first = log.cut("store", "first", None, &[]);
    (3..5).for_each(|file| drop(log.add("store", file)));
    let fresh = log.cut("store", "fresh", None, &[]);
    let next = log.cut("store", "next", Some("first"), &[]);
    let open = |name: &str| Dataset::open(&log.path(name)).unwrap();
    let keys = |name: &str| -> Vec<String> {
        let items = open(name).load_items().unwrap();
        (0..items.len() as u32).map(|id| items.key(id).to_owned()).collect()
    };
    let (of_first, of_fresh, of_next) = (keys("first"), keys("fresh"), keys("next"));
    assert_eq!(of_next[..of_first.len()], of_first);
    assert!(
        next.items > first.items && next.items >= fresh.items,
        "{} {} {}",
        first.items,
        fresh.items,
        next.items
    );
    assert_ne!(of_next, of_fresh);
    // The permutation of ids is all that differs.
    assert_eq!((next.events, next.users, next.splits), (fresh.events, fresh.users, fresh.splits));
    assert_eq!(next.cleaning, fresh.cleaning);
    assert!(sequences(&open("next")) == sequences(&open("fresh")), "the sequences differ by more than ids");
    for column in ["event", "category", "hour", "price_bucket"] {
        let of = |name: &str| -> BTreeMap<String, u64> {
            let (dataset, mut counts) = (open(name), BTreeMap::new());
            let vocabulary = dataset.load_vocabulary(column).unwrap();
            let at = dataset.manifest().categorical().position(|known| known.name == column).unwrap();
            for index in 0..7 {
                for id in &dataset.load(index).unwrap().categorical[at] {
                    *counts.entry(vocabulary.key(*id).to_owned()).or_default() += 1;
                }
            }
            counts
        };
        assert_eq!(of("next"), of("fresh"), "{column}");
    }
    let error = {
        let (spec, base) = (log.spec(&["vocabulary.min_train_events=0"]), log.dir());
        let (store, parent, out) = (&log.path("store"), Some(log.path("first")), &log.path("never"));
        cut(&CutArgs {
            spec: &spec,
            base: &base,
            store,
            parent: parent.as_deref(),
            out,
            threads: 1,
            variables: &|_| None,
            window: Window::default(),
            increments: None,
            pulse: &|| true,
        })
    };
    assert!(error.unwrap_err().to_string().contains("only one of the two has an unknown item"));
}

#[test]
fn a_base_that_was_read_otherwise_or_changed_is_refused_by_name() {
    let log = Log::new();
    log.add("store", 0);
    let error =
        log.try_add("store", &["cleaning.max_field=2 KiB", "columns.time_format=\"seconds\""]).unwrap_err();
    assert!(error.to_string().contains("other values of cleaning.max_field, columns.time_format"), "{error}");
    let record = std::fs::read_dir(log.path("store/increment-00000"))
        .unwrap()
        .filter_map(Result::ok)
        .find(|entry| entry.file_name().to_string_lossy().starts_with("spill"));
    let path = record.unwrap().path();
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[40] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let (spec, base, store, out) = (log.spec(&[]), log.dir(), log.path("store"), log.path("cut"));
    let args = CutArgs {
        spec: &spec,
        base: &base,
        store: &store,
        parent: None,
        out: &out,
        threads: 1,
        variables: &|_| None,
        window: Window::default(),
        increments: None,
        pulse: &|| true,
    };
    let error = cut(&args).unwrap_err().to_string();
    assert!(error.contains("was changed after it was written"), "{error}");
    assert!(!out.exists());
    let other = log.path("other");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("mine.txt"), "mine").unwrap();
    assert!(log.try_add("other", &[]).unwrap_err().to_string().contains("is not a dataset"));
}

#[test]
fn positions_of_rows_without_times_go_on_over_increments_and_a_bad_file_may_come_again() {
    let folder = Folder::with("a.csv", "user,item\n1,a\n2,b\n");
    folder.write("b.csv", "user,item\n1,c\n\n1,a\n");
    folder.write("c.csv", "user,other\n1,c\n");
    let text =
        CSV.replace("time = \"time\"\n", "").replace("\"log.csv\"", "[\"a.csv\", \"b.csv\", \"c.csv\"]");
    let spec: DatasetSpec = config::parse(&text, "dataset.toml", &[]).unwrap();
    let store = folder.path().join("store");
    let add_files = |spec: &DatasetSpec| {
        let (base, store, variables) = (folder.path(), &store, &|_: &str| None);
        add(&AddArgs { spec, base, store, threads: 1, variables, by: None, pulse: &|| true }).unwrap()
    };
    let first = config::parse::<DatasetSpec>(&text, "dataset.toml", &["input=a.csv".to_owned()]).unwrap();
    add_files(&first);
    let added = add_files(&spec);
    assert_eq!((added.files, added.known, added.report.left_out.len()), (1, 1, 1));
    let whole = folder.prepare(&text).unwrap();
    let out = folder.path().join("cut");
    let args = CutArgs {
        spec: &spec,
        base: folder.path(),
        store: &store,
        parent: None,
        out: &out,
        threads: 1,
        variables: &|_| None,
        window: Window::default(),
        increments: None,
        pulse: &|| true,
    };
    assert_eq!(cut(&args).unwrap().manifest, whole);
    // Repaired, it is added as any new file.
    folder.write("c.csv", "user,item\n3,c\n");
    assert_eq!(add_files(&spec).files, 1);
    assert_eq!(cut(&args).unwrap().manifest, folder.prepare(&text).unwrap());
}

#[test]
fn a_base_of_a_series_is_cut_to_the_dataset_of_its_files() {
    let folder = Folder::with("a.csv", "id,x,y\ns1,1,2\ns1,2,3\ns2,5,6\n");
    folder.write("b.csv", "id,x,y\ns1,3,4\ns3,7,8\n");
    let text = "name = \"log\"\nkind = \"series\"\ninput = [\"a.csv\", \"b.csv\"]\nformat = \"csv\"\npartitions = 4\n\
                [columns]\nuser = \"id\"\nnumeric = [\"x\"]\ntarget = \"y\"\n[split]\nkind = \"holdout\"\n";
    let (store, out) = (folder.path().join("store"), folder.path().join("cut"));
    for sets in [&["input=a.csv".to_owned()][..], &[]] {
        let spec: DatasetSpec = config::parse(text, "dataset.toml", sets).unwrap();
        let (base, store) = (folder.path(), &store);
        let variables = &|_: &str| None;
        add(&AddArgs { spec: &spec, base, store, threads: 1, variables, by: None, pulse: &|| true }).unwrap();
    }
    let spec: DatasetSpec = config::parse(text, "dataset.toml", &[]).unwrap();
    let (base, store, out) = (folder.path(), &store, &out);
    let args = CutArgs {
        spec: &spec,
        base,
        store,
        parent: None,
        out,
        threads: 1,
        variables: &|_| None,
        window: Window::default(),
        increments: None,
        pulse: &|| true,
    };
    assert_eq!(cut(&args).unwrap().manifest, folder.prepare(text).unwrap());
}

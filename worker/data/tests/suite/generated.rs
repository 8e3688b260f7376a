//! Generated logs: the same bytes for the same arguments, and a structure that a sequence model can find.

use std::collections::{BTreeMap, BTreeSet};

use muster_data::generate::oracle;
use muster_data::{
    Dataset, GenerateArgs, PrepareArgs, SeriesArgs, Split, generate, generate_series, prepare, stats,
};
use muster_proto::config;
use muster_proto::dataset::DatasetSpec;

use crate::fixture::Folder;

const ARGS: GenerateArgs = GenerateArgs { users: 1500, items: 600, events: 60_000, seed: 7 };

fn example(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../deploy/examples")
        .join(name)
        .join("dataset.toml")
}

fn prepare_example(name: &str, input: &std::path::Path, out: &std::path::Path) -> Dataset {
    let set = format!("input={}", input.display());
    let spec: DatasetSpec = config::load(&example(name), &[set]).unwrap();
    let base = input.parent().unwrap();
    prepare(&PrepareArgs { spec: &spec, base, out, threads: 2, variables: &|_| None }).unwrap();
    Dataset::open(out).unwrap()
}

#[test]
fn the_bytes_of_a_log_never_change() {
    let folder = Folder::new();
    let path = folder.path().join("log.csv");
    let args = GenerateArgs { users: 50, items: 100, events: 500, seed: 3 };
    let report = generate(&args, &path).unwrap();
    let first = std::fs::read(&path).unwrap();
    assert_eq!(report.bytes, first.len() as u64);
    assert_eq!(first.iter().filter(|byte| **byte == b'\n').count(), 501);
    assert_eq!(blake3::hash(&first).to_hex()[..16], *"79fd8ac04e4eb5a8");
    generate(&GenerateArgs { seed: 4, ..args }, &path).unwrap();
    assert_ne!(std::fs::read(&path).unwrap(), first);
}

#[test]
fn the_oracle_beats_a_markov_baseline_which_beats_popularity() {
    let folder = Folder::new();
    let log = folder.path().join("log.csv");
    let report = generate(&ARGS, &log).unwrap();
    let dataset = prepare_example("demo", &log, &folder.out());
    assert_eq!(dataset.manifest().events, report.views);
    let best = oracle(&ARGS, 10, u32::MAX).unwrap();
    assert_eq!(best.users, dataset.manifest().splits.test);
    let (popularity, markov) = baselines(&dataset);
    let shown = format!("popularity {popularity:.4}, Markov {markov:.4}, oracle {:.4}", best.hit_rate);
    assert!(best.hit_rate > 4.0 * popularity, "{shown}");
    assert!(markov > 1.2 * popularity, "{shown}");
    assert!(best.hit_rate > 1.6 * markov, "{shown}");
}

/// HR@10 of popularity and of counted item-to-item transitions (popularity where there are none), seen items
/// not ranked.
fn baselines(dataset: &Dataset) -> (f64, f64) {
    let popularity = dataset.popularity().unwrap();
    let indexes = 0..dataset.manifest().partitions.len() as u32;
    let partitions: Vec<_> = indexes.map(|index| dataset.load(index).unwrap()).collect();
    let mut follows: BTreeMap<(u32, u32), u64> = BTreeMap::new();
    for partition in &partitions {
        for user in 0..partition.users() {
            for pair in partition.items[partition.train(user)].windows(2) {
                *follows.entry((pair[0], pair[1])).or_default() += 1;
            }
        }
    }
    let (mut hits, mut users) = ([0_u64; 2], 0_u64);
    for partition in &partitions {
        for user in 0..partition.users() {
            let Some(held_out) = partition.held_out(user, Split::Test) else { continue };
            users += 1;
            let target = partition.items[held_out.target];
            let seen: BTreeSet<u32> = partition.items[held_out.history.clone()].iter().copied().collect();
            let last = partition.items[held_out.target - 1];
            let count = |item: u32| follows.get(&(last, item)).copied().unwrap_or(0);
            let by_popularity = |item: u32| (0, popularity[item as usize]);
            let by_transition = |item: u32| (count(item), popularity[item as usize]);
            let rank = |score: &dyn Fn(u32) -> (u64, u64)| {
                (0..popularity.len() as u32)
                    .filter(|item| !seen.contains(item) && score(*item) > score(target))
                    .count()
            };
            hits[0] += u64::from(rank(&by_popularity) < 10);
            hits[1] += u64::from(rank(&by_transition) < 10);
        }
    }
    (hits[0] as f64 / users as f64, hits[1] as f64 / users as f64)
}

#[test]
fn a_generated_log_has_a_long_tail() {
    let folder = Folder::new();
    let log = folder.path().join("log.csv");
    generate(&ARGS, &log).unwrap();
    let found = stats(&prepare_example("demo", &log, &folder.out())).unwrap();
    assert_eq!((found.users, found.items), (1500, 600));
    assert!(found.top_tenth_share > 0.25, "{found:?}");
    assert!(found.lengths.p99 > 2 * found.lengths.median, "{found:?}");
}

#[test]
fn a_series_is_the_same_in_parquet_and_csv() {
    let folder = Folder::new();
    let args = SeriesArgs { sequences: 40, steps: 5, width: 3, seed: 1 };
    let (parquet, csv) = (folder.path().join("series.parquet"), folder.path().join("series.csv"));
    generate_series(&args, &parquet).unwrap();
    generate_series(&args, &csv).unwrap();
    let first = prepare_example("article", &parquet, &folder.path().join("first"));
    let spec: DatasetSpec =
        config::load(&example("article"), &[format!("input={}", csv.display()), "format=csv".into()])
            .unwrap();
    let out = folder.path().join("second");
    let second = prepare(&PrepareArgs {
        spec: &spec,
        base: folder.path(),
        out: &out,
        threads: 1,
        variables: &|_| None,
    });
    assert_eq!(first.manifest().digest, second.unwrap().digest);
    assert_eq!((first.manifest().users, first.manifest().events), (40, 200));
}

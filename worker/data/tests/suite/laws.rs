//! Laws that hold for every log.

use std::collections::{BTreeMap, BTreeSet};

use muster_proto::dataset::partition_of;
use proptest::prelude::*;

use crate::fixture::{CSV, Folder, files, sequences};
use crate::inputs::{gzip, zst};

/// Rows of user, item and time.
fn logs() -> impl Strategy<Value = Vec<(u8, u8, u16)>> {
    proptest::collection::vec((0..12_u8, 0..9_u8, 0..30_u16), 1..120)
}

fn folder(log: &[(u8, u8, u16)]) -> Folder {
    let rows: String = log.iter().map(|(user, item, time)| format!("u{user},i{item},{time}\n")).collect();
    Folder::with("log.csv", format!("user,item,time\n{rows}"))
}

fn keep_all() -> String {
    format!("{CSV}[cleaning]\nduplicates = \"keep\"\n")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn partitions_cover_every_event_once_in_the_order_of_time(log in logs()) {
        let folder = folder(&log);
        let manifest = folder.prepare(&keep_all()).unwrap();
        let mut by_user: BTreeMap<String, Vec<(u16, usize, u8)>> = BTreeMap::new();
        for (position, (user, item, time)) in log.iter().enumerate() {
            by_user.entry(format!("u{user}")).or_default().push((*time, position, *item));
        }
        let expected: Vec<String> = by_user
            .iter_mut()
            .map(|(user, events)| {
                events.sort_unstable();
                let items: Vec<String> = events.iter().map(|(.., item)| format!("i{item}")).collect();
                format!("{user}: {}", items.join(" "))
            })
            .collect();
        prop_assert_eq!(manifest.events, log.len() as u64);
        let mut found = sequences(&folder.open());
        found.sort();
        let mut expected = expected;
        expected.sort();
        prop_assert_eq!(found, expected);
        let dataset = folder.open();
        for index in 0..4 {
            let partition = dataset.load(index).unwrap();
            for user in 0..partition.users() {
                prop_assert_eq!(partition_of(partition.user_key(user), 4), index);
            }
        }
    }

    #[test]
    fn the_k_core_is_the_largest_fixed_point(log in logs(), k in 1..4_u32) {
        let folder = folder(&log);
        let spec = format!("{}min_user_events = {k}\nmin_item_events = {k}\n", keep_all());
        let expected = core(&log, k as usize);
        match folder.prepare(&spec) {
            Ok(manifest) => prop_assert_eq!(manifest.events, expected.len() as u64),
            Err(error) => {
                prop_assert!(expected.is_empty(), "{}", error);
                return Ok(());
            }
        }
        let dataset = folder.open();
        let items = dataset.load_items().unwrap();
        let found: usize = sequences(&dataset).iter().map(|line| line.split(' ').count() - 1).sum();
        prop_assert_eq!(found, expected.len());
        let kept_items: BTreeSet<u8> = expected.iter().map(|(_, item, _)| *item).collect();
        prop_assert_eq!(items.len(), kept_items.len());
    }

    #[test]
    fn the_number_of_threads_does_not_reach_the_bytes(log in logs()) {
        let folder = folder(&log);
        let spec = format!("{CSV}[cleaning]\nmin_item_events = 2\nduplicates = \"repeats\"\n");
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        let single = folder.prepare_with(&spec, &one, 1);
        let double = folder.prepare_with(&spec, &two, 2);
        match (single, double) {
            (Ok(single), Ok(double)) => {
                prop_assert_eq!(single, double);
                prop_assert_eq!(files(&one), files(&two));
            }
            (Err(single), Err(double)) => prop_assert_eq!(single.to_string(), double.to_string()),
            (single, double) => prop_assert!(false, "{:?} and {:?}", single, double),
        }
    }
}

/// Bytes that look like a log in places, or are parts of a compressed one.
fn rubbish() -> impl Strategy<Value = Vec<u8>> {
    let text = "(user,item,time\n)?([\"{}:,;\t\r\n a-e0-9é.-]{0,12}\n){0,8}";
    let compressed = (text, 0..60_usize, any::<u8>()).prop_map(|(text, place, value)| {
        let mut bytes = if value % 2 == 0 { gzip(&text) } else { zst(&text) };
        let len = bytes.len();
        bytes[place % len] ^= value;
        bytes.truncate(len - place % 3);
        bytes
    });
    prop_oneof![text.prop_map(String::into_bytes), proptest::collection::vec(any::<u8>(), 0..80), compressed,]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// A file of any bytes gives a dataset or an error, in every format, and no row is lost on the way.
    #[test]
    fn no_bytes_break_a_reader(bytes in rubbish()) {
        let folder = Folder::with("log.csv", &bytes);
        folder.write("good.csv", "user,item,time\n1,a,1\n");
        for format in ["csv", "tsv", "semicolon", "jsonl", "parquet", "lines"] {
            let spec = CSV.replace("\"csv\"", &format!("\"{format}\"")).replace("\"log.csv\"", "[\"log.csv\", \"good.csv\"]");
            let spec = if format == "lines" { spec[..spec.find("[columns]").unwrap()].to_owned() } else { spec };
            let Ok(manifest) = folder.prepare(&format!("{spec}[cleaning]\non_invalid = \"drop\"\n")) else { continue };
            let report = &manifest.cleaning;
            prop_assert_eq!(report.rows_in, report.rows_out + report.dropped.values().sum::<u64>());
        }
    }
}

/// The k-core by the definition: drop what has too few until nothing has.
fn core(log: &[(u8, u8, u16)], k: usize) -> Vec<(u8, u8, u16)> {
    let mut kept = log.to_vec();
    loop {
        let of_user = |user: u8| kept.iter().filter(|row| row.0 == user).count();
        let of_item = |item: u8| kept.iter().filter(|row| row.1 == item).count();
        let next: Vec<_> =
            kept.iter().filter(|row| of_user(row.0) >= k && of_item(row.1) >= k).copied().collect();
        if next.len() == kept.len() {
            return kept;
        }
        kept = next;
    }
}

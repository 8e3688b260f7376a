//! `muster data stats`: numbers of a dataset, drift against another one, and the page with charts.

#![allow(clippy::unwrap_used, reason = "a command that cannot be run has failed")]

use std::fmt::Write as _;
use std::fs;

use muster_tests::folder::Folder;
use muster_tests::refusal::{Refusal, assert_refused};
use muster_tests::small::prepared;

const MUSTER: &str = env!("CARGO_BIN_EXE_muster-under-test");

/// Prepares a log of 600 events over three weeks as `name`: each of 20 users with each of `items`, one type in two hours.
fn prepare(folder: &Folder, name: &str, items: std::ops::Range<u32>, kinds: [&str; 2], hour: u64) {
    let monday = 1_704_067_200_u64; // 2024-01-01
    let mut log = String::from("user,item,time,event\n");
    for user in 0..20 {
        for (at, item) in items.clone().enumerate() {
            let day = (at as u64 % 3) * 7;
            let time = monday + day * 86_400 + (hour + user % 2) * 3600 + at as u64;
            let _ = writeln!(log, "u{user},i{item},{time},{}", kinds[at % 2]);
        }
    }
    folder.write(&format!("{name}.csv"), log);
    let columns = "[columns]\nuser = \"user\"\nitem = \"item\"\ntime = \"time\"\nevent = \"event\"\n";
    folder.write(
        &format!("{name}.toml"),
        format!("name = \"{name}\"\ninput = \"{name}.csv\"\nformat = \"csv\"\npartitions = 4\n{columns}"),
    );
    folder.result(&["prepare", &format!("{name}.toml"), "--out", name]);
}

fn two_datasets() -> Folder {
    let folder = Folder::new(MUSTER);
    prepare(&folder, "before", 0..30, ["view", "buy"], 8);
    prepare(&folder, "after", 10..40, ["view", "cart"], 20);
    folder
}

#[test]
fn numbers_are_those_of_the_log() {
    let folder = two_datasets();
    let stats = folder.result(&["data", "stats", "before"]);
    assert_eq!((&stats["users"], &stats["items"], &stats["events"]), (&20.into(), &30.into(), &600.into()));
    assert_eq!(stats["event_types"], serde_json::json!([["buy", 300], ["view", 300]]));
    let hours = stats["hours"].as_array().unwrap();
    assert_eq!((&hours[8], &hours[9], &hours[10]), (&300.into(), &300.into(), &0.into()));
    // Ten items of thirty are seen in each week, and in no earlier one.
    let weeks = serde_json::json!([
        {"monday": "2024-01-01", "events": 200, "unknown": 200},
        {"monday": "2024-01-08", "events": 200, "unknown": 200},
        {"monday": "2024-01-15", "events": 200, "unknown": 200},
    ]);
    assert_eq!(stats["weeks"], weeks);
    let half = &stats["popularity"].as_array().unwrap().iter().find(|point| point["items"] == 0.5).unwrap()["events"];
    assert!((half.as_f64().unwrap() - 0.5).abs() < 1e-12, "{stats}");
    assert_eq!(stats["at_least"][4], serde_json::json!({"events": 16, "users": 1.0}));
    assert!(stats["drift"].is_null());
}

#[test]
fn drift_is_nothing_against_itself_and_much_against_another_log() {
    let folder = two_datasets();
    let same = folder.result(&["data", "stats", "before", "--against", "before"])["drift"].clone();
    for part in ["popularity", "event_types", "hours"] {
        assert_eq!(same[part], serde_json::json!({"psi": 0.0, "jensen_shannon": 0.0}), "{same}");
    }
    assert_eq!(same["unknown_events"], 0.0);

    let drift = folder.result(&["data", "stats", "after", "--against", "before"])["drift"].clone();
    let third = 1.0 / 3.0;
    for part in ["unknown_items", "unknown_events"] {
        assert!((drift[part].as_f64().unwrap() - third).abs() < 1e-12, "{drift}");
    }
    // No hour in common is one bit; half of the types, and two thirds of the items, are shared.
    assert_eq!(drift["hours"]["jensen_shannon"], 1.0);
    for (part, bits) in [("event_types", 0.5), ("popularity", third)] {
        assert!((drift[part]["jensen_shannon"].as_f64().unwrap() - bits).abs() < 1e-9, "{drift}");
    }
    let unknown: u64 =
        drift["weeks"].as_array().unwrap().iter().map(|week| week["unknown"].as_u64().unwrap()).sum();
    assert_eq!(unknown, 200);
}

#[test]
fn the_page_is_one_file_without_scripts_or_links_and_the_same_each_time() {
    let folder = two_datasets();
    let args = ["data", "stats", "after", "--against", "before", "--html", "page.html"];
    let page = || {
        folder.result(&args);
        fs::read_to_string(folder.at("page.html")).unwrap()
    };
    let first = page();
    assert!(first.starts_with("<!DOCTYPE html>") && first.matches("<svg").count() == 1, "{first}");
    assert_eq!(first.matches("<g transform").count(), 5, "five charts");
    let without_namespace = first.replace("http://www.w3.org/2000/svg", "");
    for fetched in ["<script", "http:", "https:", "src=", "NaN"] {
        assert!(!without_namespace.contains(fetched), "{fetched}");
    }
    assert!(is_balanced(&first), "{first}");
    assert_eq!(first, page());
}

/// Whether each element that is opened is closed, in order.
fn is_balanced(page: &str) -> bool {
    let mut open = Vec::new();
    for tag in page.split('<').skip(1).filter_map(|rest| rest.split_once('>')).map(|(tag, _)| tag) {
        if let Some(name) = tag.strip_prefix('/') {
            if open.pop() != Some(name) {
                return false;
            }
        } else if !tag.ends_with('/') && !tag.starts_with(['!', 'm']) {
            open.push(tag.split(' ').next().unwrap_or_default());
        }
    }
    open.is_empty()
}

#[test]
fn a_dataset_without_types_and_hours_has_numbers_all_the_same() {
    let folder = prepared(MUSTER);
    let stats = folder.result(&["data", "stats", "prepared", "--against", "prepared"]);
    assert_eq!(
        (&stats["event_types"], &stats["drift"]["event_types"]),
        (&serde_json::json!([]), &serde_json::Value::Null)
    );
    let refused = folder.muster(&["data", "stats", "prepared", "--against", "nothing"]);
    assert_refused(&refused, Refusal { code: 2, file: "manifest.json", field: "", words: &["nothing"] });
}

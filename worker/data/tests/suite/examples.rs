//! The examples over real logs whose cleaning reports are counted a second time, in Python.

use std::path::{Path, PathBuf};

use muster_proto::dataset::time::parse_iso8601;
use serde_json::{Value, json};

use crate::fixture::Folder;
use crate::independent::{count, counted};
use crate::real::{prepare_example, real_data};

/// The unpacked Python package with the Open Bandit Data, which `.ci/run` fetches from PyPI; none, loudly, without it.
fn open_bandit() -> Option<PathBuf> {
    let folder = std::env::var_os("MUSTER_OBP").map(PathBuf::from);
    let found = folder.filter(|folder| folder.join("obp/dataset/obd").is_dir());
    if found.is_none() {
        assert!(std::env::var_os("MUSTER_REQUIRE_ALL").is_none(), "MUSTER_OBP has no obp/dataset/obd");
        println!("skipped: MUSTER_OBP is not set to the unpacked Python package obp 0.4.1");
    }
    found
}

/// Prepares an example and holds its report against Python's, then against what both said when it was written.
fn check(name: &str, data: &Path, mut told: Value, span: (&str, &str), expected: &Value) {
    told["rules"]["min_time"] = parse_iso8601(span.0).unwrap().into();
    told["rules"]["max_time"] = parse_iso8601(span.1).unwrap().into();
    let Some(python) = count(&told) else { return };
    let folder = Folder::new();
    let manifest = prepare_example(name, data, &folder.out());
    let found = counted(&folder, &manifest);
    println!("{name}: {found}");
    assert_eq!(found, python, "{name}");
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&found[key], value, "{name}: {key}");
    }
}

#[test]
fn retailrocket_is_cleaned_as_python_counts() {
    let file = "raw-logs/sample_retailrocket.csv";
    let Some(data) = real_data(file) else { return };
    let told = json!({
        "file": data.join(file), "separator": "\t",
        "columns": {"user": "session_id", "item": "item_id", "time": "timestamp"},
        "rules": {"near_duplicates": 10_000, "min_item_events": 2, "min_events": 2},
    });
    check(
        "retailrocket",
        &data,
        told,
        ("2015-05-03", "2015-09-19"),
        &json!({
            "rows_in": 10_080, "rows_out": 6139, "items": 2184,
            "dropped": {"duplicate": 17, "near_duplicate": 132, "rare_item": 3343, "short_sequence": 449},
        }),
    );
}

#[test]
fn diginetica_is_cleaned_as_python_counts() {
    let file = "raw-logs/diginetica-purchases.csv";
    let Some(data) = real_data(file) else { return };
    let told = json!({
        "file": data.join(file), "separator": ";", "time_format": "iso",
        "columns": {"user": "sessionId", "item": "itemId", "time": "eventdate"},
        "rules": {"min_item_events": 2, "min_events": 2},
    });
    check(
        "diginetica",
        &data,
        told,
        ("2016-01-01", "2016-07-01"),
        &json!({
            "rows_in": 18_025, "rows_out": 3023, "items": 1802,
            "dropped": {"duplicate": 219, "rare_item": 8163, "short_sequence": 6620},
        }),
    );
}

#[test]
fn open_bandit_clicks_are_cleaned_as_python_counts() {
    let Some(data) = open_bandit() else { return };
    let files = ["random", "bts"].map(|policy| data.join(format!("obp/dataset/obd/{policy}/all/all.csv")));
    let told = json!({
        "file": files, "separator": ",", "time_format": "iso",
        "columns": {
            "user": "user_feature_3", "item": "item_id", "time": "timestamp",
            "numeric": ["click", "propensity_score"],
        },
        "rules": {"required": ["click", "propensity_score"], "ranges": {"propensity_score": [0.001, 1]}},
    });
    // The script names the column as the file does, the program as the dataset does.
    let Some(python) = count(&{
        let mut told = told.clone();
        told["rules"]["min_time"] = parse_iso8601("2019-11-24").unwrap().into();
        told["rules"]["max_time"] = parse_iso8601("2019-12-01").unwrap().into();
        told
    }) else {
        return;
    };
    let folder = Folder::new();
    let manifest = prepare_example("obp", &data, &folder.out());
    let mut found = counted(&folder, &manifest);
    let dropped = found["dropped"].as_object_mut().unwrap();
    if let Some(rows) = dropped.remove("out_of_range_propensity") {
        dropped.insert("out_of_range_propensity_score".to_owned(), rows);
    }
    println!("obp: {found}");
    assert_eq!(found, python);
    let clicks: f32 = (0..manifest.partitions.len() as u32)
        .flat_map(|index| folder.open().load(index).unwrap().numeric[0].clone())
        .sum();
    assert_eq!((manifest.cleaning.rows_in, clicks as u32), (20_000, 80));
    assert_eq!(found["dropped"], json!({"out_of_range_propensity_score": 110}));
}

//! The counts of every cleaning rule on real logs, against a count in Python that shares no code with the program.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use muster_proto::dataset::DatasetManifest;
use serde_json::{Value, json};

use crate::fixture::Folder;
use crate::real::real_data;

/// A log and what the Python script is told of it.
struct Case {
    file: &'static str,
    /// Lines of `[columns]`.
    columns: &'static str,
    /// The tables after it.
    rules: &'static str,
    told: Value,
}

/// What the script counts of a case; none, loudly, where there is no Python.
pub(crate) fn count(told: &Value) -> Option<Value> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/count.py");
    let child = Command::new("python3").arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let Ok(mut child) = child else {
        assert!(std::env::var_os("MUSTER_REQUIRE_ALL").is_none(), "there is no python3");
        println!("skipped: there is no python3");
        return None;
    };
    child.stdin.take().unwrap().write_all(told.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

/// What the script counts, as the program counted it.
pub(crate) fn counted(folder: &Folder, manifest: &DatasetManifest) -> Value {
    let dataset = folder.open();
    let mut unknown = 0;
    for index in 0..manifest.partitions.len() as u32 {
        let items = dataset.load(index).unwrap().items;
        unknown += items.iter().filter(|item| manifest.unknown_item && **item == 0).count();
    }
    json!({
        "rows_in": manifest.cleaning.rows_in,
        "rows_out": manifest.cleaning.rows_out,
        "dropped": manifest.cleaning.dropped,
        "train": manifest.splits.train,
        "valid": manifest.splits.valid,
        "test": manifest.splits.test,
        "items": manifest.items,
        "unknown": unknown,
    })
}

impl Case {
    /// Compares all counts; gives the rules that dropped rows.
    fn check(&self) -> Vec<String> {
        let Some(data) = real_data(self.file) else { return vec![] };
        let file = data.join(self.file);
        let mut told = self.told.clone();
        told["file"] = file.display().to_string().into();
        let Some(expected) = count(&told) else { return vec![] };
        let folder = Folder::new();
        let format = if self.told["separator"] == ";" { "semicolon" } else { "tsv" };
        let head = format!("name = \"log\"\ninput = \"{}\"\nformat = \"{format}\"\n", file.display());
        let manifest = folder.prepare(&format!("{head}[columns]\n{}{}", self.columns, self.rules)).unwrap();
        let found = counted(&folder, &manifest);
        println!("{}: {found}", self.file);
        assert_eq!(found, expected, "{}", self.file);
        manifest.cleaning.dropped.into_keys().collect()
    }
}

const MOVIELENS: &str = "movielens-100k/ml-100k.inter";
const DIGINETICA: &str = "raw-logs/diginetica-purchases.csv";
const RETAILROCKET: &str = "raw-logs/sample_retailrocket.csv";
/// 1 October 1997 to 31 March 1998, and 20 June 2015 to 1 September 2015.
const YEARS: (i64, i64) = (875_664_000_000, 891_302_400_000);
const SUMMER: (i64, i64) = (1_434_758_400_000, 1_441_065_600_000);

fn movielens(rules: &'static str, told: &Value) -> Case {
    let mut told = json!({
        "separator": "\t",
        "columns": {
            "user": "user_id:token", "item": "item_id:token", "time": "timestamp:float", "numeric": ["rating:float"],
        },
        "rules": told,
    });
    told["rules"]["min_time"] = YEARS.0.into();
    told["rules"]["max_time"] = YEARS.1.into();
    let columns = "user = \"user_id:token\"\nitem = \"item_id:token\"\ntime = \"timestamp:float\"\n\
        numeric = [\"rating:float\"]\n";
    Case { file: MOVIELENS, columns, rules, told }
}

fn retailrocket(rules: &'static str, told: &Value) -> Case {
    let mut told = json!({
        "separator": "\t",
        "columns": {"user": "user_id", "item": "item_id", "time": "timestamp", "event_id": "session_id"},
        "rules": told,
    });
    told["rules"]["min_time"] = SUMMER.0.into();
    told["rules"]["max_time"] = SUMMER.1.into();
    let columns = "user = \"user_id\"\nitem = \"item_id\"\ntime = \"timestamp\"\nevent_id = \"session_id\"\n";
    Case { file: RETAILROCKET, columns, rules, told }
}

#[test]
fn every_rule_drops_what_python_counts_on_two_real_logs() {
    let cases = [
        movielens(
            "[cleaning]\nmin_time = \"1997-10-01\"\nmax_time = \"1998-03-31\"\nnear_duplicates = \"10s\"\n\
             min_user_events = 20\nmin_item_events = 15\nmax_user_events = 150\n\
             [[cleaning.ranges]]\ncolumn = \"rating:float\"\nmin = 2\nmax = 5\n\
             [cleaning.bots]\nmax_per_minute = 12\nmax_events = 400\n[sequences]\nmin_events = 25\n\
             [split]\nkind = \"time\"\nvalid = 0.1\ntest = 0.15\n[vocabulary]\nmin_train_events = 12\n",
            &json!({
                "near_duplicates": 10_000, "min_user_events": 20, "min_item_events": 15, "max_user_events": 150,
                "ranges": {"rating:float": [2, 5]}, "rates": [[12, 60_000]], "max_events": 400, "min_events": 25,
                "split": "time", "valid": 0.1, "test": 0.15, "min_train_events": 12,
            }),
        ),
        movielens(
            "[cleaning]\nmin_time = \"1997-10-01\"\nmax_time = \"1998-03-31\"\nmin_user_events = 5\n\
             required = [\"rating:float\"]\n\
             [cleaning.bots]\nmax_per_minute = 6\nmax_per_hour = 60\nmax_events = 100\naction = \"cut\"\n\
             [vocabulary]\nmin_train_events = 5\n",
            &json!({
                "min_user_events": 5, "required": ["rating:float"], "rates": [[6, 60_000], [60, 3_600_000]],
                "max_events": 100, "cut": true, "min_train_events": 5,
            }),
        ),
        retailrocket(
            "[cleaning]\nmin_time = \"2015-06-20\"\nmax_time = \"2015-09-01\"\nmin_user_events = 2\n\
             min_item_events = 2\n[split]\nkind = \"time\"\nvalid = 0.1\ntest = 0.1\n",
            &json!({"min_user_events": 2, "min_item_events": 2, "split": "time", "valid": 0.1, "test": 0.1}),
        ),
    ];
    let mut rules: Vec<String> = cases.iter().flat_map(Case::check).collect();
    rules.sort();
    rules.dedup();
    // Where the logs are, no rule of these cases may be without work.
    let expected = [
        "bot_length",
        "bot_rate",
        "impossible_time",
        "out_of_range_rating:float",
        "over_max_user_events",
        "rare_item",
        "rare_user",
        "repeated_event_id",
        "short_sequence",
    ];
    assert!(rules.is_empty() || rules == expected, "{rules:?}");
}

#[test]
fn near_duplicates_and_exact_ones_are_what_python_counts_without_ids() {
    let case = retailrocket(
        "[cleaning]\nmin_time = \"2015-06-20\"\nmax_time = \"2015-09-01\"\nnear_duplicates = \"5m\"\n\
         [cleaning.bots]\nmax_per_minute = 5\nmax_events = 30\naction = \"cut\"\n[sequences]\nmin_events = 2\n\
         [[cleaning.ranges]]\ncolumn = \"session_id\"\nmax = 4000\n",
        &json!({
            "near_duplicates": 300_000, "rates": [[5, 60_000]], "max_events": 30, "cut": true, "min_events": 2,
            "ranges": {"session_id": [0, 4000]},
        }),
    );
    let mut told = case.told;
    told["columns"].as_object_mut().unwrap().remove("event_id");
    told["columns"]["numeric"] = json!(["session_id"]);
    let columns =
        "user = \"user_id\"\nitem = \"item_id\"\ntime = \"timestamp\"\nnumeric = [\"session_id\"]\n";
    let rules = Case { columns, told, ..case }.check();
    for rule in ["bot_length", "bot_rate", "duplicate", "near_duplicate", "out_of_range_session_id"] {
        assert!(rules.is_empty() || rules.iter().any(|found| found == rule), "{rule}: {rules:?}");
    }
}

#[test]
fn items_that_a_user_repeats_are_what_python_counts() {
    for kind in ["consecutive", "repeats", "keep"] {
        let rules: &'static str = match kind {
            "consecutive" => "[cleaning]\nmax_time = \"2015-09-01\"\nduplicates = \"consecutive\"\n",
            "repeats" => "[cleaning]\nmax_time = \"2015-09-01\"\nduplicates = \"repeats\"\n",
            _ => "[cleaning]\nmax_time = \"2015-09-01\"\nduplicates = \"keep\"\n",
        };
        let mut case = retailrocket(rules, &json!({ "duplicates": kind }));
        case.told["rules"]["min_time"] = 0.into();
        case.check();
    }
}

#[test]
fn missing_users_of_diginetica_are_what_python_counts() {
    let head = "[cleaning]\nmin_user_events = 2\n";
    let as_user = "user = \"userId\"\nitem = \"itemId\"\ntime = \"timeframe\"\nevent_id = \"ordernumber\"\n";
    let told = |columns: Value, rules: Value| {
        let mut told = json!({"separator": ";", "columns": columns, "rules": rules});
        told["rules"]["min_time"] = 0.into();
        told["rules"]["max_time"] = 4_102_444_800_000_i64.into();
        told["rules"]["min_user_events"] = 2.into();
        told
    };
    let by_user = json!({"user": "userId", "item": "itemId", "time": "timeframe", "event_id": "ordernumber"});
    let case = Case { file: DIGINETICA, columns: as_user, rules: head, told: told(by_user, json!({})) };
    let rules = case.check();
    let expected = ["impossible_time", "missing_user", "rare_user", "repeated_event_id"];
    assert!(rules.is_empty() || rules == expected, "{rules:?}");
    let as_feature =
        "user = \"sessionId\"\nitem = \"itemId\"\ntime = \"timeframe\"\nnumeric = [\"userId\"]\n";
    let by_session =
        json!({"user": "sessionId", "item": "itemId", "time": "timeframe", "numeric": ["userId"]});
    let case = Case {
        file: DIGINETICA,
        columns: as_feature,
        rules: "[cleaning]\nmin_user_events = 2\nrequired = [\"userId\"]\n",
        told: told(by_session, json!({"required": ["userId"]})),
    };
    let rules = case.check();
    assert!(rules.is_empty() || rules.iter().any(|rule| rule == "missing_userId"), "{rules:?}");
}

//! Dataset files, times and manifests: what is read and what is refused.

use super::time::{format_iso8601, format_iso8601_exact, parse_iso8601};
use super::*;
use crate::config::{parse, reference};

const MINIMAL: &str =
    "name = \"a\"\ninput = \"a.csv\"\nformat = \"csv\"\n[columns]\nuser = \"u\"\nitem = \"i\"\n";

fn problems(text: &str) -> String {
    parse::<DatasetSpec>(text, "dataset.toml", &[]).unwrap_err().to_string()
}

#[test]
fn a_short_file_has_the_documented_defaults() {
    let spec: DatasetSpec = parse(MINIMAL, "dataset.toml", &[]).unwrap();
    assert_eq!((spec.partitions, spec.header, spec.kind), (64, true, DatasetKind::Events));
    assert_eq!(spec.input.paths(), ["a.csv"]);
    assert_eq!(spec.cleaning, CleaningSpec::default());
}

#[test]
fn an_override_replaces_the_input() {
    let spec: DatasetSpec = parse(MINIMAL, "dataset.toml", &["input=/logs/b.csv".to_owned()]).unwrap();
    assert_eq!(spec.input.paths(), ["/logs/b.csv"]);
}

#[test]
fn a_file_without_user_or_item_says_which_column_is_missing() {
    let text = problems("name = \"a\"\ninput = []\nformat = \"csv\"\npartitions = 0\n");
    assert!(text.contains("dataset.toml:2: input: names no file"), "{text}");
    assert!(text.contains("dataset.toml:4: partitions: 0 is not in 1..=4096"), "{text}");
    assert!(text.contains("columns.user: is required"), "{text}");
    assert!(text.contains("columns.item: is required"), "{text}");
}

#[test]
fn cleaning_rules_that_make_no_sense_are_refused() {
    let text = problems(&format!(
        "{MINIMAL}[cleaning]\nmin_time = \"soon\"\nmax_user_events = 0\nduplicates = \"none\"\n"
    ));
    assert!(text.contains("dataset.toml:8: cleaning.min_time: `soon` is not a date"), "{text}");
    assert!(text.contains("dataset.toml:9: cleaning.max_user_events: would drop every event"), "{text}");
    assert!(
        text.contains("dataset.toml:10: cleaning.duplicates: unknown value `none`, known are: keep"),
        "{text}"
    );
}

#[test]
fn two_columns_of_one_name_are_refused() {
    let text = problems(&format!("{MINIMAL}price = \"p\"\nnumeric = [\"price\"]\nlog1p = [\"cost\"]\n"));
    assert!(text.contains("two columns are named `price`"), "{text}");
    assert!(text.contains("columns.log1p.0: there is no numeric column `cost`"), "{text}");
}

#[test]
fn rules_on_columns_that_are_not_there_are_refused_all_at_once() {
    let text = problems(&format!(
        "{MINIMAL}price = \"cost\"\ncategorical = [\"brand\"]\n[cleaning]\nrequired = [\"prize\"]\nnear_duplicates = \"5s\"\n\
         max_field = \"20 MiB\"\n[[cleaning.ranges]]\ncolumn = \"brand\"\n[[cleaning.ranges]]\ncolumn = \"price\"\n\
         min = 5\nmax = 1\n[cleaning.bots]\nmax_per_minute = 0\n"
    ));
    for part in [
        "cleaning.required.0: unknown feature `prize`, did you mean `price`?",
        "cleaning.near_duplicates: a distance in time asks for `columns.time`",
        "cleaning.max_field: is over max_row",
        "cleaning.ranges.0.column: unknown numeric feature `brand`",
        "cleaning.ranges.0.min: neither min nor max is given",
        "cleaning.ranges.1.max: is below min",
        "cleaning.bots.max_per_minute: would drop every event",
        "cleaning.bots.max_per_minute: a rate asks for `columns.time`",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let text = problems(&format!("{MINIMAL}[cleaning.bots]\nmax_per_our = 1\n"));
    assert!(text.contains("unknown key `max_per_our`, did you mean `max_per_hour`?"), "{text}");
}

#[test]
fn a_split_by_time_needs_times_and_both_dates() {
    let text = problems(&format!("{MINIMAL}[split]\nkind = \"time\"\nvalid_from = \"2014-04-06\"\n"));
    assert!(text.contains("split.kind: `time` asks for `columns.time`"), "{text}");
    assert!(text.contains("split.test_from: is required beside valid_from"), "{text}");
    let text = problems(&format!("{MINIMAL}[split]\nvalid_from = \"soon\"\ntest_from = \"2014-04-06\"\n"));
    assert!(text.contains("split.valid_from: is for `kind = \"time\"` only"), "{text}");
    assert!(text.contains("split.valid_from: `soon` is not a date"), "{text}");
    let text = problems(&format!(
        "{MINIMAL}time = \"t\"\n[split]\nkind = \"time\"\nvalid_from = \"2014-04-06\"\ntest_from = \"2014-04-05\"\n"
    ));
    assert!(text.contains("split.test_from: is before valid_from"), "{text}");
}

#[test]
fn derived_columns_name_what_they_lack() {
    let text = problems(&format!(
        "{MINIMAL}[features]\nderive = [\"hour\", \"price_bucket\", \"user_buys\", \"hour\"]\nprice_buckets = 1\n"
    ));
    assert!(text.contains("features.derive.0: `hour` asks for `columns.time`"), "{text}");
    assert!(text.contains("features.derive.1: `price_bucket` asks for `columns.price`"), "{text}");
    assert!(text.contains("features.derive.2: `user_buys` asks for `columns.event`"), "{text}");
    assert!(text.contains("features.derive.3: two columns are named `hour`"), "{text}");
    assert!(text.contains("features.price_buckets: 1 is not in 2..=1024"), "{text}");
    let text = problems(&format!("{MINIMAL}[features]\nderive = [\"weekdays\"]\n"));
    assert!(text.contains("unknown value `weekdays`, did you mean `weekday`?"), "{text}");
}

#[test]
fn every_key_is_on_the_reference_page() {
    let example = DatasetSpec::example();
    assert_eq!(reference::undocumented(&DatasetSpec::sections(), &example).unwrap(), Vec::<String>::new());
    let page = DatasetSpec::reference_page().unwrap();
    assert!(page.contains("| `partitions` | whole number | `64` |"), "{page}");
    assert!(page.contains("| `optional` | true or false | `false` |"), "{page}");
}

#[test]
fn iso_times_are_read_in_every_accepted_form() {
    for (text, millis) in [
        ("1970-01-01", 0),
        ("2014-04-06T20:21:58.444Z", 1_396_815_718_444),
        ("2014-04-06 20:21:58", 1_396_815_718_000),
        ("2014-04-06T22:21+02:00", 1_396_815_660_000),
        ("2014-04-06T20:21:58.4-0130", 1_396_821_118_400),
        ("2000-02-29", 951_782_400_000),
        ("1969-12-31T23:59:59Z", -1000),
    ] {
        assert_eq!(parse_iso8601(text), Some(millis), "{text}");
    }
}

#[test]
fn impossible_dates_are_refused() {
    for text in [
        "",
        "2014",
        "2014-02-29",
        "2014-13-01",
        "2014-04-06T25:00",
        "2014-04-06T20:21:58.x",
        "2014-04-06X",
        "äöüäöü",
    ] {
        assert_eq!(parse_iso8601(text), None, "{text}");
    }
}

#[test]
fn times_are_written_as_they_are_read() {
    for millis in [0, 1_396_815_718_000, 951_782_400_000, -1000, 4_102_444_800_000] {
        assert_eq!(parse_iso8601(&format_iso8601(millis)), Some(millis));
        assert_eq!(parse_iso8601(&format_iso8601_exact(millis + 7)), Some(millis + 7));
    }
}

#[test]
fn the_partition_of_a_user_never_changes() {
    let found: Vec<u32> = ["1", "2", "user", ""].iter().map(|key| partition_of(key, 64)).collect();
    assert_eq!(found, [22, 1, 31, 47]);
}

fn manifest() -> DatasetManifest {
    let entry =
        |users, first_user, events| PartitionEntry { users, first_user, events, ..Default::default() };
    let mut manifest = DatasetManifest {
        schema_version: DatasetManifest::SCHEMA_VERSION,
        name: "a".into(),
        kind: DatasetKind::Events,
        source: SourceSpec::default(),
        columns: vec![Column {
            name: "price".into(),
            kind: ColumnKind::Numeric,
            of: ColumnOf::Event,
            vocabulary: 0,
        }],
        users: 3,
        items: 2,
        unknown_item: false,
        events: 9,
        split: SplitSpec::default(),
        splits: SplitCounts { train: 3, valid: 3, test: 3 },
        time_range: None,
        cleaning: CleaningReport::default(),
        partitions: vec![entry(1, 0, 4), entry(2, 1, 5)],
        items_file: None,
        vocabularies: vec![],
        digest: String::new(),
    };
    manifest.seal().unwrap();
    manifest
}

#[test]
fn a_manifest_reads_back_as_it_is_written() {
    let written = manifest();
    assert_eq!(DatasetManifest::from_json(&written.to_json().unwrap()).unwrap(), written);
    assert_eq!((written.rows_of("item"), written.rows_of("price")), (Some(2), None));
}

#[test]
fn a_changed_or_foreign_manifest_is_refused() {
    let text = manifest().to_json().unwrap();
    let error = |text: &str| DatasetManifest::from_json(text).unwrap_err().to_string();
    assert!(error("{}").starts_with("is not a dataset manifest"));
    assert!(
        error(&text.replace("\"schema_version\": 1", "\"schema_version\": 9"))
            .contains("has schema version 9")
    );
    assert!(error(&text.replace("\"users\": 3", "\"users\": 4")).starts_with("was changed after"));
    let mut inconsistent = manifest();
    inconsistent.users = 4;
    inconsistent.seal().unwrap();
    assert!(
        error(&inconsistent.to_json().unwrap()).starts_with("contradicts itself: partitions have 3 users")
    );
}

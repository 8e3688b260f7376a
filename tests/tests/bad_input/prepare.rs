//! Dataset files and logs that cannot be prepared. None leaves a manifest, without which there is no dataset.

use muster_tests::folder::Folder;
use muster_tests::refusal::{Refusal, assert_refused};
use muster_tests::small::{DATASET, log};

use crate::folder;

/// Prepares what is in the folder, checks the refusal, and that no dataset came of it.
fn refuse(folder: &Folder, expected: Refusal<'_>) {
    let outcome = folder.muster(&["prepare", "dataset.toml", "--out", "prepared"]);
    assert_refused(&outcome, expected);
    assert!(!folder.at("prepared/manifest.json").exists(), "a refused dataset looks whole");
}

/// The good folder with another dataset file.
fn with_dataset(text: &str) -> Folder {
    let folder = folder();
    folder.write("dataset.toml", text);
    folder
}

/// The good folder with another log.
fn with_log(text: impl AsRef<[u8]>) -> Folder {
    let folder = folder();
    folder.write("log.csv", text);
    folder
}

/// The good log with the first occurrence of `old` replaced.
fn log_with(old: &str, new: &str) -> String {
    let log = log();
    assert!(log.contains(old), "{old} is not in the log");
    log.replacen(old, new, 1)
}

#[test]
fn a_dataset_file_that_is_not_there_is_named() {
    let folder = Folder::new(crate::MUSTER);
    refuse(
        &folder,
        Refusal { code: 2, file: "dataset.toml", field: "", words: &["dataset.toml", "no such file"] },
    );
}

#[test]
fn a_dataset_file_that_is_no_toml_is_refused_with_its_line() {
    let folder = with_dataset("name = \"small\"\ninput = [\n");
    refuse(&folder, Refusal { code: 2, file: "dataset.toml", field: "", words: &["dataset.toml:"] });
}

#[test]
fn a_key_that_is_unknown_comes_with_the_nearest_one() {
    let folder = with_dataset(&DATASET.replace("partitions", "partitoins"));
    refuse(&folder, Refusal { code: 2, file: "dataset.toml", field: "partitoins", words: &["partitions"] });
}

#[test]
fn a_value_of_the_wrong_type_is_named() {
    let folder = with_dataset(&DATASET.replace("partitions = 4", "partitions = \"four\""));
    refuse(&folder, Refusal { code: 2, file: "dataset.toml", field: "partitions", words: &["partitions"] });
}

#[test]
fn no_partitions_at_all_are_refused() {
    let folder = with_dataset(&DATASET.replace("partitions = 4", "partitions = 0"));
    refuse(
        &folder,
        Refusal { code: 2, file: "dataset.toml", field: "partitions", words: &["0 is not in 1..="] },
    );
}

#[test]
fn a_format_that_does_not_exist_is_refused_with_those_that_do() {
    let folder = with_dataset(&DATASET.replace("\"csv\"", "\"xlsx\""));
    refuse(&folder, Refusal { code: 2, file: "dataset.toml", field: "format", words: &["xlsx", "parquet"] });
}

#[test]
fn a_rule_with_an_impossible_time_is_refused() {
    let folder = with_dataset(&format!("{DATASET}\n[cleaning]\nmin_time = \"yesterday\"\n"));
    refuse(
        &folder,
        Refusal { code: 2, file: "dataset.toml", field: "cleaning.min_time", words: &["yesterday"] },
    );
}

#[test]
fn an_override_without_a_value_is_refused() {
    let outcome = folder().muster(&["prepare", "dataset.toml", "--out", "prepared", "--set", "partitions"]);
    assert_refused(
        &outcome,
        Refusal { code: 2, file: "dataset.toml", field: "--set", words: &["partitions", "="] },
    );
}

#[test]
fn a_log_that_is_not_there_is_named_with_where_to_get_it() {
    let source = "\n[source]\nget = \"ask the shop\"\nlicence = \"CC0\"\n";
    let folder = with_dataset(&format!("{DATASET}{source}").replace("log.csv", "missing.csv"));
    refuse(
        &folder,
        Refusal {
            code: 2,
            file: "missing.csv",
            field: "input",
            words: &["missing.csv", "ask the shop", "CC0"],
        },
    );
}

#[test]
fn an_input_below_a_variable_that_is_not_set_names_the_variable() {
    let folder = with_dataset(&DATASET.replace("log.csv", "${MUSTER_DATA}/log.csv"));
    refuse(&folder, Refusal { code: 2, file: "", field: "input", words: &["MUSTER_DATA", "log.csv"] });
}

#[test]
fn an_empty_log_is_refused() {
    refuse(&with_log(""), Refusal { code: 2, file: "log.csv", field: "input", words: &["no rows"] });
}

#[test]
fn a_log_with_a_header_and_nothing_below_is_refused() {
    refuse(
        &with_log("user,item,time,price,label\n"),
        Refusal { code: 2, file: "log.csv", field: "input", words: &["no rows"] },
    );
}

#[test]
fn a_column_that_is_missing_is_named_with_those_that_are_there() {
    let folder = with_log(log_with("user,item", "customer,item"));
    refuse(&folder, Refusal { code: 2, file: "log.csv", field: "user", words: &["user", "customer"] });
}

#[test]
fn a_row_with_a_field_too_many_is_named_by_its_line() {
    let folder = with_log(log_with(",1400000060,", ",1400000060,9,"));
    refuse(&folder, Refusal { code: 2, file: "log.csv", field: "line 3", words: &["log.csv:3"] });
}

#[test]
fn a_time_that_is_no_number_is_named_by_line_and_column() {
    let folder = with_log(log_with("1400000060", "noon"));
    refuse(&folder, Refusal { code: 2, file: "log.csv", field: "time", words: &["noon", "log.csv:3"] });
}

#[test]
fn a_price_that_is_not_a_number_is_named_by_line_and_column() {
    let folder = with_log(log_with("1.5,0", "NaN,0"));
    refuse(&folder, Refusal { code: 2, file: "log.csv", field: "price", words: &["NaN", "log.csv:2"] });
}

#[test]
fn a_price_below_zero_is_refused() {
    let folder = with_log(log_with("1.5,0", "-1.5,0"));
    refuse(&folder, Refusal { code: 2, file: "log.csv", field: "price", words: &["-1.5", "log.csv:2"] });
}

#[test]
fn a_label_that_is_neither_yes_nor_no_is_refused() {
    let folder = with_log(log_with("1.5,0", "1.5,7"));
    refuse(&folder, Refusal { code: 2, file: "log.csv", field: "label", words: &["7", "log.csv:2"] });
}

#[test]
fn bytes_that_are_no_text_are_refused_with_their_line() {
    let mut log = log().into_bytes();
    let place = log.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    log[place] = 0xff;
    refuse(&with_log(log), Refusal { code: 2, file: "log.csv", field: "line 2", words: &["UTF-8", "user"] });
}

#[test]
fn rules_that_leave_nothing_are_refused() {
    let folder = with_dataset(&format!("{DATASET}\n[cleaning]\nmin_user_events = 1000\n"));
    refuse(&folder, Refusal { code: 2, file: "", field: "cleaning", words: &["no event is left"] });
}

#[test]
fn more_items_than_allowed_end_before_memory_does() {
    let folder = with_dataset(&format!("{DATASET}\n[cleaning]\nmax_items = 3\n"));
    refuse(
        &folder,
        Refusal { code: 2, file: "", field: "item", words: &["more than 3", "cleaning.max_items"] },
    );
}

#[test]
fn a_json_line_that_is_torn_is_named() {
    let folder = with_dataset(&DATASET.replace("\"csv\"", "\"jsonl\""));
    let line = "{\"user\":\"u1\",\"item\":\"i1\",\"time\":1400000000,\"price\":1.0,\"label\":0}\n";
    folder.write("log.csv", format!("{line}{{\"user\":\"u1\",\"it\n"));
    refuse(&folder, Refusal { code: 2, file: "log.csv", field: "line 2", words: &["log.csv:2"] });
}

#[test]
fn text_that_calls_itself_parquet_is_refused() {
    let folder = with_dataset(&DATASET.replace("\"csv\"", "\"parquet\""));
    refuse(&folder, Refusal { code: 2, file: "log.csv", field: "", words: &["parquet"] });
}

#[test]
fn a_parquet_file_that_is_cut_short_is_refused() {
    let folder = folder();
    let series = muster_data::SeriesArgs { sequences: 40, steps: 8, width: 2, seed: 1 };
    muster_data::generate_series(&series, &folder.at("log.parquet")).unwrap();
    let bytes = std::fs::read(folder.at("log.parquet")).unwrap();
    folder.write("log.parquet", &bytes[..bytes.len() - 40]);
    folder.write("dataset.toml", DATASET.replace("csv", "parquet"));
    refuse(
        &folder,
        Refusal { code: 2, file: "log.parquet", field: "", words: &["not a whole parquet file"] },
    );
}

#[test]
fn a_pattern_that_stands_for_no_file_is_refused() {
    let folder = with_dataset(&DATASET.replace("log.csv", "logs/*.csv"));
    refuse(&folder, Refusal { code: 2, file: "logs/*.csv", field: "input", words: &["stands for no file"] });
}

#[test]
fn a_folder_of_logs_that_contains_itself_is_refused() {
    let folder = with_dataset(&DATASET.replace("log.csv", "logs"));
    folder.write("logs/day.csv", log());
    std::os::unix::fs::symlink(".", folder.at("logs/again")).unwrap();
    let words = &["logs/again", "which contains it"];
    refuse(&folder, Refusal { code: 2, file: "logs/again", field: "input", words });
}

#[test]
fn a_torn_file_among_good_ones_is_left_out_and_told_of() {
    let folder = with_dataset(&DATASET.replace("log.csv", "logs"));
    folder.write("logs/day-1.csv", log());
    folder.write("logs/day-2.csv.gz", [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1]);
    let result = folder.result(&["prepare", "dataset.toml", "--out", "prepared"]);
    assert_eq!(result["left_out"][0]["file"], "logs/day-2.csv.gz", "{result}");
    assert!(result["quarantine"].as_str().unwrap().ends_with("quarantine.jsonl"), "{result}");
    let folder = with_dataset(&format!("{DATASET}\n[cleaning]\nstrict = true\n").replace("log.csv", "logs"));
    folder.write("logs/day-1.csv", log());
    folder.write("logs/day-2.csv.gz", [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1]);
    refuse(
        &folder,
        Refusal { code: 2, file: "day-2.csv.gz", field: "", words: &["is not a whole gzip file"] },
    );
}

#[test]
fn a_rule_that_does_not_exist_comes_with_the_nearest_one() {
    let folder = with_dataset(&format!("{DATASET}\n[cleaning.bots]\nmax_per_our = 3\n"));
    let words = &["did you mean `max_per_hour`?"];
    refuse(&folder, Refusal { code: 2, file: "dataset.toml", field: "cleaning.bots.max_per_our", words });
}

#[test]
fn a_split_by_time_before_all_events_is_refused() {
    let split = "\n[split]\nkind = \"time\"\nvalid_from = \"1980-01-01\"\ntest_from = \"1980-01-02\"\n";
    let folder = with_dataset(&format!("{DATASET}{split}"));
    refuse(
        &folder,
        Refusal { code: 2, file: "", field: "split.valid_from", words: &["1980-01-01", "train on"] },
    );
}

#[test]
fn a_folder_with_files_in_it_is_not_written_to() {
    let folder = folder();
    folder.write("prepared/precious.txt", "mine");
    refuse(&folder, Refusal { code: 2, file: "prepared", field: "--out", words: &["is not a dataset"] });
    assert_eq!(std::fs::read_dir(folder.at("prepared")).unwrap().count(), 1);
}

#[test]
fn a_file_where_a_folder_should_be_is_refused() {
    let folder = folder();
    folder.write("prepared", "mine");
    refuse(&folder, Refusal { code: 2, file: "prepared", field: "--out", words: &["prepared"] });
}

#[test]
fn a_disk_that_fills_up_leaves_no_dataset() {
    let folder = folder();
    let outcome = folder.muster_on_full_disk(0, &["prepare", "dataset.toml", "--out", "prepared"]);
    assert_refused(&outcome, Refusal { code: 1, file: "", field: "", words: &["file too large"] });
    assert!(!folder.at("prepared/manifest.json").exists());
}

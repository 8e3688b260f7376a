//! Everything that can be wrong with the input: each error names the file, the line and the column, and
//! nothing is left behind.

use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, Int64Array, ListArray, types::Int32Type};

use crate::fixture::{CSV, Folder};
use crate::formats::parquet;

fn csv(rows: &str) -> String {
    Folder::with("log.csv", format!("user,item,time\n{rows}")).refused(CSV)
}

#[track_caller]
fn says(error: &str, parts: &[&str]) {
    for part in parts {
        assert!(error.contains(part), "`{error}` lacks `{part}`");
    }
}

#[test]
fn a_missing_column_is_named_beside_those_there_are() {
    let error = Folder::with("log.csv", "user,thing,time\n1,a,1\n").refused(CSV);
    says(&error, &["log.csv", "there is no column `item`", "user, thing, time"]);
}

#[test]
fn a_column_that_occurs_twice_is_refused() {
    says(
        &Folder::with("log.csv", "user,item,time,item\n1,a,1,b\n").refused(CSV),
        &["column `item` occurs twice"],
    );
}

#[test]
fn a_wrong_type_names_line_and_column() {
    says(&csv("1,a,1\n1,b,soon\n"), &["log.csv:3: column `time`: `soon` is not a number", "on_invalid"]);
}

#[test]
fn a_ragged_row_names_its_line() {
    says(&csv("1,a,1\n1,b\n"), &["log.csv:3: 2 fields, the first line has 3"]);
}

#[test]
fn bytes_that_are_not_utf_8_name_line_and_column() {
    let error = Folder::with("log.csv", b"user,item,time\n1,\xff\xfe,1\n").refused(CSV);
    says(&error, &["log.csv:2: column `item` is not UTF-8"]);
    let lines = "name = \"log\"\ninput = \"log.txt\"\nformat = \"lines\"\n";
    says(&Folder::with("log.txt", b"1 a\n2 \xff\n").refused(lines), &["log.txt:2: is not UTF-8"]);
    let jsonl = CSV.replace("\"csv\"", "\"jsonl\"");
    says(
        &Folder::with("log.csv", b"{\"user\": \"\xff\"").refused(&jsonl),
        &["log.csv:1: is not a JSON object"],
    );
}

#[test]
fn a_price_that_is_nan_or_negative_is_refused() {
    let spec = format!("{CSV}price = \"price\"\n");
    for (price, what) in [
        ("NaN", "is NaN"),
        ("-1.5", "-1.5 is negative"),
        ("1e60", "over the range"),
        ("x", "`x` is not a number"),
    ] {
        let folder = Folder::with("log.csv", format!("user,item,time,price\n1,a,1,2\n1,b,2,{price}\n"));
        says(&folder.refused(&spec), &["log.csv:3: column `price`", what]);
    }
}

#[test]
fn a_label_that_is_not_0_or_1_is_refused() {
    let folder = Folder::with("log.csv", "user,item,time,click\n1,a,1,2\n");
    says(&folder.refused(&format!("{CSV}label = \"click\"\n")), &["column `click`", "2 is neither 0 nor 1"]);
}

#[test]
fn an_empty_log_is_refused() {
    says(&Folder::with("log.csv", "").refused(CSV), &["log.csv holds no rows"]);
    says(&csv(""), &["log.csv holds no rows"]);
    let lines = "name = \"log\"\ninput = \"log.txt\"\nformat = \"lines\"\n";
    says(&Folder::with("log.txt", "\n\n").refused(lines), &["log.txt holds no rows"]);
}

#[test]
fn a_log_that_cleaning_empties_says_which_rules_did() {
    let folder = Folder::with("log.csv", "user,item,time\n1,a,1\n2,b,-1\n");
    let error = folder.refused(&format!("{CSV}[cleaning]\nmin_user_events = 5\n"));
    says(&error, &["no event is left of 2 rows", "impossible_time 1", "rare_user 1"]);
}

#[test]
fn more_items_than_ids_are_refused() {
    let folder = Folder::with("log.csv", "user,item,time\n1,a,1\n1,b,2\n1,c,3\n");
    let error = folder.refused(&format!("{CSV}[cleaning]\nmax_items = 2\n"));
    says(&error, &["column `item` has more than 2 distinct values", "cleaning.max_items"]);
}

#[test]
fn ids_above_32_bits_are_keys_like_any_other() {
    let folder = Folder::with("log.csv", "user,item,time\n18446744073709551615,99999999999999999999,1\n");
    folder.prepare(CSV).unwrap();
    assert_eq!(folder.open().load_items().unwrap().key(0), "99999999999999999999");
}

#[test]
fn a_time_beyond_all_numbers_is_refused() {
    says(&csv("1,a,9223372036854775807\n"), &["column `time`", "beyond all time"]);
    says(&csv("1,a,nan\n"), &["column `time`", "is not a time"]);
    let iso = format!("{CSV}time_format = \"iso8601\"\n");
    let folder = Folder::with("log.csv", "user,item,time\n1,a,2014-02-30\n");
    says(&folder.refused(&iso), &["log.csv:2: column `time`: `2014-02-30` is not a date or time"]);
}

#[test]
fn json_that_is_broken_or_nested_names_its_line() {
    let spec = CSV.replace("\"csv\"", "\"jsonl\"");
    let good = "{\"user\": 1, \"item\": 2, \"time\": 3}\n";
    for (bad, what) in [
        ("{\"user\": 1, ", "is not a JSON object"),
        ("[1, 2]", "is not a JSON object"),
        ("{\"user\": [1], \"item\": 2, \"time\": 3}", "column `user`: is an array"),
    ] {
        says(&Folder::with("log.csv", format!("{good}{bad}\n")).refused(&spec), &["log.csv:2: ", what]);
    }
    let folder = Folder::with("log.csv", "{\"user\": 1, \"thing\": 2, \"time\": 3}\n");
    says(&folder.refused(&spec), &["there is no column `item`", "thing, time, user"]);
}

fn good_parquet() -> Vec<u8> {
    let numbers = || -> ArrayRef { Arc::new(Int64Array::from_iter_values(0..1000)) };
    parquet(vec![("user", numbers()), ("item", numbers()), ("time", numbers())])
}

#[test]
fn a_truncated_or_foreign_parquet_file_is_refused() {
    let spec = CSV.replace("\"csv\"", "\"parquet\"");
    let whole = good_parquet();
    for bytes in [&whole[..whole.len() / 2], &whole[..3], b"user,item,time\n1,a,1\n", b""] {
        says(&Folder::with("log.csv", bytes).refused(&spec), &["log.csv is not a whole Parquet file"]);
    }
    let mut damaged = whole.clone();
    damaged[..200].fill(0xAB);
    says(&Folder::with("log.csv", damaged).refused(&spec), &["log.csv is not a whole Parquet file"]);
    let mut folder = Folder::with("log.csv", &whole);
    folder.prepare(&spec).unwrap();
    folder = Folder::with("log.csv", &whole);
    says(
        &folder.refused(&spec.replace("item = \"item\"", "item = \"thing\"")),
        &["there is no column `thing`"],
    );
}

#[test]
fn a_parquet_column_of_lists_or_nan_keys_is_refused() {
    let spec = CSV.replace("\"csv\"", "\"parquet\"");
    let one = || -> ArrayRef { Arc::new(Int64Array::from(vec![1])) };
    let list: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1)])]));
    let folder = Folder::with("log.csv", parquet(vec![("user", one()), ("item", list), ("time", one())]));
    says(&folder.refused(&spec), &["column `item` has type List"]);
    let nan: ArrayRef = Arc::new(Float64Array::from(vec![f64::NAN]));
    let folder = Folder::with("log.csv", parquet(vec![("user", one()), ("item", nan), ("time", one())]));
    says(&folder.refused(&spec), &["log.csv:1: column `item`: NaN is no key"]);
}

#[test]
fn an_unset_variable_names_the_file_where_to_get_it_and_its_licence() {
    let spec = "name = \"log\"\ninput = \"${MUSTER_DATA}/log.txt\"\nformat = \"lines\"\n\
        [source]\nget = \"https://logs.example\"\nlicence = \"CC BY 4.0\"\n";
    let error = Folder::new().refused(spec);
    says(
        &error,
        &["${MUSTER_DATA}/log.txt", "MUSTER_DATA, which is not set", "https://logs.example", "CC BY 4.0"],
    );
    let error = Folder::new().refused(&spec.replace("${MUSTER_DATA}", "nowhere"));
    says(
        &error,
        &["nowhere/log.txt does not exist", "--set input=FILE", "https://logs.example", "CC BY 4.0"],
    );
    says(&Folder::new().refused(&spec.replace("${MUSTER_DATA}", "${MUSTER")), &["has `${` without `}`"]);
}

#[test]
fn a_folder_as_input_is_refused() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path().join("log.csv")).unwrap();
    says(&folder.refused(CSV), &["log.csv"]);
}

#[test]
fn a_broken_item_table_names_its_file() {
    let folder = Folder::with("log.csv", "user,item,time\n1,a,1\n");
    folder.write("tags.json", "{\"a\": {\"x\": 1}}");
    folder.write("items.csv", "id,genre\na,x\nb\n");
    let map = "[[item_tables]]\ninput = \"tags.json\"\nformat = \"json_map\"\ncategorical = [\"tag\"]\n";
    says(&folder.refused(&format!("{CSV}{map}")), &["tags.json is not a whole JSON map", "item `a`"]);
    let table =
        "[[item_tables]]\ninput = \"items.csv\"\nformat = \"csv\"\nkey = \"id\"\ncategorical = [\"genre\"]\n";
    says(&folder.refused(&format!("{CSV}{table}")), &["items.csv:3: 1 fields"]);
}

#[test]
fn an_output_that_is_a_file_or_holds_other_things_is_left_alone() {
    let folder = Folder::with("log.csv", "user,item,time\n1,a,1\n");
    folder.write("out", "precious");
    says(&folder.refused(CSV), &["exists and is not a dataset"]);
    assert_eq!(std::fs::read(folder.out()).unwrap(), b"precious");
}

#[test]
fn an_output_that_cannot_be_written_is_named() {
    let folder = Folder::with("log.csv", "user,item,time\n1,a,1\n");
    let error = folder.prepare_with(CSV, "/dev/full/out".as_ref(), 1).unwrap_err();
    says(&error.to_string(), &["/dev/full"]);
    let args = muster_data::GenerateArgs { users: 10, items: 100, events: 50, seed: 1 };
    let error = muster_data::generate(&args, "/proc/log.csv".as_ref()).unwrap_err();
    says(&error.to_string(), &["cannot write /proc/log.csv"]);
}

#[test]
fn a_log_that_cannot_exist_is_not_generated() {
    let folder = Folder::new();
    for (users, items, events) in [(0, 100, 10), (10, 5, 50), (10, 100, 5), (10, 100, 1_000_000)] {
        let args = muster_data::GenerateArgs { users, items, events, seed: 1 };
        muster_data::generate(&args, &folder.path().join("log.csv")).unwrap_err();
    }
    assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none());
}

//! The same log in every format gives the same sequences.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, DictionaryArray, Float64Array, Int64Array, LargeStringArray, RecordBatch, StringArray,
    TimestampMicrosecondArray, types::Int32Type,
};
use muster_data::{Dataset, Split};
use parquet::arrow::ArrowWriter;

use crate::fixture::{CSV, Folder, sequences, targets};

const EXPECTED: [&str; 2] = ["7: 10 11 12 10", "8: 11"];

pub(crate) fn parquet(columns: Vec<(&str, ArrayRef)>) -> Vec<u8> {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

fn spec(format: &str, rest: &str) -> String {
    CSV.replace("format = \"csv\"", &format!("format = \"{format}\"")) + rest
}

#[test]
fn csv_with_quotes_and_windows_line_ends_is_read() {
    let folder =
        Folder::with("log.csv", "item,user,time\r\n\"12\",7,3\r\n10,7,1\r\n11,7,2\r\n11,8,5\r\n10,7,4\r\n");
    folder.prepare(CSV).unwrap();
    assert_eq!(sequences(&folder.open()), EXPECTED);
}

#[test]
fn semicolons_tabs_and_missing_headers_are_read() {
    let folder = Folder::with("log.csv", "7;10;1\n7;11;2\n8;11;5\n7;12;3\n7;10;4\n");
    let positional = "header = false\n";
    let columns = "[columns]\nuser = \"1\"\nitem = \"2\"\ntime = \"3\"\n";
    let head = "name = \"log\"\ninput = \"log.csv\"\npartitions = 4\n";
    folder.prepare(&format!("{head}format = \"semicolon\"\n{positional}{columns}")).unwrap();
    assert_eq!(sequences(&folder.open()), EXPECTED);
    folder.write("log.csv", "7\t10\t1\n7\t11\t2\n8\t11\t5\n7\t12\t3\n7\t10\t4\n");
    folder.prepare(&format!("{head}format = \"tsv\"\n{positional}{columns}")).unwrap();
    assert_eq!(sequences(&folder.open()), EXPECTED);
}

#[test]
fn json_lines_with_numbers_and_strings_are_read() {
    let folder = Folder::with(
        "log.csv",
        "{\"user\": 7, \"item\": \"12\", \"time\": 3.0}\n\n{\"user\": \"7\", \"item\": 10, \"time\": 1, \"more\": [1]}\n\
         {\"user\": 7, \"item\": 11, \"time\": 2}\n{\"user\": 8, \"item\": 11, \"time\": \"5\"}\n\
         {\"user\": 7, \"item\": 10, \"time\": 4}\n{\"user\": null, \"item\": 10, \"time\": 4}\n{\"item\": 10}\n",
    );
    let manifest = folder.prepare(&spec("jsonl", "")).unwrap();
    assert_eq!(sequences(&folder.open()), EXPECTED);
    assert_eq!(manifest.cleaning.dropped["missing_user"], 2);
}

#[test]
fn parquet_of_any_column_type_is_read() {
    let items: DictionaryArray<Int32Type> = ["12", "10", "11", "11", "10"].into_iter().collect();
    let times = TimestampMicrosecondArray::from(vec![3000, 1000, 2000, 5000, 4000]);
    let users: [ArrayRef; 4] = [
        Arc::new(Int64Array::from(vec![7, 7, 7, 8, 7])),
        Arc::new(Float64Array::from(vec![7.0, 7.0, 7.0, 8.0, 7.0])),
        Arc::new(StringArray::from(vec!["7", "7", "7", "8", "7"])),
        Arc::new(LargeStringArray::from(vec!["7", "7", "7", "8", "7"])),
    ];
    for user in users {
        let file = parquet(vec![
            ("user", user),
            ("item", Arc::new(items.clone())),
            ("time", Arc::new(times.clone())),
        ]);
        let folder = Folder::with("log.csv", file);
        folder.prepare(&spec("parquet", "")).unwrap();
        assert_eq!(sequences(&folder.open()), EXPECTED);
        assert_eq!(folder.open().manifest().time_range, Some((1, 5)));
    }
}

#[test]
fn lines_keep_their_order_and_blank_ones_count_nothing() {
    let folder = Folder::with("log.txt", "7 10 11 12 10\n\n8 11\n9\n");
    let text = "name = \"log\"\ninput = \"log.txt\"\nformat = \"lines\"\npartitions = 4\n";
    let manifest = folder.prepare(text).unwrap();
    assert_eq!(sequences(&folder.open()), EXPECTED);
    assert_eq!((manifest.cleaning.rows_in, manifest.cleaning.dropped["missing_item"]), (6, 1));
}

#[test]
fn times_are_read_in_every_format() {
    for (format, times) in [
        ("seconds", ["1396815718.5", "1396815719"]),
        ("millis", ["1396815718500", "1396815719000"]),
        ("iso8601", ["2014-04-06T20:21:58.5Z", "2014-04-06 22:21:59+02:00"]),
    ] {
        let folder = Folder::with("log.csv", format!("user,item,time\n1,b,{}\n1,a,{}\n", times[1], times[0]));
        let manifest = folder.prepare(&spec("csv", &format!("time_format = \"{format}\"\n"))).unwrap();
        assert_eq!(manifest.time_range, Some((1_396_815_718_500, 1_396_815_719_000)), "{format}");
        assert_eq!(sequences(&folder.open()), ["1: a b"]);
    }
}

#[test]
fn features_come_with_their_vocabularies_and_transforms() {
    let folder = Folder::with(
        "log.csv",
        "user,item,time,kind,cost,size\n1,a,1,view,1.5,L\n1,b,2,buy,,NA\n1,c,3,view,0,S\n2,a,1,view,3,S\n",
    );
    let columns = "event = \"kind\"\nprice = \"cost\"\ncategorical = [\"fit=size\"]\nlog1p = [\"price\"]\n";
    let manifest = folder.prepare(&spec("csv", columns)).unwrap();
    let names: Vec<(&str, u32)> =
        manifest.columns.iter().map(|column| (column.name.as_str(), column.vocabulary)).collect();
    assert_eq!(names, [("event", 3), ("fit", 3), ("price", 0)]);
    let dataset = folder.open();
    let (partition, user) = dataset.find_user("1").unwrap().unwrap();
    let range = partition.range(user);
    let fit = dataset.load_vocabulary("fit").unwrap();
    let kinds = dataset.load_vocabulary("event").unwrap();
    assert_eq!((fit.key(0), fit.key(1), fit.id("L"), kinds.id("view")), ("", "S", Some(2), Some(1)));
    assert_eq!(partition.categorical[0][range.clone()], [1, 2, 1]);
    assert_eq!(partition.categorical[1][range.clone()], [2, 0, 1]);
    assert_eq!(partition.numeric[0][range], [2.5_f64.ln() as f32, 0.0, 0.0]);
    assert!(dataset.find_user("nobody").unwrap().is_none());
}

#[test]
fn item_tables_give_attributes_and_features() {
    let folder = Folder::with("log.csv", "user,item,time\n1,a,1\n1,b,2\n1,c,3\n2,a,1\n");
    folder.write("items.tsv", "id\tgenre\tmaker\na\tpop  rock\tx\nb\trock\t\nz\tjazz\ty\na\tlate\tz\n");
    folder.write("tags.json", "{\"c\": [5, \"6\"], \"b\": 6, \"z\": [7]}");
    let tables = "[[item_tables]]\ninput = \"items.tsv\"\nformat = \"tsv\"\nkey = \"id\"\n\
        categorical = [\"genre\", \"maker\"]\nseparator = \" \"\n\
        [[item_tables]]\ninput = \"tags.json\"\nformat = \"json_map\"\ncategorical = [\"tag\"]\n";
    folder.prepare(&format!("{CSV}{tables}")).unwrap();
    let dataset = folder.open();
    let items = dataset.load_items().unwrap();
    let values = |column: &str, item: &str| -> Vec<String> {
        let attributes = items.attributes(column).unwrap();
        attributes
            .of(items.id(item).unwrap())
            .iter()
            .map(|value| attributes.name(*value).to_owned())
            .collect()
    };
    assert_eq!(values("genre", "a"), ["pop", "rock"]);
    assert_eq!(values("tag", "c"), ["5", "6"]);
    assert_eq!((values("maker", "b").len(), values("tag", "a").len()), (0, 0));
    // "rock" is the most frequent genre and so has the first id after the unknown one.
    let (partition, user) = dataset.find_user("1").unwrap().unwrap();
    assert_eq!(partition.categorical[0][partition.range(user)], [2, 1, 0]);
    assert_eq!(dataset.manifest().rows_of("genre"), Some(3));
}

#[test]
fn an_optional_item_table_may_be_absent() {
    let folder = Folder::with("log.csv", "user,item,time\n1,a,1\n");
    let table = "[[item_tables]]\ninput = \"none.json\"\nformat = \"json_map\"\ncategorical = [\"tag\"]\n";
    assert!(folder.refused(&format!("{CSV}{table}")).contains("none.json does not exist"));
    folder.prepare(&format!("{CSV}{table}optional = true\n")).unwrap();
    assert_eq!(folder.open().manifest().rows_of("tag"), Some(1));
}

#[test]
fn the_last_event_is_test_and_the_one_before_validation() {
    let folder = Folder::with("log.csv", "user,item,time\n1,a,1\n1,b,2\n1,c,3\n1,d,4\n2,a,1\n2,b,2\n");
    let manifest = folder.prepare(CSV).unwrap();
    let dataset = folder.open();
    assert_eq!(targets(&dataset, Split::Test), ["1: d after 3"]);
    assert_eq!(targets(&dataset, Split::Valid), ["1: c after 2"]);
    assert_eq!((manifest.splits.train, manifest.splits.valid, manifest.splits.test), (4, 1, 1));
    let items = dataset.load_items().unwrap();
    let trained: Vec<(&str, u64)> =
        (0..4).map(|id| (items.key(id), items.train_counts()[id as usize])).collect();
    assert_eq!(trained, [("a", 2), ("b", 2), ("c", 0), ("d", 0)]);
    assert_eq!(dataset.popularity().unwrap(), [2, 2, 0, 0]);
}

#[test]
fn several_files_are_read_in_their_order() {
    let folder = Folder::with("log.csv", "user,item,time\n1,a,5\n");
    folder.write("more.csv", "time,item,user\n5,b,1\n5,c,1\n");
    folder.prepare(&CSV.replace("\"log.csv\"", "[\"more.csv\", \"log.csv\"]")).unwrap();
    assert_eq!(sequences(&folder.open()), ["1: b c a"]);
}

#[test]
fn a_dataset_is_replaced_and_anything_else_is_not() {
    let folder = Folder::with("log.csv", "user,item,time\n1,a,1\n");
    std::fs::create_dir(folder.out()).unwrap();
    folder.prepare(CSV).unwrap();
    folder.write("log.csv", "user,item,time\n1,b,1\n");
    folder.prepare(CSV).unwrap();
    assert_eq!(sequences(&folder.open()), ["1: b"]);
    std::fs::remove_file(folder.out().join("manifest.json")).unwrap();
    assert!(folder.refused(CSV).contains("exists and is not a dataset"));
    assert!(Dataset::open(&folder.out()).unwrap_err().to_string().contains("has no manifest.json"));
}

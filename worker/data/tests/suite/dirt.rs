//! Kinds of dirt as real logs have them: each ends in the report, in quarantine with line and reason, or in an error
//! that names the file.

use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{ArrayRef, Int64Array, ListArray};
use serde_json::Value;

use crate::fixture::{CSV, Folder, sequences};
use crate::formats::parquet;
use crate::inputs::{gzip, zst};

/// What becomes of a file `log.csv` beside the good file `good.csv`, which has the events `1: g h`.
enum Fate {
    /// Rows are counted by a rule and listed: line, rule, field, what the reason says.
    Quarantined(&'static [(u64, &'static str, &'static str, &'static str)]),
    /// Rows are counted by a rule that looks at whole users.
    Counted(&'static str, u64),
    /// The file is left out, for a reason.
    LeftOut(&'static str),
    /// It is read, and the sequences of all users are these.
    Read(&'static [&'static str]),
}

use Fate::{Counted, LeftOut, Quarantined, Read};

struct Dirt {
    name: &'static str,
    content: Vec<u8>,
    /// Replaces `"csv"` as the format.
    format: &'static str,
    /// More keys of `[columns]`.
    columns: &'static str,
    /// Keys of `[cleaning]`.
    cleaning: &'static str,
    fate: Fate,
}

fn dirt(name: &'static str, content: impl AsRef<[u8]>, fate: Fate) -> Dirt {
    Dirt { name, content: content.as_ref().to_vec(), format: "csv", columns: "", cleaning: "", fate }
}

fn csv(name: &'static str, rows: &str, fate: Fate) -> Dirt {
    dirt(name, format!("user,item,time\n{rows}"), fate)
}

const GOOD: &str = "1: g h";

impl Dirt {
    fn columns(self, columns: &'static str) -> Self {
        Self { columns, ..self }
    }

    fn cleaning(self, cleaning: &'static str) -> Self {
        Self { cleaning, ..self }
    }

    fn jsonl(self) -> Self {
        Self { format: "jsonl", ..self }
    }

    fn check(&self) {
        let folder = Folder::with("log.csv", &self.content);
        let good = match self.format {
            "jsonl" => {
                "{\"user\":1,\"item\":\"g\",\"time\":100}\n{\"user\":1,\"item\":\"h\",\"time\":200,\"price\":1}\n"
            }
            _ if self.columns.contains("price") => "user,item,time,price\n1,g,100,1\n1,h,200,2\n",
            _ if self.columns.contains("event_id") => "user,item,time,id\n1,g,100,e1\n1,h,200,e2\n",
            _ => "user,item,time\n1,g,100\n1,h,200\n",
        };
        folder.write("good.csv", good);
        let spec = CSV
            .replace("\"csv\"", &format!("\"{}\"", self.format))
            .replace("\"log.csv\"", "[\"good.csv\", \"log.csv\"]");
        let on_invalid = if self.cleaning.contains("on_invalid") { "" } else { "on_invalid = \"drop\"\n" };
        let text = format!("{spec}{}[cleaning]\n{on_invalid}{}", self.columns, self.cleaning);
        let manifest = folder.prepare(&text).unwrap_or_else(|error| panic!("{}: {error}", self.name));
        let report = &manifest.cleaning;
        let dropped: u64 = report.dropped.values().sum();
        assert_eq!(report.rows_in, report.rows_out + dropped, "{}: rows are lost", self.name);
        let quarantine = quarantine(&folder);
        let found = sequences(&folder.open());
        match &self.fate {
            Read(expected) => assert_eq!(found, *expected, "{}", self.name),
            Counted(rule, rows) => {
                assert_eq!(report.dropped.get(*rule), Some(rows), "{}: {report:?}", self.name);
            }
            LeftOut(why) => {
                assert_eq!(found, [GOOD], "{}", self.name);
                assert_eq!(
                    (report.rows_in, report.left_out[0].file.as_str()),
                    (2, "log.csv"),
                    "{}",
                    self.name
                );
                assert!(report.left_out[0].why.contains(why), "{}: {report:?}", self.name);
                assert_eq!(
                    (&quarantine[0]["rule"], &quarantine[0]["file"]),
                    (&"file".into(), &"log.csv".into())
                );
                let error = folder.prepare(&text.replace("[cleaning]\n", "[cleaning]\nstrict = true\n"));
                let error = error.expect_err("strict").to_string();
                assert!(error.contains(why) && error.contains("log.csv"), "{}: {error}", self.name);
            }
            Quarantined(rows) => {
                assert_eq!(quarantine.len(), rows.len(), "{}: {quarantine:?}", self.name);
                for ((line, rule, field, reason), row) in rows.iter().zip(&quarantine) {
                    assert_eq!((&row["file"], &row["line"]), (&"log.csv".into(), &(*line).into()), "{row}");
                    assert_eq!(row["rule"], **rule, "{}: {row}", self.name);
                    assert_eq!(row["field"].as_str().unwrap_or_default(), *field, "{}: {row}", self.name);
                    assert!(row["reason"].as_str().unwrap().contains(reason), "{}: {row}", self.name);
                    assert!(row.to_string().len() < 500, "{}: a row is listed at length", self.name);
                    assert!(report.dropped.contains_key(*rule), "{}: {report:?}", self.name);
                }
            }
        }
    }
}

fn quarantine(folder: &Folder) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.out().join("quarantine.jsonl")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn check_all(kinds: &[Dirt]) {
    kinds.iter().for_each(Dirt::check);
}

#[test]
fn broken_files_are_left_out_and_say_why() {
    let rows: String = (0..2000).map(|row| format!("9,x{row},{row}\n")).collect();
    let text = format!("user,item,time\n{rows}");
    let (gz, zs) = (gzip(&text), zst(&text));
    let open_quote = format!("user,item,time\n9,a,1\n9,\"b,2\n{}", rows.repeat(10));
    let mut flipped = gz.clone();
    flipped[gz.len() / 2] ^= 0x55;
    check_all(&[
        dirt("gz that is torn", &gz[..gz.len() - 9], LeftOut("is not a whole gzip file")),
        dirt("gz that is torn in its head", &gz[..5], LeftOut("is not a whole gzip file")),
        dirt("gz with a flipped byte", flipped, LeftOut("is not a whole gzip file")),
        dirt(
            "gz with rubbish behind it",
            [&gz[..], b"rubbish"].concat(),
            LeftOut("is not a whole gzip file"),
        ),
        dirt("zstd that is torn", &zs[..zs.len() - 9], LeftOut("is not a whole zstd file")),
        dirt(
            "a quote that takes the rest of a long file",
            open_quote,
            LeftOut("a quote on line 3 is not closed"),
        )
        .cleaning("max_row = \"100 KiB\"\n"),
        dirt("UTF-16", b"\xff\xfeu\0s\0e\0r\0", LeftOut("UTF-16, convert it")),
        dirt("a column that has another name", "user,product,time\n9,x,1\n", LeftOut("no column `item`")),
        dirt("a column twice", "user,item,time,item\n9,x,1,y\n", LeftOut("column `item` occurs twice")),
        dirt("a header that is not UTF-8", b"user,item,\xff\n9,x,1\n", LeftOut("its header is not UTF-8")),
        dirt(
            "JSON of another kind",
            "{\"user\":9,\"thing\":\"x\",\"time\":1}\n",
            LeftOut("no column `item`"),
        )
        .jsonl(),
    ]);
}

#[test]
fn rows_that_cannot_be_read_are_listed_with_their_lines() {
    let long = "x".repeat(10_000_000);
    check_all(&[
        csv("a user id of 10 MB", &format!("{long},a,1\n9,b,2\n"), Quarantined(&[(2, "invalid", "user", "10000000 bytes long, over 65536")])),
        csv("a row of 20 MB", &format!("9,a,1\n{long}{long},a,1\n"), Quarantined(&[(3, "invalid", "", "longer than 16777216 bytes")])),
        csv("a quote that is never closed", "9,a,1\n9,\"b,2\n9,c,3\n9,d,4\n", Quarantined(&[(3, "invalid", "", "is a quote not closed?")])),
        csv("too many and too few fields", "9,a,1,1\n9,b\n9,c,2\n", Quarantined(&[(2, "invalid", "", "4 fields"), (3, "invalid", "", "2 fields")])),
        dirt("bytes that are not UTF-8", b"user,item,time\n9,\xff,1\n9,b,1\n", Quarantined(&[(2, "invalid", "", "column `item` is not UTF-8")])),
        csv("a time in words", "9,a,noon\n9,b,5\n", Quarantined(&[(2, "invalid", "time", "`noon` is not a number")])),
        csv("a missing user, item and time", ",a,1\n9,NA,1\n9,a,null\n9,a,1\n", Quarantined(&[(2, "missing_user", "user", "missing"), (3, "missing_item", "item", "missing"), (4, "missing_time", "time", "missing")])),
        csv("line numbers over quoted line ends", "\"9\",\"a\nb\",1\n\n9,c,never\n", Quarantined(&[(5, "invalid", "time", "never")])),
        dirt("JSON that is torn, nested, or not UTF-8", b"{\"user\":9,\"it\n{\"user\":[9],\"item\":1,\"time\":1}\n{\"user\":\"\xff\",\"item\":1,\"time\":1}\n{\"user\":9,\"item\":1,\"time\":1}\n", Quarantined(&[(1, "invalid", "", "is not a JSON object"), (2, "invalid", "", "is an array"), (3, "invalid", "", "not UTF-8")])).jsonl(),
        csv("a number beyond all numbers", "9,a,1e400\n9,b,99999999999999999999\n9,c,1\n", Quarantined(&[(2, "invalid", "time", "is not a time"), (3, "invalid", "time", "is not a time")])),
    ]);
}

#[test]
fn impossible_values_are_listed_with_their_lines() {
    const PRICE: &str = "price = \"price\"\n";
    let priced = |rows: &str| format!("user,item,time,price\n{rows}");
    let with_years =
        |kind: Dirt| kind.cleaning("min_time = \"1970-01-01T00:01:00Z\"\nmax_time = \"2030-01-01\"\n");
    check_all(&[
        with_years(csv(
            "the year 1970 and 2106",
            "9,a,0\n9,b,4294967295\n9,c,1400000000\n",
            Quarantined(&[
                (2, "impossible_time", "time", "is not in 1970-01-01T00:01:00Z to"),
                (3, "impossible_time", "time", "is not in"),
            ]),
        )),
        with_years(csv(
            "milliseconds among seconds",
            "9,a,1400000000000\n9,b,1400000001\n",
            Quarantined(&[(2, "impossible_time", "time", "unix_auto")]),
        )),
        csv(
            "a time before 1970",
            "9,a,-5\n9,b,5\n",
            Quarantined(&[(2, "impossible_time", "time", "is not in 1970")]),
        ),
        dirt(
            "a price that is negative, NaN or words",
            priced("9,a,1,-1\n9,b,2,NaN\n9,c,3,free\n9,d,4,2\n"),
            Quarantined(&[
                (2, "invalid", "price", "-1 is negative"),
                (3, "invalid", "price", "is NaN"),
                (4, "invalid", "price", "`free` is not a number"),
            ]),
        )
        .columns(PRICE),
        dirt(
            "a price out of range",
            priced("9,a,1,0.01\n9,b,2,99999\n9,c,3,\n9,d,4,20\n"),
            Quarantined(&[
                (2, "out_of_range_price", "price", "0.01 is not in 0.1..=1000"),
                (3, "out_of_range_price", "price", "99999 is not in"),
            ]),
        )
        .columns(PRICE)
        .cleaning("[[cleaning.ranges]]\ncolumn = \"price\"\nmin = 0.1\nmax = 1000\n"),
        dirt(
            "a price that must be there",
            priced("9,a,1,\n9,d,4,20\n"),
            Quarantined(&[(2, "missing_price", "price", "missing")]),
        )
        .columns(PRICE)
        .cleaning("required = [\"price\"]\n"),
    ]);
}

#[test]
fn dirt_that_can_be_read_is_read() {
    check_all(&[
        dirt("a BOM", b"\xef\xbb\xbfuser,item,time\n9,a,1\n", Read(&[GOOD, "9: a"])),
        dirt(
            "a BOM before JSON",
            b"\xef\xbb\xbf{\"user\":9,\"item\":\"a\",\"time\":1}\n",
            Read(&[GOOD, "9: a"]),
        )
        .jsonl(),
        dirt(
            "Windows line ends and blank lines",
            "user,item,time\r\n\r\n9,a,1\r\n\r\n9,b,2",
            Read(&[GOOD, "9: a b"]),
        ),
        csv(
            "quotes with separators, quotes and line ends",
            "9,\"a,\"\"b\"\"\",1\n9,\"c\nd\",2\n",
            Read(&[GOOD, "9: a,\"b\" c\nd"]),
        ),
        csv(
            "seconds, milliseconds and microseconds in one column",
            "9,c,1400000002000000\n9,a,1400000000\n9,b,1400000001000\n",
            Read(&[GOOD, "9: a b c"]),
        )
        .columns("time_format = \"unix_auto\"\n"),
        csv("a header alone", "", Read(&[GOOD])),
        dirt("an empty file", "", Read(&[GOOD])),
        csv("events out of order", "9,b,20\n9,a,10\n", Read(&[GOOD, "9: a b"])),
    ]);
}

#[test]
fn repeats_and_bots_are_counted() {
    const IDS: &str = "event_id = \"id\"\n";
    let ids = |rows: &str| format!("user,item,time,id\n{rows}");
    let minute: String = (0..50).map(|event| format!("bot,a{event},{event}\n")).collect();
    let slow: String = (0..50).map(|event| format!("bot,a{event},{}\n", event * 1000)).collect();
    check_all(&[
        csv("a row of another file again", "1,g,100\n", Counted("duplicate", 1)),
        csv("a double click", "9,a,10\n9,a,12\n9,b,13\n9,a,14\n9,a,20\n", Counted("near_duplicate", 2))
            .cleaning("near_duplicates = \"5s\"\n"),
        dirt(
            "an event id of another file again, at another time",
            ids("1,g,150,e1\n9,x,1,\n9,y,2,\n"),
            Counted("repeated_event_id", 1),
        )
        .columns(IDS),
        csv("a bot by rate", &minute, Counted("bot_rate", 50))
            .cleaning("[cleaning.bots]\nmax_per_minute = 20\n"),
        csv("a bot by rate, cut", &minute, Counted("bot_rate", 30))
            .cleaning("[cleaning.bots]\nmax_per_minute = 20\naction = \"cut\"\n"),
        csv("a bot by number", &slow, Counted("bot_length", 50))
            .cleaning("[cleaning.bots]\nmax_events = 40\n"),
        csv("a bot by number, cut", &slow, Counted("bot_length", 10))
            .cleaning("[cleaning.bots]\nmax_events = 40\naction = \"cut\"\n"),
    ]);
}

#[test]
fn parquet_with_another_schema_in_the_last_file_is_left_out() {
    let numbers = |values: [i64; 2]| -> ArrayRef { Arc::new(Int64Array::from(values.to_vec())) };
    let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>([
        Some(vec![Some(1)]),
        Some(vec![Some(2)]),
    ]));
    let good =
        || parquet(vec![("user", numbers([1, 1])), ("item", numbers([7, 8])), ("time", numbers([1, 2]))]);
    for (last, why) in [
        (vec![("user", numbers([2, 2])), ("product", numbers([1, 2]))], "there is no column `item`"),
        (vec![("user", numbers([2, 2])), ("item", lists), ("time", numbers([1, 2]))], "`item` has type List"),
    ] {
        let folder = Folder::with("1.parquet", good());
        folder.write("2.parquet", parquet(last));
        folder.write("3.parquet", &good()[..300]);
        let spec = CSV.replace("\"csv\"", "\"parquet\"").replace("log.csv", "*.parquet");
        let manifest = folder.prepare(&spec).unwrap();
        let left_out = &manifest.cleaning.left_out;
        assert_eq!((left_out[0].file.as_str(), left_out[1].file.as_str()), ("2.parquet", "3.parquet"));
        assert!(left_out[0].why.contains(why), "{left_out:?}");
        assert!(left_out[1].why.contains("is not a whole Parquet file"), "{left_out:?}");
        assert_eq!(sequences(&folder.open()), ["1: 7 8"]);
    }
}

#[test]
fn a_file_that_is_left_out_leaves_no_trace_in_the_data() {
    let rows: String = (0..40_000).map(|row| format!("{},x{},{row}\n", row % 100, row % 500)).collect();
    let (good, torn) = (format!("user,item,time\n{rows}"), gzip(format!("user,item,time\n{rows}{rows}")));
    let folder = Folder::with("log.csv", &good);
    folder.prepare(CSV).unwrap();
    let partition = |folder: &Folder| std::fs::read(folder.out().join("partition-00001.arrow")).unwrap();
    let items = |folder: &Folder| std::fs::read(folder.out().join("items.arrow")).unwrap();
    let alone = (partition(&folder), items(&folder));
    folder.write("torn.csv.gz", &torn[..torn.len() - 8]);
    let spec = CSV.replace("\"log.csv\"", "[\"torn.csv.gz\", \"log.csv\", \"torn.csv.gz\"]");
    let manifest = folder.prepare(&spec).unwrap();
    assert_eq!(manifest.cleaning.left_out.len(), 2);
    assert_eq!((partition(&folder), items(&folder)), alone);
}

#[test]
fn the_quarantine_is_bounded_and_the_count_is_exact() {
    let rows: String =
        (0..5000).map(|row| format!("9,x,{}\n", if row % 2 == 0 { "soon" } else { "5" })).collect();
    let folder = Folder::with("log.csv", format!("user,item,time\n{rows}"));
    let rules = "[cleaning]\non_invalid = \"drop\"\nmax_quarantine = \"4 KiB\"\n";
    let manifest = folder.prepare(&format!("{CSV}{rules}")).unwrap();
    assert_eq!(manifest.cleaning.dropped["invalid"], 2500);
    let listed = quarantine(&folder);
    let omitted = listed.last().unwrap()["omitted"].as_u64().unwrap();
    assert_eq!(omitted + listed.len() as u64 - 1, 2500);
    assert!(std::fs::metadata(folder.out().join("quarantine.jsonl")).unwrap().len() < 4200);
    let none = rules.replace("4 KiB", "0 B");
    folder.prepare(&format!("{CSV}{none}")).unwrap();
    assert!(!folder.out().join("quarantine.jsonl").exists());
}

#[test]
fn a_file_without_rows_is_listed_among_good_ones() {
    let folder = Folder::with("log.csv", "user,item,time\n1,a,1\n");
    folder.write("empty.csv", "");
    folder.write("header.csv", "user,item,time\n");
    folder.prepare(&CSV.replace("log.csv", "*.csv")).unwrap();
    let listed = quarantine(&folder);
    let files: Vec<&str> = listed.iter().map(|row| row["file"].as_str().unwrap()).collect();
    assert_eq!(files, ["empty.csv", "header.csv"]);
    assert!(listed.iter().all(|row| row["reason"] == "holds no rows"), "{listed:?}");
}

#[test]
fn without_dirt_there_is_no_quarantine() {
    let folder = Folder::with("log.csv", "user,item,time\n1,a,1\n");
    folder.prepare(CSV).unwrap();
    assert!(!folder.out().join("quarantine.jsonl").exists());
}

//! Logs for fuzzing: whole ones of each format, and what is done to them.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;

use crate::fuzz::Random;
use crate::inputs::{gzip, zst};

pub(crate) const FORMATS: [&str; 8] =
    ["csv", "tsv", "semicolon", "jsonl", "lines", "parquet", "gzip", "zstd"];

/// A file and the spec that reads it.
#[derive(Debug)]
pub(crate) struct Input {
    pub(crate) name: &'static str,
    pub(crate) bytes: Vec<u8>,
    pub(crate) spec: String,
}

/// What stands in a field, as logs have it and as they should not.
const VALUES: [&str; 16] = [
    "1",
    "u7",
    "",
    "NA",
    "-3",
    "9999999999999999999999",
    "1e308",
    "nan",
    "1700000000",
    "1700000000000",
    "é\u{feff}",
    "\u{0}",
    "2015-01-01T00:00:00Z",
    "a b",
    "'",
    "😀",
];

/// Bytes that mean something to some parser.
const TOKENS: [&[u8]; 18] = [
    b"\"",
    b"\n",
    b"\r\n",
    b"\r",
    b",",
    b";",
    b"\t",
    b"{",
    b"}",
    b"[",
    b"]",
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b"\xff",
    b"\0",
    b"\xef\xbb\xbf",
    b"PAR1",
];

fn value(random: &mut Random) -> &'static str {
    VALUES[random.below(VALUES.len())]
}

/// Rows of user, item and time, most of them good ones.
fn rows(random: &mut Random) -> Vec<[String; 3]> {
    let count = 1 + random.below(60);
    (0..count)
        .map(|number| {
            let user = format!("u{}", random.below(9));
            let item = format!("i{}", random.below(7));
            let time = (1_400_000_000 + number).to_string();
            [user, item, time].map(|good| if random.below(60) == 0 { value(random).to_owned() } else { good })
        })
        .collect()
}

fn delimited(rows: &[[String; 3]], separator: &str) -> Vec<u8> {
    let mut text = ["user", "item", "time"].join(separator);
    for row in rows {
        text.push('\n');
        text.push_str(&row.join(separator));
    }
    text.into_bytes()
}

fn jsonl(rows: &[[String; 3]]) -> Vec<u8> {
    let line = |[user, item, time]: &[String; 3]| {
        let time = time.parse::<i64>().map_or_else(|_| time.clone().into(), serde_json::Value::from);
        format!("{}\n", serde_json::json!({"user": user, "item": item, "time": time}))
    };
    rows.iter().map(line).collect::<String>().into_bytes()
}

fn lines(rows: &[[String; 3]]) -> Vec<u8> {
    rows.iter().map(|[user, item, _]| format!("{user} {item} i1 i2\n")).collect::<String>().into_bytes()
}

fn parquet(rows: &[[String; 3]]) -> Vec<u8> {
    let text =
        |at: usize| Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row[at]))) as ArrayRef;
    let times = rows.iter().map(|row| row[2].parse::<i64>().ok());
    let batch = RecordBatch::try_from_iter([
        ("user", text(0)),
        ("item", text(1)),
        ("time", Arc::new(Int64Array::from_iter(times)) as ArrayRef),
    ])
    .unwrap();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    bytes
}

/// A log that is whole, with a good row at least.
pub(crate) fn whole(format: &str, random: &mut Random) -> Input {
    let mut rows = rows(random);
    rows.push(["u1".to_owned(), "i1".to_owned(), "1400000000".to_owned()]);
    let (name, read_as, bytes) = match format {
        "csv" => ("log.csv", "csv", delimited(&rows, ",")),
        "tsv" => ("log.tsv", "tsv", delimited(&rows, "\t")),
        "semicolon" => ("log.csv", "semicolon", delimited(&rows, ";")),
        "jsonl" => ("log.jsonl", "jsonl", jsonl(&rows)),
        "lines" => ("log.txt", "lines", lines(&rows)),
        "parquet" => ("log.parquet", "parquet", parquet(&rows)),
        "gzip" => ("log.csv.gz", "csv", gzip(delimited(&rows, ","))),
        _ => ("log.jsonl.zst", "jsonl", zst(jsonl(&rows))),
    };
    let columns = if read_as == "lines" {
        String::new()
    } else {
        "[columns]\nuser = \"user\"\nitem = \"item\"\ntime = \"time\"\ntime_format = \"unix_auto\"\n"
            .to_owned()
    };
    let head =
        format!("name = \"log\"\ninput = \"{name}\"\nformat = \"{read_as}\"\npartitions = 2\n{columns}");
    let rules = "[cleaning]\non_invalid = \"drop\"\nmax_row = \"64 KiB\"\n";
    Input { name, bytes, spec: format!("{head}{rules}") }
}

/// A log with something done to its bytes, once to four times.
pub(crate) fn mutated(format: &str, random: &mut Random) -> Input {
    let mut input = whole(format, random);
    for _ in 0..=random.below(4) {
        mutate(&mut input.bytes, random);
    }
    input
}

fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(bytes.len() + 1);
    // Ends are where footers, checksums and torn rows are.
    let at = if random.below(4) == 0 { bytes.len().saturating_sub(random.below(32)) } else { at };
    match random.below(9) {
        0 => bytes.truncate(at),
        1 => {
            let token = TOKENS[random.below(TOKENS.len())];
            drop(bytes.splice(at..at, token.iter().copied()));
        }
        2 => {
            let text = value(random).as_bytes();
            drop(bytes.splice(at..at, text.iter().copied()));
        }
        3 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
        4 if at < bytes.len() => bytes[at] = random.next() as u8,
        5 => drop(bytes.drain(at..(at + random.below(64)).min(bytes.len()))),
        6 => {
            let part = bytes[at..(at + random.below(200)).min(bytes.len())].to_vec();
            drop(bytes.splice(at..at, part));
        }
        7 => {
            let many = vec![TOKENS[random.below(TOKENS.len())][0]; random.below(5000)];
            drop(bytes.splice(at..at, many));
        }
        _ => {
            for place in at..(at + random.below(16)).min(bytes.len()) {
                bytes[place] = random.next() as u8;
            }
        }
    }
}

//! Bad input over the real program: each kind gives a clear error with file and field, exit code 2 or 1, and leaves
//! nothing behind that looks whole.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod cluster;
mod flags;
mod job;
mod model;
mod prepare;

use std::fmt::Write;

use muster_tests::folder::Folder;

/// The program under test.
const MUSTER: &str = env!("CARGO_BIN_EXE_muster-under-test");

/// A log that prepares without complaint: 12 users, 8 items, 6 events each, prices and labels.
fn good_log() -> String {
    let mut log = String::from("user,item,time,price,label\n");
    for user in 0..12u32 {
        for event in 0..6u32 {
            let item = (user * 3 + event * event) % 8;
            let time = 1_400_000_000 + user * 1000 + event * 60;
            let _ = writeln!(log, "u{user},i{item},{time},{}.5,{}", item + 1, event % 2);
        }
    }
    log
}

/// A dataset file that reads `log.csv` beside it.
const GOOD_DATASET: &str = "\
name = \"small\"
input = \"log.csv\"
format = \"csv\"
partitions = 4

[columns]
user = \"user\"
item = \"item\"
time = \"time\"
price = \"price\"
label = \"label\"
";

/// A job that trains on that dataset in a moment.
const GOOD_JOB: &str = "\
name = \"small\"

[batch]
sequences = 8
micro_batches = 4
max_len = 8

[model]
embedding_dim = 8
hidden_size = 8

[training]
epochs = 1
";

/// A folder with the good log, dataset file and job.
fn folder() -> Folder {
    let folder = Folder::new(MUSTER);
    folder.write("log.csv", good_log());
    folder.write("dataset.toml", GOOD_DATASET);
    folder.write("job.toml", GOOD_JOB);
    folder
}

/// The same with the dataset prepared in `prepared`.
fn prepared() -> Folder {
    let folder = folder();
    folder.result(&["prepare", "dataset.toml", "--out", "prepared"]);
    folder
}

#[test]
fn the_good_input_of_these_tests_is_good() {
    let folder = prepared();
    let summary = folder.result(&["train", "job.toml", "--dataset", "prepared", "--out", "run"]);
    assert!(summary["model_digest"].is_string(), "{summary}");
}

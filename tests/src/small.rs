//! A small log with its dataset file and job: prepared and trained in a moment.

use std::fmt::Write;

use crate::folder::Folder;

/// A log that prepares without complaint: 12 users, 8 items, 6 events each, prices and labels.
pub fn log() -> String {
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
pub const DATASET: &str = "\
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

/// A job that trains on that dataset.
pub const JOB: &str = "\
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

/// A folder with the log, the dataset file and the job.
pub fn folder(program: &'static str) -> Folder {
    let folder = Folder::new(program);
    folder.write("log.csv", log());
    folder.write("dataset.toml", DATASET);
    folder.write("job.toml", JOB);
    folder
}

/// The same with the dataset prepared in `prepared`.
pub fn prepared(program: &'static str) -> Folder {
    let folder = folder(program);
    folder.result(&["prepare", "dataset.toml", "--out", "prepared"]);
    folder
}

/// A job on generated logs that makes some thousands of steps in a few seconds.
pub const LONG_JOB: &str = "\
name = \"long\"

[batch]
sequences = 32
micro_batches = 8
max_len = 12

[model]
embedding_dim = 16
hidden_size = 16

[training]
epochs = 400
validate_every = 100

[checkpoint]
every_epochs = 100
";

/// A folder with generated logs prepared in `prepared`, and a job that lasts, `job.toml`.
pub fn long(program: &'static str) -> Folder {
    generated(program, [600, 120, 6000], 8, LONG_JOB)
}

/// A folder with generated logs of so many users, items and events, prepared in `prepared`, and a job, `job.toml`.
pub fn generated(program: &'static str, size: [u32; 3], partitions: u32, job: &str) -> Folder {
    let folder = Folder::new(program);
    let [users, items, events] = size.map(|count| count.to_string());
    folder
        .result(&["generate", "--users", &users, "--items", &items, "--events", &events, "--out", "log.csv"]);
    let columns = "[columns]\nuser = \"user\"\nitem = \"item\"\ntime = \"timestamp\"\n";
    let input = "name = \"generated\"\ninput = \"log.csv\"\nformat = \"csv\"";
    folder.write("dataset.toml", format!("{input}\npartitions = {partitions}\n{columns}"));
    folder.write("job.toml", job);
    folder.result(&["prepare", "dataset.toml", "--out", "prepared"]);
    folder
}

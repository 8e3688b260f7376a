//! The dataset file beside a log: it reads the log and names the rules that find its dirt.

use muster_proto::dataset::time::format_iso8601;
use muster_proto::dataset::{LogFormat, ShopSpec};

use super::plan::DAY;

/// The text of the file.
pub(super) fn text(spec: &ShopSpec, files: &[String]) -> String {
    let format = match spec.format {
        LogFormat::Csv => "csv",
        LogFormat::Jsonl => "jsonl",
        LogFormat::Parquet => "parquet",
    };
    let input = match files {
        [file] => file.clone(),
        _ => files.first().map_or_else(String::new, |first| first.replacen("00000", "*", 1)),
    };
    let (start, days) = (spec.start_millis(), i64::from(spec.days));
    // Sessions that begin on the last day may end on the next.
    let [min_time, max_time] = [start, start + (days + 1) * DAY].map(format_iso8601);
    format!(
        "\
# The log of a simulated shop. {truth} says how much dirt of each kind is in it, and what each rule below has to drop.
name = \"shop\"
input = \"{input}\"
format = \"{format}\"

[columns]
user = \"user\"
item = \"item\"
time = \"timestamp\"
time_format = \"millis\"
event = \"event\"
category = \"category\"
event_id = \"event_id\"
rating = \"rating\"
price = \"price\"

[cleaning]
on_invalid = \"drop\"
max_field = \"1 KiB\"
min_time = \"{min_time}\"
max_time = \"{max_time}\"
duplicates = \"exact\"
near_duplicates = \"500ms\"

[[cleaning.ranges]]
column = \"price\"
max = 100000.0

[cleaning.bots]
max_per_minute = 60
",
        truth = super::TRUTH_FILE,
    )
}

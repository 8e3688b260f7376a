//! `muster collect` as a process: events in over both wires, refusals, a full queue, a full disk, kills.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod grpc;
mod pressure;

use std::process::Command;

use muster_tests::collecting::{Collecting, event, finished, ids};
use muster_tests::folder::Folder;
use muster_tests::killing::survive;
use muster_tests::refusal::{Refusal, assert_refused};
use muster_tests::source::root;

/// The program under test.
const MUSTER: &str = env!("CARGO_BIN_EXE_muster-under-test");

fn start(folder: &Folder, sets: &[&str]) -> Collecting {
    Collecting::start(&mut Command::new(MUSTER), folder.path(), sets)
}

#[test]
fn events_are_checked_one_by_one_and_the_good_ones_of_a_batch_are_kept() {
    let folder = Folder::new(MUSTER);
    let collecting = start(&folder, &[]);
    let mut http = collecting.http().unwrap();
    let batch = r#"[{"id":"a","user":"u","item":1,"time":5}, {"id":"b","user":"","item":1,"time":5}, 7,
        {"id":"c","user":"u","item":-1,"time":5}, {"id":"d","user":"u","item":2,"time":6,"event":"veiw"}, {"id":"a","user":"u","item":1,"time":5}]"#;
    let answer = http.post("application/json", batch).unwrap();
    assert_eq!(answer.status, 200);
    let json = answer.json();
    assert_eq!(
        (&json["accepted"], &json["duplicates"], &json["rejected"]),
        (&1.into(), &1.into(), &4.into())
    );
    let reasons: Vec<(u64, &str, &str)> = json["reasons"]
        .as_array()
        .unwrap()
        .iter()
        .map(|reason| {
            let text = |key: &str| reason[key].as_str().unwrap_or_default();
            (reason["index"].as_u64().unwrap(), text("field"), text("reason"))
        })
        .collect();
    let expected = [
        (1, "user", "is required and empty"),
        (2, "", "is a number, not an event"),
        (3, "item", "-1 is below 0"),
        (4, "event", "unknown value `veiw`, did you mean `view`?"),
    ];
    assert_eq!(reasons, expected);

    for (kind, body, status) in [
        ("application/json", "{\"id\":\"x\"}", 422),
        ("application/json", "{\"id\":", 400),
        ("application/json", "\"text\"", 400),
        ("text/csv", "a,b\n", 415),
        ("application/json", "[]", 200),
        ("application/x-ndjson", "\n{\"id\":\n\n", 422),
    ] {
        assert_eq!(http.post(kind, body).unwrap().status, status, "{kind} {body}");
    }
    // A body that is too large is refused unread.
    let mut large = collecting.http().unwrap();
    large.begin("/v1/events", "application/json", 5 << 20).unwrap();
    assert_eq!(large.answer().unwrap().status, 413);
    let many: String = (0..10_001).map(|number| event(&format!("m{number}"), 1, 1)).collect();
    assert_eq!(http.lines(&many).unwrap().status, 413);
    assert_eq!(collecting.end().0, Some(0));
    assert_eq!(ids(folder.path()).keys().collect::<Vec<_>>(), ["a"]);
}

#[test]
fn what_was_collected_is_prepared_from_the_folder() {
    let folder = Folder::new(MUSTER);
    for life in 0..2 {
        let collecting = start(&folder, &["files.max_size=2 KiB"]);
        let mut http = collecting.http().unwrap();
        for batch in 0..4 {
            let id = |event: u64| format!("{life}-{batch}-{event}");
            let lines: String = (0..20).map(|number| event(&id(number), number % 5, number)).collect();
            assert_eq!(http.lines(&lines).unwrap().status, 200);
            let again = http.lines(&lines).unwrap().json();
            assert_eq!((&again["accepted"], &again["duplicates"]), (&0.into(), &20.into()));
        }
        assert_eq!(http.get("/healthz").unwrap().body, "ok\n");
        let page = http.get("/metrics").unwrap().body;
        for line in ["events_total{result=\"accepted\"} 80\n", "writable 1\n", "answer_seconds_count 8\n"] {
            assert!(page.contains(line), "{line} {page}");
        }
        let (code, said) = collecting.end();
        assert!(code == Some(0) && said.contains("80 events taken, 80 duplicates"), "{said}");
    }
    assert!(finished(folder.path()).len() >= 4);
    let spec = "name = \"shop\"\ninput = \"events\"\nformat = \"jsonl\"\npartitions = 4\n[columns]\nuser = \"user\"\n\
                item = \"item\"\ntime = \"time\"\nevent = \"event\"\nevent_id = \"id\"\n[cleaning]\nduplicates = \"keep\"\n";
    folder.write("dataset.toml", spec);
    let prepared = folder.result(&["prepare", "dataset.toml", "--out", "prepared"]);
    assert_eq!((&prepared["rows_in"], &prepared["rows_out"]), (&160.into(), &160.into()), "{prepared}");
}

#[test]
fn the_example_collects_what_its_dataset_reads() {
    let folder = Folder::new(MUSTER);
    let example = |name: &str| root().join("deploy/examples/collect").join(name);
    let spec = std::fs::read_to_string(example("collect.toml")).unwrap();
    let collecting = Collecting::start_with(&spec, &mut Command::new(MUSTER), folder.path(), &[]);
    let event = |id: &str, item: &str| {
        format!(
            "{{\"id\":\"{id}\",\"user\":\"u\",\"item\":\"{item}\",\"time\":\"2026-01-01T00:00:0{id}.5Z\",\
             \"event\":\"buy\",\"price\":9.5}}\n"
        )
    };
    let lines = ["1", "2", "3"].map(|id| event(id, &format!("i{id}"))).concat();
    assert_eq!(collecting.http().unwrap().lines(&lines).unwrap().json()["accepted"], 3);
    assert_eq!(collecting.end().0, Some(0));
    folder.write("dataset.toml", std::fs::read(example("dataset.toml")).unwrap());
    let prepared = folder.result(&["prepare", "dataset.toml", "--out", "prepared"]);
    assert_eq!((&prepared["rows_in"], &prepared["events"]), (&3.into(), &3.into()), "{prepared}");
}

#[test]
fn an_acknowledged_event_is_in_the_files_once_after_kills_under_load() {
    let folder = Folder::new(MUSTER);
    let survived = survive(MUSTER, folder.path(), 6, &["files.max_size=8 KiB"]);
    assert!(survived.acknowledged >= 6 * 20 && survived.files > 1, "{survived:?}");
}

#[test]
fn a_process_that_cannot_collect_says_why() {
    let folder = Folder::new(MUSTER);
    let collecting = start(&folder, &[]);
    let args = ["collect", "collect.toml", "--out", "events", "--listen", "127.0.0.1:0"];
    let in_use = Refusal { code: 2, file: "events", field: "--out", words: &["in use by another process"] };
    assert_refused(&folder.muster(&args), in_use);
    drop(collecting);
    let open = ["collect", "collect.toml", "--out", "events", "--listen", "0.0.0.0:0"];
    let exposed = Refusal { code: 2, file: "", field: "--listen", words: &["token_file", "insecure"] };
    assert_refused(&folder.muster(&open), exposed);
    let set = ["--set", "event_id=item_id"];
    let wrong = Refusal { code: 2, file: "collect.toml", field: "event_id", words: &["item_id"] };
    assert_refused(&folder.muster(&[&args[..], &set].concat()), wrong);
}

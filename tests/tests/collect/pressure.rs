//! More than fits: a queue that is full, a disk that takes nothing, and a token that is asked for.

use std::process::Command;

use muster_tests::collecting::{Collecting, Http, event, ids};
use muster_tests::folder::Folder;
use muster_tests::process::wait_for;

use crate::{MUSTER, start};

fn gauge(http: &mut Http, name: &str) -> f64 {
    let page = http.get("/metrics").unwrap().body;
    let line = page.lines().find(|line| line.split(' ').next() == Some(name));
    line.unwrap_or_else(|| panic!("no {name} in {page}")).rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn a_full_queue_turns_requests_away_until_there_is_room_again() {
    let folder = Folder::new(MUSTER);
    let small = ["limits.max_event=1 KiB", "limits.max_body=4 KiB", "limits.queue=4 KiB"];
    let collecting = start(&folder, &small);
    let line = event("slow", 1, 1);
    // A request that does not end holds its room, before a byte of it is read.
    let mut slow = collecting.http().unwrap();
    slow.begin("/v1/events", "application/x-ndjson", 4096).unwrap();
    let mut http = collecting.http().unwrap();
    wait_for("the queue to be full", || {
        (gauge(&mut http, "muster_collect_queue_bytes") >= 4096.0).then_some(())
    });
    let answer = http.lines(&event("turned away", 1, 1)).unwrap();
    assert_eq!((answer.status, answer.headers.get("retry-after").map(String::as_str)), (429, Some("1")));
    assert!(answer.json()["error"]["message"].as_str().unwrap().contains("queue is full"), "{answer:?}");
    assert_eq!(gauge(&mut http, "muster_collect_turned_away_total{cause=\"full\"}") as u64, 1);
    slow.rest(&format!("{line}{}", "\n".repeat(4096 - line.len()))).unwrap();
    assert_eq!(slow.answer().unwrap().status, 200);
    assert_eq!(http.lines(&event("later", 1, 1)).unwrap().status, 200);
    assert_eq!(collecting.end().0, Some(0));
    let mut found: Vec<String> = ids(folder.path()).into_keys().collect();
    found.sort();
    assert_eq!(found, ["later", "slow"]);
}

/// Collects with files of no more than so many KiB, its log among them. The signal that comes with the limit is ignored, so that
/// a write fails with an error as on a full disk.
fn with_small_files(folder: &Folder, kib: u32) -> Collecting {
    let script = format!("trap '' XFSZ; ulimit -f {kib}; exec \"$0\" \"$@\" 2>log");
    let mut shell = Command::new("bash");
    Collecting::start(shell.args(["-c", &script, MUSTER]), folder.path(), &["files.compression=none"])
}

#[test]
fn a_process_that_cannot_write_is_not_healthy() {
    let folder = Folder::new(MUSTER);
    let collecting = with_small_files(&folder, 0);
    let mut http = collecting.http().unwrap();
    assert_eq!(http.get("/healthz").unwrap().body, "ok\n");
    for name in ["first", "second"] {
        assert_eq!(http.lines(&event(name, 1, 1)).unwrap().status, 503);
        assert_eq!(http.get("/healthz").unwrap().status, 503);
    }
    assert_eq!(collecting.end().0, Some(0));
    assert!(ids(folder.path()).is_empty());
}

#[test]
fn a_disk_that_takes_nothing_is_unavailable_and_no_event_is_half_written() {
    let folder = Folder::new(MUSTER);
    let collecting = with_small_files(&folder, 8);
    let mut http = collecting.http().unwrap();
    let batch = |name: &str, events: u64| {
        (0..events).map(|number| event(&format!("{name}{number}"), 1, number)).collect::<String>()
    };
    let mut expected = 0;
    for round in 0..4 {
        // Over 8 KiB at once: it never fits, and leaves nothing.
        let answer = http.lines(&batch(&format!("large{round}-"), 200)).unwrap();
        let retry = answer.headers.get("retry-after").map(String::as_str);
        assert_eq!((answer.status, retry), (503, Some("1")), "{answer:?}");
        for part in 0..3 {
            let answer = http.lines(&batch(&format!("small{round}-{part}-"), 20)).unwrap();
            // A file that is full up to the limit refuses once, and the next file takes it.
            let answer = if answer.status == 503 {
                http.lines(&batch(&format!("small{round}-{part}-"), 20)).unwrap()
            } else {
                answer
            };
            assert_eq!(answer.status, 200, "{answer:?}");
            expected += 20;
        }
        assert_eq!(http.get("/healthz").unwrap().body, "ok\n");
    }
    assert_eq!(collecting.end().0, Some(0));
    let found = ids(folder.path());
    assert_eq!(found.len(), expected);
    assert!(found.iter().all(|(id, times)| id.starts_with("small") && *times == 1), "{found:?}");
}

#[test]
fn without_the_token_nothing_is_taken_but_probes_are_answered() {
    let folder = Folder::new(MUSTER);
    folder.write("token", "0123456789abcdef");
    let mut command = Command::new(MUSTER);
    command.env("MUSTER_TOKEN_FILE", folder.at("token"));
    let collecting = Collecting::start(&mut command, folder.path(), &[]);
    let mut http = collecting.http().unwrap();
    assert_eq!(http.lines(&event("a", 1, 1)).unwrap().status, 401);
    assert_eq!(http.get("/metrics").unwrap().status, 401);
    assert_eq!(http.get("/healthz").unwrap().status, 200);
}

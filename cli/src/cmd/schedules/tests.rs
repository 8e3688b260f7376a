//! What people read of schedules and runs, and what they may write.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser as _;
use serde_json::json;

use super::*;
use crate::args::Cli;
use crate::output::Report as _;

fn schedule() -> serde_json::Value {
    json!({
        "name": "nightly", "model": "shop", "cron": "30 2 * * *", "time_zone": "Europe/Berlin", "paused": false,
        "next": "2026-11-29T01:30:00Z", "active": ["3f9a1c0b7d2e4a56"], "retrying": [], "queued": ["2026-11-28T01:30:00Z"],
        "backfill": [], "failures": 1, "last": "3f9a1c0b7d2e4a56",
        "missed": [{"logical": "2026-11-26T01:30:00Z", "at": "2026-11-27T08:00:00.123Z", "why": "it was missed, and the misfire rule passes it over"}],
    })
}

fn run() -> serde_json::Value {
    let at = |at: &str, stage: &str, why: &str| json!({"at": at, "stage": stage, "why": why});
    json!({
        "run": "3f9a1c0b7d2e4a56", "schedule": "nightly", "model": "shop", "logical": "2026-11-28T01:30:00Z", "attempt": 1,
        "kind": "scheduled", "stage": {"ended": {"outcome": "stopped"}}, "outcome": "stopped",
        "why": "gate relative: NDCG@10 fell", "transitions": [
            at("2026-11-28T01:30:00Z", "waiting", "it fired"),
            at("2026-11-28T01:32:00Z", "preparing", "late data had its time"),
            at("2026-11-28T01:33:30Z", "training", "the dataset is made"),
            at("2026-11-28T02:10:00Z", "judging", "it is trained"),
            at("2026-11-28T02:11:00Z", "ended", "gate relative: NDCG@10 fell"),
        ],
        "window": ["2026-10-29T01:30:00Z", "2026-11-28T01:30:00Z"],
        "read": {"increments": 30, "files": 60, "new_files": 2, "files_digest": "f1", "rows_read": 12345, "rows_rejected": 6},
        "dataset": {"folder": "/shared/shop/runs/a/dataset", "digest": "d1", "rows": 350_000, "users": 21_000, "items": 900},
        "parent": 11, "champion": 11, "job": 7, "version": 12,
        "metrics": {"NDCG@10": 0.21, "HR@10": 0.4}, "champion_metrics": {"NDCG@10": 0.22, "HR@10": 0.41},
        "judgement": {
            "outcome": "stopped", "at": "2026-11-28T02:11:00Z", "candidate": "c1", "champion": "c0", "users": 4000,
            "verdicts": [
                {"gate": "finite", "outcome": "passed", "why": "all parameters are numbers", "figures": {}},
                {"gate": "relative", "outcome": "stopped", "why": "NDCG@10 fell", "figures": {"difference": -0.01}},
            ],
        },
        "cost": {"cpu_seconds": 4100.5, "worker_seconds": 4380.0, "wall": {"secs": 2460, "nanos": 0}},
    })
}

fn read<T: serde::de::DeserializeOwned>(value: serde_json::Value) -> T {
    serde_json::from_value(value).unwrap()
}

#[test]
fn the_list_of_schedules() {
    let mut paused = schedule();
    paused["name"] = json!("weekly");
    paused["paused"] = json!(true);
    for (key, nothing) in
        [("next", json!(null)), ("active", json!([])), ("queued", json!([])), ("failures", json!(0))]
    {
        paused[key] = nothing;
    }
    insta::assert_snapshot!(show::Schedules(read(json!([schedule(), paused]))).text());
    assert!(show::Schedules(Vec::new()).text().contains("schedules apply"));
}

#[test]
fn one_schedule() {
    insta::assert_snapshot!(show::Schedule(read(schedule())).text());
}

#[test]
fn the_list_of_runs() {
    let mut waiting = run();
    waiting["run"] = json!("00aa1c0b7d2e4a56");
    waiting["stage"] = json!({"approving": {"until": "2026-11-30T00:00:00Z"}});
    waiting["why"] = json!("nobody has approved this model yet");
    waiting["outcome"] = json!(null);
    insta::assert_snapshot!(runs::Runs { runs: read(json!([waiting, run()])), more: true }.text());
}

#[test]
fn one_run() {
    let shown = run::Run(read(run()));
    insta::assert_snapshot!(shown.text());
    assert_eq!(shown.json()["judgement"]["verdicts"][1]["figures"]["difference"], json!(-0.01));
}

#[test]
fn a_run_that_has_only_begun() {
    let mut begun = run();
    for key in ["window", "read", "dataset", "parent", "champion", "job", "version", "judgement", "outcome"] {
        begun[key] = json!(null);
    }
    (begun["metrics"], begun["champion_metrics"]) = (json!({}), json!({}));
    begun["stage"] = json!({"waiting": {"until": "2026-11-28T01:32:00Z"}});
    begun["why"] = json!("it fired");
    begun["transitions"].as_array_mut().unwrap().truncate(1);
    begun["cost"] = json!({"cpu_seconds": 0.0, "worker_seconds": 0.0, "wall": {"secs": 0, "nanos": 0}});
    insta::assert_snapshot!(run::Run(read(begun)).text());
}

#[test]
fn how_all_schedules_go() {
    let health = json!({
        "name": "nightly", "model": "shop", "paused": false, "next": "2026-11-29T01:30:00Z", "freshness": 90_000.0,
        "objective": 86_400.0, "outcomes": {"promoted": 12, "stopped": 2, "failed": 1}, "pass_rate": 0.857,
        "to_promotion": 2500.0, "cpu_seconds": 4100.0, "worker_seconds": 4400.0, "missed": 1,
        "latest_missed": [{"logical": "2026-11-26T01:30:00Z", "at": "2026-11-27T08:00:00Z", "why": "run 3f9a was still at work"}],
    });
    let new = json!({
        "name": "weekly", "model": "books", "paused": true, "next": null, "freshness": null, "objective": null, "outcomes": {},
        "pass_rate": null, "to_promotion": null, "cpu_seconds": null, "worker_seconds": null, "missed": 0, "latest_missed": [],
    });
    let owed = "hook live for version 3 of shop: it was not made yet";
    let fleet = json!({"schedules": [health, new], "active_runs": 1, "owed_calls": [owed]});
    insta::assert_snapshot!(fleet::Fleet(read(fleet)).text());
}

#[test]
fn a_dry_run_shows_the_first_times_and_counts_the_others() {
    let times: Vec<String> = (1..=28).map(|day| format!("2026-02-{day:02}T01:30:00Z")).collect();
    let text = Changed(read(json!({"message": "28 runs would begin", "times": times}))).text();
    assert!(text.starts_with("28 runs would begin\n  for 2026-02-01T01:30:00Z"), "{text}");
    assert!(text.ends_with("and 8 more"), "{text}");
}

#[test]
fn flags_become_the_command_that_they_say() {
    let action = |line: &str| match Cli::try_parse_from(line.split(' ')).unwrap().command {
        crate::args::Command::Schedules(args) => args.action,
        other => panic!("{other:?}"),
    };
    let command = |line: &str| change::command(&action(line)).unwrap().1;
    let span = "muster schedules backfill nightly --from 2026-01-01T00:00:00Z --to 2026-02-01T00:00:00Z";
    let expected = json!({"backfill": {
        "schedule": "nightly", "from": "2026-01-01T00:00:00Z", "to": "2026-02-01T00:00:00Z", "reprocess": "failed",
        "max_active": 3, "reverse": true, "dry_run": true,
    }});
    let flags = "--reprocess failed --max-active 3 --reverse --dry-run";
    assert_eq!(json!(command(&format!("{span} {flags}"))), expected);
    assert_eq!(json!(command("muster schedules pause nightly")), json!({"pause": {"schedule": "nightly"}}));
    let backwards = "muster schedules backfill nightly --from 2026-02-01T00:00:00Z --to 2026-01-01T00:00:00Z";
    let error = change::command(&action(backwards)).unwrap_err();
    assert_eq!((error.kind.exit_code(), error.field.as_deref()), (2, Some("--to")));
    assert!(Cli::try_parse_from(["muster", "schedules", "trigger", "nightly", "--at", "soon"]).is_err());
}

/// A schedule file with the two files that it names, in a folder of its own.
fn files(schedule: &str, dataset: &str, job: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("logs")).unwrap();
    let path = folder.path().join("nightly.toml");
    fs::write(&path, schedule).unwrap();
    fs::write(folder.path().join("logs/dataset.toml"), dataset).unwrap();
    fs::write(folder.path().join("job.toml"), job).unwrap();
    (folder, path)
}

const SCHEDULE: &str = "name = \"nightly\"\nmodel = \"shop\"\ndataset = \"logs/dataset.toml\"\njob = \"job.toml\"\n\
                        workspace = \"/shared/shop\"\ncron = \"30 2 * * *\"\n";
const DATASET: &str =
    "name = \"shop\"\ninput = \"*.csv\"\nformat = \"csv\"\n[columns]\nuser = \"u\"\nitem = \"i\"\n";
const JOB: &str = "name = \"shop\"\n";

#[test]
fn all_three_files_are_sent_with_paths_that_hold_elsewhere() {
    let (folder, path) = files(SCHEDULE, DATASET, JOB);
    let applied = apply::read(&path, &["cron=\"0 3 * * *\"".to_owned()]).unwrap();
    let absolute = |path: &str| folder.path().join(path).display().to_string();
    assert_eq!(applied.spec.cron, "0 3 * * *");
    assert_eq!(
        (applied.spec.dataset, applied.spec.job),
        (absolute("logs/dataset.toml"), absolute("job.toml"))
    );
    assert_eq!((applied.spec.workspace.as_str(), applied.dataset_folder), ("/shared/shop", absolute("logs")));
    assert_eq!((applied.dataset_toml.as_str(), applied.job_toml.as_str()), (DATASET, JOB));
}

#[test]
fn what_is_wrong_with_any_of_the_three_files_is_told_at_once() {
    let schedule = format!("{SCHEDULE}jitter = \"2d\"\nfoo = 1\n");
    let (_folder, path) = files(&schedule, "name = \"\"\nformat = \"csv\"\n", "epoch = 3\n");
    let error = apply::read(&path, &[]).unwrap_err();
    for part in ["nightly.toml", "foo", "dataset.toml", "input", "job.toml", "epoch"] {
        assert!(error.message.contains(part), "{part} is not in\n{}", error.message);
    }
    assert_eq!(error.kind.exit_code(), 2);
    assert!(error.file.unwrap().ends_with("nightly.toml"));
}

#[test]
fn a_pattern_or_a_zone_that_is_none_is_found_with_its_field() {
    let refused = |line: &str| {
        let (_folder, path) = files(SCHEDULE, DATASET, JOB);
        apply::read(&path, &[line.to_owned()]).unwrap_err()
    };
    let error = refused("cron=\"61 2 * * *\"");
    assert_eq!((error.kind.exit_code(), error.field.as_deref()), (2, Some("cron")));
    assert_eq!(refused("time_zone=\"Europe/Nowhere\"").field.as_deref(), Some("time_zone"));
    let error = refused("job=\"nowhere.toml\"");
    assert_eq!(error.field.as_deref(), Some("job"));
    assert!(error.message.contains("nowhere.toml"), "{}", error.message);
}

#[test]
fn a_job_with_a_parent_of_its_own_is_refused_where_the_schedule_says_it() {
    let (_folder, path) =
        files(SCHEDULE, DATASET, "name = \"shop\"\n[warm_start]\nparent = \"/runs/first\"\n");
    let error = apply::read(&path, &[]).unwrap_err();
    assert!(
        error.message.contains("warm_start") && error.message.contains("[training]"),
        "{}",
        error.message
    );
    assert!(error.file.is_some_and(|file| file == Path::new(&path).with_file_name("job.toml")));
}

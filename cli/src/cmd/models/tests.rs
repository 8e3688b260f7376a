//! What people read of models, and what they may write.

use clap::Parser as _;
use muster_core::retrain::registry::Entry;
use serde_json::{Value, json};

use super::*;
use crate::args::Cli;
use crate::output::Report as _;

fn version(number: u64, ndcg: f64, epochs: u32) -> Value {
    json!({
        "number": number, "created": "2026-11-28T02:11:00.5Z",
        "model": {
            "model_digest": format!("m{number}"), "checkpoint": format!("/shared/shop/runs/{number}/train/checkpoints/step-9"),
            "checkpoint_digest": "c", "bytes": 5_242_880, "dataset": format!("/shared/shop/runs/{number}/dataset"),
            "lineage": {
                "job": format!("name = \"shop\"\n[batch]\nsequences = 64\n[training]\nepochs = {epochs}\n"), "dataset": format!("d{number}"),
                "files": number, "files_digest": format!("f{number}"), "window": ["2026-10-29T01:30:00Z", "2026-11-28T01:30:00Z"], "code": "0.1.0",
                "numerics": "fma-1", "seed": 7, "parent": number - 1, "run": "3f9a1c0b7d2e4a56",
            },
            "metrics": {"NDCG@10": ndcg, "HR@10": 2.0 * ndcg, "HR@5": 1.5 * ndcg},
            "cost": {"cpu_seconds": 4100.5, "worker_seconds": 4380.0, "wall": {"secs": 2460, "nanos": 0}},
            "judgement": {
                "outcome": "passed", "at": "2026-11-28T02:11:00Z", "candidate": format!("m{number}"), "champion": null, "users": 4000,
                "verdicts": [{"gate": "finite", "outcome": "passed", "why": "all parameters are numbers", "figures": {}}],
            },
        },
        "notes": [{"by": "ann", "at": "2026-11-28T09:00:00Z", "text": "logs of March lack the app's events"}],
        "labels": {"region": "eu"},
    })
}

fn model() -> ModelView {
    let view = json!({
        "name": "shop", "n_versions": 2, "aliases": {"champion": 12, "previous": 11, "canary": 12},
        "versions": [version(12, 0.21, 3), version(11, 0.2, 2)],
        "reported": {"12": {"click_rate": [0.031, 20_000]}},
    });
    serde_json::from_value(view).unwrap()
}

fn entries() -> Vec<Entry> {
    let promoted = json!({"promoted": {"version": 12, "before": 11}});
    let entry = |number: u64, by: &str, change: Value| json!({"number": number, "at": "2026-11-28T02:12:00Z", "by": by, "change": change});
    let entries = json!([
        entry(3, "ann", json!({"moved": {"alias": "canary", "version": 12, "before": null}})),
        entry(2, "3f9a1c0b7d2e4a56", promoted),
        entry(1, "3f9a1c0b7d2e4a56", json!({"registered": {"version": 12}})),
    ]);
    serde_json::from_value(entries).unwrap()
}

#[test]
fn the_list_of_models() {
    insta::assert_snapshot!(show::Models(vec![model()]).text());
    assert!(show::Models(Vec::new()).text().starts_with("no models"));
}

#[test]
fn one_model() {
    insta::assert_snapshot!(show::Model(model()).text());
}

#[test]
fn one_version() {
    let model = model();
    let version = version_of(&model, "canary").unwrap().clone();
    let one = version::One { model, version };
    insta::assert_snapshot!(one.text());
    assert_eq!(one.json()["aliases"], json!(["canary", "champion"]));
}

#[test]
fn two_versions() {
    let model = model();
    let diff =
        diff::Diff::of("shop", version_of(&model, "previous").unwrap(), version_of(&model, "12").unwrap());
    insta::assert_snapshot!(diff.text());
    let json = diff.json();
    assert_eq!(json["job"], json!([{"name": "training.epochs", "from": "2", "to": "3"}]));
    let files = json!({"name": "files' digest", "from": "f11", "to": "f12"});
    assert!(json["differences"].as_array().unwrap().contains(&files), "{json}");
}

#[test]
fn what_happened() {
    insta::assert_snapshot!(history::History(entries()).text());
}

#[test]
fn a_version_that_is_not_there_is_refused_with_the_names_that_are() {
    let model = model();
    assert_eq!(version_of(&model, "champion").unwrap().number.0, 12);
    for wanted in ["13", "chmpion", "-1"] {
        let error = version_of(&model, wanted).unwrap_err();
        assert_eq!((error.kind.exit_code(), error.field.as_deref()), (2, Some("VERSION")));
        assert!(error.message.contains("canary, champion, previous"), "{}", error.message);
    }
}

fn action(line: &str) -> Result<Action, clap::Error> {
    match Cli::try_parse_from(line.split(' '))?.command {
        crate::args::Command::Models(args) => Ok(args.action),
        other => panic!("{other:?}"),
    }
}

#[test]
fn flags_become_the_command_that_they_say() {
    let command = |line: &str| json!(change::command(&action(line).unwrap()).unwrap().1);
    let promote = command("muster models promote shop 12 --expected 11");
    assert_eq!(promote, json!({"promote": {"model": "shop", "version": 12, "expected": 11}}));
    let unnamed = command("muster models alias shop canary --remove");
    assert_eq!(unnamed["alias"]["version"], Value::Null);
    let metric = command("muster models metric shop delta -0.5 --samples 100");
    assert_eq!((&metric["metric"]["value"], &metric["metric"]["samples"]), (&json!(-0.5), &json!(100)));
}

#[test]
fn flags_that_say_nothing_or_two_things_are_refused() {
    for line in [
        "muster models alias shop canary",
        "muster models alias shop canary 3 --remove",
        "muster models label shop 12 region",
        "muster models metric shop click_rate NaN --samples 10",
        "muster models metric shop click_rate 0.1 --samples 0",
        "muster models metric shop click_rate 0.1",
        "muster models export shop 12",
    ] {
        assert!(action(line).is_err(), "{line} was taken");
    }
}

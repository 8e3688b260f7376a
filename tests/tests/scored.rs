//! Forecasts beside measurements, through the program: `muster plan --job`, the result of a run, and bad calibrations.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use std::time::Duration;

use muster_proto::job::OptimizerKind;
use muster_proto::measured::calibration::VERSION;
use muster_proto::measured::{Calibration, Elapsed, Point, Term, TermPoints};
use muster_proto::units::ByteSize;
use muster_tests::folder::Folder;
use muster_tests::small;

const PROGRAM: &str = env!("CARGO_BIN_EXE_muster-under-test");

/// A calibration of a machine on which each unit of work takes a nanosecond.
fn calibration() -> Calibration {
    let of = |term: Term, optimizer: Option<OptimizerKind>| {
        let point = |(busy, at, size): (u32, f64, u64)| Point {
            at: vec![at; term.axes().0.len()],
            size: size as f64,
            busy,
            time: Elapsed(Duration::from_nanos(size)),
        };
        let busy = [1, 2].into_iter().flat_map(|busy| [(busy, 1.0), (busy, 512.0)]);
        let all = busy.flat_map(|(busy, at)| [(busy, at, 100), (busy, at, 10_000)]);
        TermPoints { term, optimizer, points: all.map(point).collect() }
    };
    let of_optimizer = |term: &Term| matches!(term, Term::UpdateAll | Term::UpdateRows);
    let plain = Term::ALL.into_iter().filter(|term| !of_optimizer(term)).map(|term| of(term, None));
    let adam = Term::ALL.into_iter().filter(of_optimizer).map(|term| of(term, Some(OptimizerKind::Adam)));
    Calibration {
        version: VERSION,
        machine: "a machine of this test".into(),
        cores: 2,
        date: "2026-11-28T10:00:00Z".into(),
        muster: "0.1.0".into(),
        build: "release".into(),
        transport: "auto".into(),
        process: ByteSize::from_mib(20),
        terms: plain.chain(adam).collect(),
        trials: Vec::new(),
    }
}

fn folder() -> Folder {
    let folder = small::prepared(PROGRAM);
    folder.write("machine.toml", toml::to_string(&calibration()).unwrap());
    folder
}

#[test]
fn a_run_tells_what_its_steps_took_beside_what_was_forecast_before() {
    let folder = folder();
    let question = ["--dataset", "prepared", "--workers", "2", "--calibration", "machine.toml"];
    let planned =
        folder.result(&[&["plan", "--job", "job.toml", "--threads", "1"][..], &question[..]].concat());
    let forecast = planned["step_seconds"].as_f64().unwrap();
    assert!(forecast > 0.0, "{planned}");
    assert_eq!(planned["forecast"]["peak_bytes"].as_array().unwrap().len(), 2, "{planned}");
    let flags = ["--threads", "1", "--device", "cpu", "--out", "run"];
    let run = folder.result(&[&["train", "job.toml"][..], &question[..], &flags[..]].concat());
    let step = &run["scored"]["step"];
    assert!((step["forecast"].as_f64().unwrap() / 1e3 - forecast).abs() < 1e-12, "{run}");
    let (told, measured) = (step["error"].as_f64().unwrap(), step["measured"].as_f64().unwrap() / 1e3);
    assert!((told - (forecast / measured - 1.0)).abs() < 1e-9, "{run}");
    let source = run["scored"]["source"].as_str().unwrap();
    assert!(source.starts_with("calibration of a machine of this test on 2026-11-28"), "{source}");
    // A rank's phases add up to no more than all the time that it spent on steps, which the result has of the first rank.
    let ranks = run["measured"].as_array().unwrap();
    assert_eq!(ranks.len(), 2, "{run}");
    for (place, rank) in ranks.iter().enumerate() {
        let wall = |share: &serde_json::Value| share["wall"].as_f64().unwrap();
        let phases: f64 = rank["phases"].as_object().unwrap().values().map(wall).sum();
        let (steps, all) = (rank["steps"].as_f64().unwrap(), phases + wall(&rank["rest"]));
        assert!(all > 0.0, "{rank}");
        let spent = run["training_seconds"].as_f64().unwrap();
        assert!(place > 0 || steps * all <= spent * 1.001, "{rank} {run}");
        assert!(rank["peak_bytes"].as_u64().unwrap() > 1 << 20, "{rank}");
        assert!(rank["phases"]["input_exchange"]["inside"].as_f64().unwrap() > 0.0, "{rank}");
    }
    let kept: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(folder.at("run/steps.json")).unwrap()).unwrap();
    assert_eq!((&kept["scored"], &kept["measured"]), (&run["scored"], &run["measured"]));
}

#[test]
fn without_a_calibration_the_catalogue_is_named_as_the_source() {
    let folder = small::prepared(PROGRAM);
    let mut command = folder.command(&["plan", "--job", "job.toml", "--dataset", "prepared"]);
    command.env("XDG_CACHE_HOME", folder.path());
    let planned = muster_tests::binary::run_command(&mut command).expect_success().json();
    assert_eq!(planned["forecast"]["source"], "catalogue, cpu_xeon_2", "{planned}");
}

#[test]
fn a_calibration_that_is_none_is_refused_by_its_field() {
    let folder = folder();
    let refused = |from: &str, to: &str| {
        let text = toml::to_string(&calibration()).unwrap();
        assert!(text.contains(from), "{from}");
        folder.write("bad.toml", text.replacen(from, to, 1));
        let question = ["plan", "--job", "job.toml", "--dataset", "prepared", "--calibration", "bad.toml"];
        let outcome = folder.muster(&question);
        assert_eq!(outcome.code, Some(2), "{outcome:?}");
        outcome.json()["error"].clone()
    };
    assert_eq!(refused("cores = 2", "cores = 0")["field"], "cores");
    assert!(refused("cores = 2", "coers = 2")["message"].as_str().unwrap().contains("cores"));
    assert!(refused("version = 2", "version = 1")["message"].as_str().unwrap().contains("muster calibrate"));
    // The job's optimizer was not measured.
    let outcome = folder.muster(&[
        "plan",
        "--job",
        "job.toml",
        "--dataset",
        "prepared",
        "--calibration",
        "machine.toml",
        "--set",
        "optimizer.kind=sgd",
    ]);
    assert_eq!(outcome.code, Some(2), "{outcome:?}");
    assert!(outcome.stdout.contains("update_all of sgd"), "{outcome:?}");
}

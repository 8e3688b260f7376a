//! Many jobs share the workers: who comes first has others stop at a checkpoint, and these end as if never stopped.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use muster_tests::cluster::{Cluster, newest_manifest};
use muster_tests::process::wait_for;
use muster_tests::small::long;
use serde_json::Value;

/// The program under test.
const MUSTER: &str = env!("CARGO_BIN_EXE_muster-under-test");

const DATA: [&str; 3] = ["job.toml", "--dataset", "prepared"];

fn submit(cluster: &Cluster<'_>, out: &str, flags: &[&str]) -> String {
    let args = [&["jobs", "submit", "--out", out], &DATA[..], flags].concat();
    cluster.ask(&args).unwrap()["job"].to_string()
}

fn waits_until(cluster: &Cluster<'_>, job: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    wait_for(what, || {
        let status = cluster.ask(&["jobs", "show", job])?;
        assert_ne!(status["phase"], "failed", "{status}");
        is_so(&status).then_some(status)
    })
}

#[test]
fn a_job_that_is_stopped_for_another_ends_with_the_model_of_one_that_is_left_alone() {
    let folder = long(MUSTER);
    let epochs = ["--set", "training.epochs=900"];
    let alone = folder.result(&[&["train", "--workers", "1", "--out", "alone"], &DATA[..], &epochs].concat());
    let cluster = Cluster::start(&folder, 2, &[]);
    let backfill = ["--workers", "2", "--min-workers", "2", "--class", "backfill"];
    let backfill = submit(&cluster, "backfill", &[&backfill[..], &epochs].concat());
    cluster.trains_on(&backfill, 2);
    waits_until(&cluster, &backfill, "some steps", |status| status["progress"]["step"].as_u64() > Some(0));
    let by_hand = submit(&cluster, "by-hand", &["--workers", "2", "--set", "training.epochs=100"]);
    let stopped =
        waits_until(&cluster, &backfill, "the backfill to stop", |status| status["phase"] == "gathering");
    assert_eq!((&stopped["stops"], &stopped["queueing"]["class"]), (&1.into(), &"backfill".into()));
    waits_until(&cluster, &by_hand, "the other to finish", |status| status["phase"] == "finished");
    let ended =
        waits_until(&cluster, &backfill, "the backfill to finish", |status| status["phase"] == "finished");
    let incidents = ended["incidents"].as_array().unwrap();
    assert_eq!(incidents.len(), 1, "{ended}");
    let incident = &incidents[0];
    assert!(incident["reason"].as_str().unwrap().contains("stops at a checkpoint"), "{incident}");
    assert_eq!((&incident["planned"], &incident["steps_redone"]), (&true.into(), &0.into()), "{incident}");
    assert_eq!(newest_manifest(&folder.at("backfill"))["model_digest"], alone["model_digest"]);
    let verified = folder.result(&["verify", "backfill", "--dataset", "prepared"]);
    assert_eq!(verified["ok"], true, "{verified}");
}

#[test]
fn a_team_waits_at_its_quota_while_others_go_on() {
    let folder = long(MUSTER);
    folder.write("pool.toml", "[[teams]]\nname = \"ads\"\nquota = 1\n");
    let cluster = Cluster::start(&folder, 2, &["--pool", "pool.toml"]);
    let long = ["--workers", "1", "--set", "training.epochs=100000"];
    let first = submit(&cluster, "first", &[&long[..], &["--team", "ads"]].concat());
    cluster.trains_on(&first, 1);
    let second = submit(&cluster, "second", &[&long[..], &["--team", "ads"]].concat());
    let waiting =
        waits_until(&cluster, &second, "the team's second job to wait", |status| status["place"] == 1);
    let reason = waiting["reason"].as_str().unwrap();
    assert_eq!(reason, "needs 1 workers, but team \"ads\" holds 1 of the 1 that it may");
    let other = submit(&cluster, "other", &long);
    cluster.trains_on(&other, 1);
    cluster.ask(&["jobs", "cancel", &first]).unwrap();
    cluster.trains_on(&second, 1);
}

#[test]
fn rules_that_cannot_be_are_refused_with_file_and_key() {
    let folder = muster_tests::folder::Folder::new(MUSTER);
    folder.write("pool.toml", "patience = \"1m\"\n[[teams]]\nname = \"ads\"\nquotas = 1\n");
    let refused = folder.muster(&["coordinator", "--listen", "127.0.0.1:0", "--pool", "pool.toml"]);
    let refusal = muster_tests::refusal::Refusal {
        code: 2,
        file: "pool.toml",
        field: "teams",
        words: &["quotas", "quota"],
    };
    muster_tests::refusal::assert_refused(&refused, refusal);
}

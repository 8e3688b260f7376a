//! A cluster's state moves from one store to another.

use muster_tests::etcd::Etcd;
use muster_tests::process::{Running, signal, wait_for};
use muster_tests::refusal::{Refusal, assert_refused};

use crate::cluster::Cluster;

const SUBMIT: [&str; 7] = ["jobs", "submit", "job.toml", "--dataset", "prepared", "--out", "run"];

fn end(coordinator: Running) {
    signal("TERM", coordinator.id());
    assert_eq!(coordinator.end().0, Some(0));
}

fn migrate<'a>(from: &'a str, to: &'a str) -> [&'a str; 6] {
    ["store", "migrate", "--from", from, "--to", to]
}

#[test]
fn a_cluster_moves_to_etcd_and_back_with_its_jobs_and_never_while_it_is_in_use() {
    let Some(etcd) = Etcd::start() else { return };
    let (embedded, shared) = ("embedded:store", etcd.store("clusters/one"));
    let before = Cluster::new(1, embedded, 2.0);
    let coordinator = before.coordinator(0);
    wait_for("the coordinator", || before.leader());
    let job = before.ask(&SUBMIT).unwrap()["job"].clone();
    let folder = &before.folder;
    let refusal = |outcome, code, field, words: &[&str]| {
        assert_refused(&outcome, Refusal { code, file: "", field, words });
    };
    refusal(folder.muster(&migrate(embedded, &shared)), 1, "--from", &["in use", "stop it first"]);
    end(coordinator);
    let moved = folder.result(&migrate(embedded, &shared));
    assert!(moved["keys"].as_u64().unwrap() >= 3, "{moved}");

    let after = Cluster::new(1, &shared, 2.0);
    let coordinator = after.coordinator(0);
    wait_for("the coordinator", || after.leader());
    assert_eq!(after.ask(&["jobs", "list"]).unwrap()["jobs"][0]["job"], job);
    refusal(folder.muster(&migrate(&shared, "embedded:other")), 1, "--from", &["in use", &after.url(0)]);
    refusal(folder.muster(&migrate(embedded, &shared)), 2, "--to", &["holds", "empty"]);
    end(coordinator);

    let back = folder.result(&migrate(&shared, "embedded:other"));
    assert_eq!((&back["keys"], &back["bytes"]), (&moved["keys"], &moved["bytes"]));
    refusal(folder.muster(&migrate(&shared, "embedded:other")), 2, "--to", &["holds", "empty"]);
    refusal(folder.muster(&migrate("embedded:none", &shared)), 2, "--from", &["nothing"]);
    refusal(folder.muster(&migrate("memory", &shared)), 2, "--from", &["memory"]);
    refusal(folder.muster(&migrate(embedded, "redis://host:1")), 2, "--to", &["etcd://"]);
}

//! One coordinator with an embedded store, which is killed and started again where it was.

use muster_tests::process::{signal, wait_for};

use crate::cluster::Cluster;

#[test]
fn steps_go_on_while_the_coordinator_is_dead_and_it_takes_the_job_over_where_it_was() {
    let cluster = Cluster::new(1, "embedded:store", 5.0);
    let first = cluster.coordinator(0);
    let _workers = [cluster.worker(), cluster.worker()];
    wait_for("the coordinator", || cluster.leader());
    let train = cluster.train();
    cluster.wait_for_steps(40);

    signal("KILL", first.id());
    first.end();
    assert_eq!(cluster.leader(), None);
    cluster.wait_for_steps(200);

    let _second = cluster.coordinator(0);
    wait_for("the coordinator", || cluster.leader());
    cluster.wait_for_workers();
    cluster.assert_undisturbed(train);
}

#[test]
fn a_job_that_waits_for_workers_when_the_coordinator_dies_is_run_by_its_successor() {
    let cluster = Cluster::new(1, "embedded:store", 5.0);
    let first = cluster.coordinator(0);
    wait_for("the coordinator", || cluster.leader());
    let train = cluster.train();
    wait_for("the job", || {
        let jobs = cluster.ask(&["jobs", "list"])?;
        (jobs["jobs"].get(0)?["phase"] == "gathering").then_some(())
    });
    signal("KILL", first.id());
    first.end();

    let _second = cluster.coordinator(0);
    let _workers = [cluster.worker(), cluster.worker()];
    cluster.assert_undisturbed(train);
}

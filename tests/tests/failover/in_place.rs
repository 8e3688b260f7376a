//! One coordinator with an embedded store, which is killed and started again where it was.

use muster_tests::process::{Running, signal, wait_for};

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
    cluster.wait_for_connected(2);
    cluster.assert_undisturbed(train);
}

#[test]
fn a_job_that_waits_for_workers_when_the_coordinator_dies_is_run_by_its_successor() {
    let cluster = Cluster::new(1, "embedded:store", 5.0);
    let first = cluster.coordinator(0);
    wait_for("the coordinator", || cluster.leader());
    let train = cluster.train();
    cluster.wait_for_phase("gathering");
    let _second = replaced(&cluster, first);
    let _workers = [cluster.worker(), cluster.worker()];
    cluster.assert_undisturbed(train);
}

#[test]
fn ranks_that_load_when_the_coordinator_dies_are_started_by_its_successor() {
    let cluster = Cluster::new(1, "embedded:store", 5.0);
    let first = cluster.coordinator(0);
    let (one, other) = (cluster.worker(), cluster.worker());
    cluster.wait_for_connected(2);
    // One of them cannot answer, so the other waits for it.
    signal("STOP", other.id());
    let train = cluster.train();
    cluster.wait_for_phase("loading");
    let _second = replaced(&cluster, first);
    signal("CONT", other.id());
    cluster.assert_undisturbed(train);
    drop((one, other));
}

#[test]
fn a_job_that_recovers_when_the_coordinator_dies_goes_on_under_its_successor() {
    let cluster = Cluster::new(1, "embedded:store", 5.0);
    let first = cluster.coordinator(0);
    let (lost, held) = (cluster.worker(), cluster.worker());
    cluster.wait_for_connected(2);
    let train = cluster.train();
    cluster.wait_for_steps(40);
    let _spare = cluster.worker();
    cluster.wait_for_connected(3);
    // One is lost, and the other cannot say that it has stopped.
    signal("STOP", held.id());
    signal("KILL", lost.id());
    lost.end();
    cluster.wait_for_phase("recovering");
    let _second = replaced(&cluster, first);
    signal("CONT", held.id());
    let result = cluster.assert_same_model(train);
    assert_eq!(result["generation"], 2, "{result}");
}

#[test]
fn a_job_that_is_being_cancelled_when_the_coordinator_dies_is_cancelled_by_its_successor() {
    let cluster = Cluster::new(1, "embedded:store", 5.0);
    let first = cluster.coordinator(0);
    let (_one, held) = (cluster.worker(), cluster.worker());
    cluster.wait_for_connected(2);
    let train = cluster.train();
    cluster.wait_for_steps(40);
    signal("STOP", held.id());
    cluster.ask(&["jobs", "cancel", "1"]).unwrap();
    cluster.wait_for_phase("draining");
    let _second = replaced(&cluster, first);
    signal("CONT", held.id());
    cluster.wait_for_phase("cancelled");
    let (code, stdout) = train.end();
    assert_ne!(code, Some(0), "{stdout}");
    // Nobody is left with a rank that was not ended.
    wait_for("both workers to be idle", || {
        let workers = cluster.ask(&["workers", "list"])?;
        let idle = |worker: &serde_json::Value| worker["connected"] == true && worker["assignment"].is_null();
        let workers = workers["workers"].as_array()?;
        (workers.iter().filter(|worker| idle(worker)).count() == 2).then_some(())
    });
}

/// Kills a coordinator and starts another one in its place, on the same store.
fn replaced(cluster: &Cluster, first: Running) -> Running {
    signal("KILL", first.id());
    first.end();
    let second = cluster.coordinator(0);
    wait_for("the coordinator", || cluster.leader());
    second
}

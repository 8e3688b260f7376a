//! Coordinators that share an etcd.

use std::time::{Duration, Instant};

use muster_tests::etcd::Etcd;
use muster_tests::process::{Running, signal, wait_for};

use crate::cluster::Cluster;

/// In which another coordinator has to lead when the leader was killed, at default settings.
const FAILOVER: Duration = Duration::from_secs(5);

fn coordinators(cluster: &Cluster) -> Vec<Option<Running>> {
    (0..3).map(|number| Some(cluster.coordinator(number))).collect()
}

#[test]
fn when_the_leader_is_killed_another_leads_in_seconds_and_no_step_is_lost() {
    let Some(etcd) = Etcd::start() else { return };
    let cluster = Cluster::new(3, &etcd.store("cluster"), 5.0);
    let mut coordinators = coordinators(&cluster);
    let _workers = [cluster.worker(), cluster.worker()];
    let leader = wait_for("a leader", || cluster.leader());
    let train = cluster.train();
    cluster.wait_for_steps(40);

    let killed = coordinators[leader].take().unwrap();
    signal("KILL", killed.id());
    let begun = Instant::now();
    killed.end();
    let successor = wait_for("another leader", || cluster.leader());
    let failover = begun.elapsed();
    assert_ne!(successor, leader);
    assert!(failover < FAILOVER, "{failover:?}");
    cluster.wait_for_connected(2);
    cluster.assert_undisturbed(train);
}

#[test]
fn a_leader_that_is_told_to_end_hands_over_at_once_and_followers_say_who_leads() {
    let Some(etcd) = Etcd::start() else { return };
    let cluster = Cluster::new(3, &etcd.store("cluster"), 60.0);
    let mut coordinators = coordinators(&cluster);
    let leader = wait_for("a leader", || cluster.leader());
    let follower = (leader + 1) % 3;
    let says_who_leads = || cluster.page(follower, "/healthz")?.contains(&cluster.url(leader)).then_some(());
    wait_for("a follower to know the leader", says_who_leads);
    // A client that knows only a follower is told where to go.
    let url = cluster.url(follower);
    let told = cluster.folder.muster(&["jobs", "list", "--coordinator", &url]);
    assert_eq!(told.code, Some(1), "{told:?}");
    let message = told.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains(&cluster.url(leader)), "{message}");
    // One that knows all of them goes there.
    assert!(cluster.ask(&["jobs", "list"]).is_some());

    let ended = coordinators[leader].take().unwrap();
    let begun = Instant::now();
    signal("TERM", ended.id());
    assert_eq!(ended.end().0, Some(0));
    let successor = wait_for("another leader", || cluster.leader());
    assert_ne!(successor, leader);
    // Not after the lease, which is 36 s here.
    assert!(begun.elapsed() < Duration::from_secs(18), "{:?}", begun.elapsed());
}

#[test]
fn training_goes_on_while_etcd_hangs_and_the_cluster_recovers_by_itself() {
    let Some(etcd) = Etcd::start() else { return };
    let cluster = Cluster::new(2, &etcd.store("cluster"), 2.0);
    let _coordinators = [cluster.coordinator(0), cluster.coordinator(1)];
    let _workers = [cluster.worker(), cluster.worker()];
    let leader = wait_for("a leader", || cluster.leader());
    let train = cluster.train();
    cluster.wait_for_steps(40);

    signal("STOP", etcd.id());
    let before = cluster.step();
    wait_for("the leader to step down", || {
        cluster.page(leader, "/healthz")?.contains("no coordinator leads").then_some(())
    });
    assert_eq!(cluster.leader(), None);
    cluster.wait_for_step(before + 200);

    signal("CONT", etcd.id());
    wait_for("a leader", || cluster.leader());
    cluster.wait_for_connected(2);
    cluster.assert_undisturbed(train);
}

#[test]
fn a_leader_that_slept_through_its_succession_follows_when_it_wakes() {
    let Some(etcd) = Etcd::start() else { return };
    let cluster = Cluster::new(2, &etcd.store("cluster"), 2.0);
    let coordinators = [cluster.coordinator(0), cluster.coordinator(1)];
    let _workers = [cluster.worker(), cluster.worker()];
    let leader = wait_for("a leader", || cluster.leader());
    let train = cluster.train();
    cluster.wait_for_steps(40);

    signal("STOP", coordinators[leader].id());
    let awake = wait_for("another leader", || cluster.leader());
    assert_ne!(awake, leader);
    cluster.wait_for_connected(2);
    signal("CONT", coordinators[leader].id());
    wait_for("the sleeper to know who leads", || {
        cluster.page(leader, "/healthz")?.contains(&cluster.url(awake)).then_some(())
    });
    assert_eq!(cluster.leader(), Some(awake));
    cluster.assert_undisturbed(train);
}

//! The cuts: each ends with the model of an undisturbed run, soon enough.

use std::time::Instant;

use muster_tests::process::wait_for;

use crate::cluster::{COORDINATOR, Cluster};

/// Which way a cut stops what is sent.
#[derive(Clone, Copy)]
enum Way {
    Both,
    /// What the host sends is lost, and it hears the others.
    Out,
    /// The host hears nothing, and the others hear it.
    In,
}

fn cut(cluster: &Cluster, host: &str, others: &[&str], way: Way) -> Instant {
    for other in others {
        if matches!(way, Way::Both | Way::Out) {
            cluster.network.cut(host, other);
        }
        if matches!(way, Way::Both | Way::In) {
            cluster.network.cut(other, host);
        }
    }
    Instant::now()
}

/// Cuts the host of a rank off from the coordinator, and sees the job through without it.
fn off_the_coordinator(rank: usize, way: Way, what: &str) {
    let Some(cluster) = Cluster::train(3) else { return };
    let (host, _) = cluster.host_of(rank);
    let begun = cut(&cluster, host, &[COORDINATOR], way);
    cluster.goes_on_within_bounds(begun, what);
    cluster.ends_undisturbed();
}

/// Cuts the host of a rank off from the other ranks, and sees the job through.
fn off_its_peers(workers: usize, rank: usize, way: Way, what: &str) {
    let Some(cluster) = Cluster::train(workers) else { return };
    let (host, peers) = cluster.host_of(rank);
    // A spare is a peer to be.
    let known = cluster.connected().unwrap();
    let spares =
        known.iter().map(|(_, other)| *other).filter(|other| *other != host && !peers.contains(other));
    let others: Vec<_> = peers.iter().copied().chain(spares).collect();
    let begun = cut(&cluster, host, &others, way);
    cluster.goes_on_within_bounds(begun, what);
    cluster.ends_undisturbed();
}

#[test]
fn a_worker_cut_off_from_the_coordinator_but_not_from_its_peers_is_done_without() {
    off_the_coordinator(1, Way::Both, "off the coordinator");
}

#[test]
fn a_worker_whose_words_do_not_reach_the_coordinator_is_done_without() {
    off_the_coordinator(2, Way::Out, "unheard by the coordinator");
}

#[test]
fn a_worker_that_does_not_hear_the_coordinator_is_done_without() {
    off_the_coordinator(0, Way::In, "deaf to the coordinator");
}

#[test]
fn a_worker_cut_off_from_its_peers_but_not_from_the_coordinator_is_found_and_done_without() {
    off_its_peers(3, 0, Way::Both, "off its peers");
}

#[test]
fn a_worker_cut_off_from_its_peers_gives_its_rank_to_a_spare() {
    off_its_peers(2, 1, Way::Both, "off its peers, with a spare");
}

#[test]
fn a_worker_whose_words_do_not_reach_its_peers_is_found_and_done_without() {
    off_its_peers(3, 1, Way::Out, "unheard by its peers");
}

#[test]
fn a_worker_that_does_not_hear_its_peers_is_found_and_done_without() {
    off_its_peers(3, 2, Way::In, "deaf to its peers");
}

#[test]
fn a_worker_that_was_cut_off_and_fenced_comes_back_as_new() {
    let Some(cluster) = Cluster::train(3) else { return };
    let (host, peers) = cluster.host_of(1);
    let others = [&[COORDINATOR], &peers[..]].concat();
    let id_on = |host| Some(cluster.connected()?.into_iter().find(|(_, other)| *other == host)?.0);
    let before = id_on(host).unwrap();
    let begun = cut(&cluster, host, &others, Way::Both);
    cluster.goes_on_within_bounds(begun, "off everybody");
    for other in others {
        cluster.network.heal(host, other);
        cluster.network.heal(other, host);
    }
    let after = wait_for("the worker to register again", || id_on(host));
    assert!(after > before, "worker {before} came back as {after}");
    cluster.ends_undisturbed();
    let explained = cluster.incidents();
    assert!(explained.iter().any(|incident| incident["after"] == 3), "it got a rank again: {explained:?}");
}

//! The control plane on a network that is simulated: the real coordinator and the real agents, over real gRPC, on
//! turmoil's sockets and clock. Only training is played, by a model that is small and wholly deterministic.
//!
//! A seed makes a run: which processes crash and come back, which links are cut, one way or both, held or slow.
//! `MUSTER_SEEDS=FROM..TO` runs other seeds than CI does; a seed that fails is printed and belongs into `PINNED`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod faults;
mod mesh;
mod net;
mod random;
mod run;
mod trainer;
mod world;

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use world::Planted;

/// Seeds that found something once.
const PINNED: &[u64] = &[];

const SEEDS: Range<u64> = 0..1000;

/// Of planted faults: so many seeds have to find each.
const SEARCHED: Range<u64> = 0..200;

fn seeds() -> Range<u64> {
    let Ok(range) = std::env::var("MUSTER_SEEDS") else { return SEEDS };
    let (from, to) = range.split_once("..").expect("MUSTER_SEEDS is FROM..TO");
    from.parse().unwrap()..to.parse().unwrap()
}

/// Runs the seeds on two threads, until one of them breaks a law if `until_found`; what was broken, by seed.
fn sweep(seeds: Range<u64>, planted: Option<Planted>, until_found: bool) -> Vec<(u64, Vec<String>)> {
    let next = AtomicU64::new(seeds.start);
    let found = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || (until_found && !found.lock().unwrap().is_empty()) {
                        return;
                    }
                    let breaches = run::run(seed, planted).breaches;
                    if !breaches.is_empty() {
                        found.lock().unwrap().push((seed, breaches));
                    }
                }
            });
        }
    });
    let mut found = found.into_inner().unwrap();
    found.sort();
    found
}

#[test]
fn a_run_without_faults_ends_with_the_model_of_a_single_process() {
    let quiet = run::run_quietly();
    assert_eq!(quiet.breaches, Vec::<String>::new());
    assert_eq!(quiet.generations(), 1);
}

#[test]
fn under_a_thousand_seeds_of_faults_every_run_ends_with_that_model_too() {
    let found = sweep(seeds(), None, false);
    let pinned: Vec<_> = PINNED.iter().map(|seed| (*seed, run::run(*seed, None).breaches)).collect();
    let broken: Vec<_> =
        found.into_iter().chain(pinned).filter(|(_, breaches)| !breaches.is_empty()).collect();
    assert!(broken.is_empty(), "seeds that broke a law: {broken:#?}");
}

#[test]
fn a_seed_makes_one_and_the_same_run() {
    for seed in 0..10 {
        assert_eq!(run::run(seed, None).log, run::run(seed, None).log, "seed {seed}");
    }
}

#[test]
fn faults_do_interrupt_runs_in_most_seeds() {
    let interrupted = (0..20).filter(|seed| run::run(*seed, None).generations() > 1).count();
    assert!(interrupted >= 14, "only {interrupted} of 20 runs had to begin again");
}

#[test]
fn each_planted_bug_is_found_by_some_seed() {
    let mut missed = Vec::new();
    for planted in Planted::ALL {
        match sweep(SEARCHED, Some(planted), true).first() {
            Some((seed, breaches)) => println!("{planted:?}: seed {seed}: {}", breaches[0]),
            None => missed.push(planted),
        }
    }
    assert!(missed.is_empty(), "no seed of {SEARCHED:?} finds {missed:?}");
}

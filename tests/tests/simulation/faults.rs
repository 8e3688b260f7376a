//! What a seed does to a cluster, and when.

use std::time::Duration;

use turmoil::Sim;

use super::random::Random;

/// Something that happens to the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fault {
    Crash(String),
    Restart(String),
    Cut(String, String),
    CutOneWay(String, String),
    Mend(String, String),
    Hold(String, String),
    Release(String, String),
    Slow(String, String, Duration),
}

/// Faults in the order of time, each with its end.
#[derive(Debug)]
pub(crate) struct Faults(Vec<(Duration, Fault)>);

impl Faults {
    pub(crate) fn none() -> Self {
        Self(Vec::new())
    }

    /// Two to six faults that begin within the first seconds and end some time later.
    pub(crate) fn of(seed: u64, workers: u64) -> Self {
        let mut random = Random::new(seed);
        let mut faults = Vec::new();
        for _ in 0..random.within(2, 7) {
            let begins = Duration::from_millis(random.within(300, 4_000));
            let ends = begins + Duration::from_millis(random.within(100, 4_000));
            let worker = |random: &mut Random| format!("worker-{}", random.within(0, workers));
            let (one, mut other) = (worker(&mut random), worker(&mut random));
            if random.within(0, 2) == 0 || one == other {
                other = "coordinator".to_owned();
            }
            let slow = Duration::from_millis(random.within(50, 400));
            let (begin, end) = match random.within(0, 9) {
                0..=2 => (Fault::Crash(one.clone()), Fault::Restart(one)),
                3 => {
                    // Two at once.
                    faults.push((begins, Fault::Crash(other.clone())));
                    faults.push((ends, Fault::Restart(other)));
                    (Fault::Crash(one.clone()), Fault::Restart(one))
                }
                4 => (Fault::Crash("coordinator".into()), Fault::Restart("coordinator".into())),
                5 => (Fault::Cut(one.clone(), other.clone()), Fault::Mend(one, other)),
                6 => (Fault::CutOneWay(one.clone(), other.clone()), Fault::Mend(one, other)),
                7 => (Fault::Hold(one.clone(), other.clone()), Fault::Release(one, other)),
                _ => {
                    let usual = Duration::from_millis(1);
                    (Fault::Slow(one.clone(), other.clone(), slow), Fault::Slow(one, other, usual))
                }
            };
            faults.push((begins, begin));
            faults.push((ends, end));
        }
        faults.sort_by_key(|(at, _)| *at);
        Self(faults)
    }

    /// Carries out what is due.
    pub(crate) fn carry_out(&mut self, sim: &mut Sim<'_>) {
        while self.0.first().is_some_and(|(at, _)| *at <= sim.elapsed()) {
            match self.0.remove(0).1 {
                // What is down stays down until its first restart.
                Fault::Crash(host) if sim.is_host_running(host.as_str()) => sim.crash(host.as_str()),
                Fault::Restart(host) if !sim.is_host_running(host.as_str()) => sim.bounce(host.as_str()),
                Fault::Crash(_) | Fault::Restart(_) => {}
                Fault::Cut(a, b) => sim.partition(a.as_str(), b.as_str()),
                Fault::CutOneWay(a, b) => sim.partition_oneway(a.as_str(), b.as_str()),
                Fault::Mend(a, b) => sim.repair(a.as_str(), b.as_str()),
                Fault::Hold(a, b) => sim.hold(a.as_str(), b.as_str()),
                Fault::Release(a, b) => sim.release(a.as_str(), b.as_str()),
                Fault::Slow(a, b, latency) => sim.set_link_latency(a.as_str(), b.as_str(), latency),
            }
        }
    }
}

//! Ranks as processes of their own, which can be killed and stopped.
//!
//! This executable starts itself once per rank, with the name of the one test that is a rank and a scenario in
//! the environment; run without a scenario, that test has nothing to do.

#![allow(clippy::print_stdout, reason = "a rank talks to the process that started it")]

use std::io::{BufRead, BufReader, Lines, Write};
use std::net::TcpListener;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use muster_collective::{Collective, CollectiveExt, Error, Transport, connect};

use crate::world::{World, values};

const SCENARIO: &str = "MUSTER_COLLECTIVE_SCENARIO";
const THIS_TEST: &str = "processes::a_rank_plays_the_scenario_it_was_started_for";
/// Precedes what a rank says, to tell it from what the test harness prints.
const MARK: &str = "rank says: ";

struct Rank {
    process: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Rank {
    fn start(scenario: &str) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args([THIS_TEST, "--exact", "--nocapture"])
            .env(SCENARIO, scenario)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        Self { process, input, output: BufReader::new(output).lines() }
    }

    /// The next thing that the rank says.
    fn hear(&mut self) -> String {
        let mut lines = self.output.by_ref().map(Result::unwrap);
        lines.find_map(|line| line.split_once(MARK).map(|(_, said)| said.to_owned())).unwrap()
    }
}

impl Drop for Rank {
    fn drop(&mut self) {
        // A rank that has ended already cannot be killed, and need not be.
        drop(self.process.kill());
        self.process.wait().unwrap();
    }
}

/// Starts the ranks of a scenario and tells them of each other.
fn start(size: usize, scenario: &str) -> Vec<Rank> {
    let mut ranks: Vec<_> = (0..size).map(|rank| Rank::start(&format!("{scenario} {rank}"))).collect();
    let addresses: Vec<String> = ranks.iter_mut().map(Rank::hear).collect();
    for rank in &mut ranks {
        writeln!(rank.input, "{}", addresses.join(" ")).unwrap();
    }
    ranks
}

fn say(what: &str) {
    println!("{MARK}{what}");
}

#[test]
fn a_rank_plays_the_scenario_it_was_started_for() {
    let Ok(scenario) = std::env::var(SCENARIO) else { return };
    let [name, transport, rank] = scenario.split(' ').collect::<Vec<_>>().try_into().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    say(&listener.local_addr().unwrap().to_string());
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    let peers: Vec<_> = line.split_whitespace().map(|address| address.parse().unwrap()).collect();
    let transport = if transport == "tcp" { Transport::Tcp } else { Transport::Auto };
    let mut world = World::new(transport, peers.len());
    if name == "stop" {
        world.timeout = Duration::from_millis(1500);
    }
    let mut group = connect(world.config(rank.parse().unwrap(), &listener, peers)).unwrap();
    match name {
        "add" => say(&add(group.as_mut())),
        "kill" | "stop" => say(&add_until_an_error(group.as_mut())),
        _ => panic!("no scenario {name}"),
    }
}

/// Runs one of each; returns the transport, a digest of all sums, and what was gathered.
fn add(group: &mut dyn Collective) -> String {
    let mut digest = 0u64;
    for len in [10, 1_000_000] {
        let mut data = values(group.rank(), len);
        group.all_reduce(&mut data).unwrap();
        digest = data.iter().fold(digest, |digest, value| digest.rotate_left(5) ^ u64::from(value.to_bits()));
    }
    let mut ranks = Vec::new();
    group.all_gather::<u32>(&[group.rank() as u32], &mut ranks).unwrap();
    group.barrier().unwrap();
    format!("{:?} {digest} {ranks:?}", group.transport())
}

/// Sums without an error, after which a rank gives up: a minute or more, while errors come within seconds.
const MOST_SUMS: usize = 10_000;

/// Sums again and again, says so after the first, and returns what ended it.
fn add_until_an_error(group: &mut dyn Collective) -> String {
    let mut data = vec![0.0; 1_000_000];
    group.all_reduce(&mut data).unwrap();
    say("added");
    for _ in 0..MOST_SUMS {
        match group.all_reduce(&mut data) {
            Ok(()) => {}
            Err(Error::PeerLost { rank }) => return format!("lost {rank}"),
            Err(Error::Timeout { waiting_for, .. }) => return format!("timeout {waiting_for:?}"),
            Err(error) => return error.to_string(),
        }
    }
    format!("no error in {MOST_SUMS} sums")
}

#[test]
fn processes_of_one_host_share_memory_and_get_the_sums_of_tcp() {
    let heard = |scenario: &str| -> Vec<String> { start(3, scenario).iter_mut().map(Rank::hear).collect() };
    let (shm, tcp) = (heard("add auto"), heard("add tcp"));
    assert!(shm.iter().all(|said| *said == shm[0]), "{shm:?}");
    assert!(tcp.iter().all(|said| *said == tcp[0]), "{tcp:?}");
    assert_eq!(shm[0].strip_prefix("Shm "), tcp[0].strip_prefix("Tcp "));
    assert!(shm[0].ends_with("[[0], [1], [2]]"), "{shm:?}");
}

#[test]
fn a_killed_process_is_a_lost_rank_to_the_others() {
    for transport in ["auto", "tcp"] {
        let mut ranks = start(3, &format!("kill {transport}"));
        ranks.iter_mut().for_each(|rank| assert_eq!(rank.hear(), "added"));
        ranks[1].process.kill().unwrap();
        for rank in [0, 2] {
            let said = ranks[rank].hear();
            // The other survivor may have noticed first, and left.
            assert!(
                said == "lost 1" || said == format!("lost {}", 2 - rank),
                "{transport}, rank {rank}: {said}"
            );
        }
    }
}

#[test]
fn a_stopped_process_is_a_timeout_to_the_others() {
    for transport in ["auto", "tcp"] {
        let mut ranks = start(2, &format!("stop {transport}"));
        ranks.iter_mut().for_each(|rank| assert_eq!(rank.hear(), "added"));
        let stopped = rustix::process::Pid::from_child(&ranks[1].process);
        rustix::process::kill_process(stopped, rustix::process::Signal::STOP).unwrap();
        assert_eq!(ranks[0].hear(), "timeout [1]", "{transport}");
    }
}

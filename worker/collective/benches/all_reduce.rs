//! Times sums between processes of this machine: prints a JSON object for each operation and size.
//!
//! `cargo bench -p muster-collective -- --ranks 2,4 --bytes 1048576,16777216`. The process starts itself once
//! per rank, tells the ranks each other's ports, and passes on what rank 0 prints. A figure is the time of the
//! slowest rank, over as many calls as take about as long for every size, after a few that are not timed.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark prints, and fails by panicking")]

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use muster_collective::{AbortHandle, Collective, CollectiveExt, Config, Root, Transport, connect};

/// What the command line asks for.
struct Arguments {
    ranks: Vec<usize>,
    bytes: Vec<usize>,
    transport: Transport,
    /// This process's rank, where it was started as one.
    rank: Option<usize>,
}

impl Arguments {
    fn parse() -> Result<Self, Box<dyn Error>> {
        let mut arguments = Self {
            ranks: vec![2, 4],
            bytes: vec![1 << 10, 1 << 20, 16 << 20, 64 << 20],
            transport: Transport::Auto,
            rank: None,
        };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} needs a value"));
            match word.as_str() {
                "--ranks" => arguments.ranks = numbers(&value()?)?,
                "--bytes" => arguments.bytes = numbers(&value()?)?,
                "--rank" => arguments.rank = Some(value()?.parse()?),
                "--tcp" => arguments.transport = Transport::Tcp,
                "--shm" => arguments.transport = Transport::Shm,
                // Cargo passes this to every benchmark.
                "--bench" => {}
                _ => return Err(format!("unknown argument {word}").into()),
            }
        }
        Ok(arguments)
    }
}

fn numbers(list: &str) -> Result<Vec<usize>, std::num::ParseIntError> {
    list.split(',').map(str::parse).collect()
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse()?;
    if let Some(rank) = arguments.rank {
        return run_rank(rank, &arguments);
    }
    report_record()?;
    arguments.ranks.iter().try_for_each(|&world_size| run_world(world_size))
}

/// Starts the ranks and waits for them.
fn run_world(world_size: usize) -> Result<(), Box<dyn Error>> {
    let start = |rank: usize| {
        Command::new(std::env::current_exe()?)
            .args(std::env::args().skip(1))
            .args(["--rank", &rank.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
    };
    let mut ranks: Vec<Child> = (0..world_size).map(start).collect::<Result<_, _>>()?;
    let mut outputs: Vec<_> =
        ranks.iter_mut().map(|rank| BufReader::new(rank.stdout.take().unwrap())).collect();
    let mut addresses = Vec::new();
    for output in &mut outputs {
        let mut line = String::new();
        output.read_line(&mut line)?;
        addresses.push(line.trim().to_owned());
    }
    for rank in &mut ranks {
        writeln!(rank.stdin.take().unwrap(), "{}", addresses.join(","))?;
    }
    for line in outputs.remove(0).lines() {
        println!("{}", line?);
    }
    for mut rank in ranks {
        assert!(rank.wait()?.success(), "a rank failed");
    }
    Ok(())
}

/// Joins the others and times everything; rank 0 prints.
fn run_rank(rank: usize, arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    let peers: Vec<SocketAddr> = line.trim().split(',').map(str::parse).collect::<Result<_, _>>()?;
    let mut group = join(rank, &listener, peers, arguments.transport)?;
    for &bytes in &arguments.bytes {
        let mut data = vec![0.0; bytes / size_of::<f32>()];
        report(group.as_mut(), "all_reduce", bytes, |group| group.all_reduce(&mut data).unwrap())?;
        let mine = vec![0.0; data.len()];
        let (leaves, root) = (group.world_size(), Root { lo: rank, hi: rank + 1, values: &mine });
        report(group.as_mut(), "all_reduce_tree", bytes, |group| {
            group.all_reduce_tree(&[root], leaves, &mut data).unwrap();
        })?;
    }
    Ok(())
}

/// Times a barrier of one rank, which has nobody to wait for: what is left is the note in the flight record, with its
/// two readings of the clock, and the look at the abort handle.
fn report_record() -> Result<(), Box<dyn Error>> {
    const CALLS: u32 = 2_000_000;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut group = join(0, &listener, vec![listener.local_addr()?], Transport::Auto)?;
    let started = Instant::now();
    (0..CALLS).try_for_each(|_| group.barrier())?;
    let nanoseconds = started.elapsed().as_nanos() as f64 / f64::from(CALLS);
    println!(r#"{{"op":"record","n":1,"nanoseconds":{nanoseconds:.1}}}"#);
    Ok(())
}

fn join(
    rank: usize,
    listener: &TcpListener,
    peers: Vec<SocketAddr>,
    transport: Transport,
) -> Result<Box<dyn Collective>, muster_collective::Error> {
    connect(Config {
        rank,
        world_size: peers.len(),
        job: "bench".into(),
        generation: 1,
        secret: [0; 16],
        listener,
        peers,
        timeout: Duration::from_secs(60),
        silence: Duration::from_secs(10),
        max_message: Config::DEFAULT_MAX_MESSAGE,
        transport,
        abort: AbortHandle::new()?,
    })
}

/// Times one operation and prints the slowest rank's figure.
fn report(
    group: &mut dyn Collective,
    op: &str,
    bytes: usize,
    mut call: impl FnMut(&mut dyn Collective),
) -> Result<(), muster_collective::Error> {
    let calls = ((128 << 20) / bytes).clamp(3, 2000);
    // Fresh processes often start on one core; it takes the scheduler milliseconds to move them apart.
    let warm_up = if bytes < 64 << 10 { 20_000 } else { calls.min(5) };
    (0..warm_up).for_each(|_| call(group));
    group.barrier()?;
    let started = Instant::now();
    (0..calls).for_each(|_| call(group));
    let mine = started.elapsed().as_secs_f64() / calls as f64;
    let mut all = Vec::new();
    group.all_gather::<f64>(&[mine], &mut all)?;
    let seconds = all.iter().flatten().copied().fold(0.0, f64::max);
    if group.rank() == 0 {
        let (n, transport, rate) = (group.world_size(), group.transport(), bytes as f64 / seconds / 1e9);
        println!(
            r#"{{"op":"{op}","n":{n},"bytes":{bytes},"transport":"{transport:?}","seconds":{seconds:.3e},"gb_per_s":{rate:.3}}}"#
        );
    }
    Ok(())
}

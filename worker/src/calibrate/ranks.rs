//! Ranks as threads of this process, with the collectives of a job between them.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use muster_collective::{AbortHandle, Collective, CollectiveExt, Config, Transport, connect};

use super::watch::{Watch, mean};

/// Ranks of a trial could not be connected, or did not come to the end.
#[derive(Debug, thiserror::Error)]
pub enum Unconnected {
    /// There is no port on loopback.
    #[error("cannot listen on loopback for a trial of exchanges: {0}")]
    Listen(std::io::Error),
    /// The collective's.
    #[error("a trial of exchanges failed: {0}")]
    Collective(#[from] muster_collective::Error),
    /// The exchange's.
    #[error("a trial of exchanges failed: {0}")]
    Exchange(#[from] crate::embedding::Error),
    /// The head's.
    #[error("a trial of exchanges failed: {0}")]
    Head(#[from] crate::loss::Error),
    /// A file of the trial's cannot be written.
    #[error("cannot write a trial's checkpoint: {0}")]
    Write(std::io::Error),
    /// A rank ended without a result.
    #[error("a rank of a trial ended without a result")]
    Ended,
}

/// The fewest and the most calls of a point.
const CALLS: (usize, usize) = (5, 400);

/// Runs the calls that `make` gives, once for each rank, on `world` ranks at the same time: as many as take `time`, all ranks
/// alike. Returns the median time of each part of a call, averaged over ranks.
pub(super) fn run<C>(
    world: usize,
    time: Duration,
    make: impl Fn(usize) -> C + Sync,
) -> Result<Vec<Duration>, Unconnected>
where
    C: FnMut(&mut Watch, &mut dyn Collective) -> Result<(), Unconnected>,
{
    let listeners: Vec<TcpListener> = (0..world)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect::<Result<_, _>>()
        .map_err(Unconnected::Listen)?;
    let peers: Vec<SocketAddr> = listeners
        .iter()
        .map(TcpListener::local_addr)
        .collect::<Result<_, _>>()
        .map_err(Unconnected::Listen)?;
    let one = |rank: usize, listener: TcpListener| -> Result<Vec<Duration>, Unconnected> {
        let mut collective = join(rank, &listener, peers.clone())?;
        measure(&mut *collective, time, make(rank))
    };
    let all = std::thread::scope(|scope| {
        let one = &one;
        let numbered = listeners.into_iter().enumerate();
        let threads: Vec<_> =
            numbered.map(|(rank, listener)| scope.spawn(move || one(rank, listener))).collect();
        let ended = threads.into_iter().map(|thread| thread.join().map_err(|_| Unconnected::Ended)?);
        ended.collect::<Result<Vec<Vec<Duration>>, Unconnected>>()
    })?;
    Ok(mean(&all))
}

fn measure<C>(
    collective: &mut dyn Collective,
    time: Duration,
    mut call: C,
) -> Result<Vec<Duration>, Unconnected>
where
    C: FnMut(&mut Watch, &mut dyn Collective) -> Result<(), Unconnected>,
{
    let mut watch = Watch::new();
    call(&mut watch, collective)?;
    let begun = std::time::Instant::now();
    call(&mut watch, collective)?;
    let fitting = time.as_nanos() / begun.elapsed().as_nanos().max(1);
    let mut calls = [fitting.clamp(CALLS.0 as u128, CALLS.1 as u128) as u64];
    if collective.world_size() > 1 {
        collective.broadcast::<u64>(0, &mut calls)?;
    }
    watch.clear();
    for _ in 0..calls[0] {
        if collective.world_size() > 1 {
            collective.barrier()?;
        }
        watch.begin();
        call(&mut watch, collective)?;
    }
    Ok(watch.medians())
}

fn join(
    rank: usize,
    listener: &TcpListener,
    peers: Vec<SocketAddr>,
) -> Result<Box<dyn Collective>, Unconnected> {
    Ok(connect(Config {
        rank,
        world_size: peers.len(),
        job: "calibrate".into(),
        generation: 1,
        secret: [0; 16],
        listener,
        peers,
        timeout: Duration::from_secs(60),
        silence: Duration::from_secs(60),
        max_message: Config::DEFAULT_MAX_MESSAGE,
        transport: Transport::Auto,
        abort: AbortHandle::new()?,
    })?)
}

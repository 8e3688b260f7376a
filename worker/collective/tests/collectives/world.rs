//! Groups of threads, one per rank, that a test runs on.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use muster_collective::{AbortHandle, Collective, Config, Error, Transport, connect};

/// Long enough for a loaded machine; no test waits it out.
pub(crate) const PATIENT: Duration = Duration::from_secs(60);

/// A group to be made, one thread per rank.
#[derive(Clone, Copy)]
pub(crate) struct World {
    pub(crate) transport: Transport,
    pub(crate) size: usize,
    pub(crate) timeout: Duration,
    pub(crate) silence: Duration,
    pub(crate) max_message: usize,
}

impl World {
    pub(crate) const fn new(transport: Transport, size: usize) -> Self {
        Self { transport, size, timeout: PATIENT, silence: PATIENT, max_message: 64 << 20 }
    }

    /// Connects the ranks, runs the body on each, and returns the outcomes by rank.
    pub(crate) fn run<R: Send>(self, body: impl Fn(&mut dyn Collective) -> R + Sync) -> Vec<R> {
        let listeners = listeners(self.size);
        let peers = addresses(&listeners);
        std::thread::scope(|scope| {
            let ranks: Vec<_> = listeners
                .iter()
                .enumerate()
                .map(|(rank, listener)| {
                    let (body, peers) = (&body, peers.clone());
                    scope.spawn(move || {
                        let mut group = connect(self.config(rank, listener, peers)).unwrap();
                        body(group.as_mut())
                    })
                })
                .collect();
            ranks.into_iter().map(|rank| rank.join().unwrap()).collect()
        })
    }

    pub(crate) fn config(self, rank: usize, listener: &TcpListener, peers: Vec<SocketAddr>) -> Config<'_> {
        Config {
            rank,
            world_size: self.size,
            job: "suite".into(),
            generation: 3,
            secret: [7; 16],
            listener,
            peers,
            timeout: self.timeout,
            silence: self.silence,
            max_message: self.max_message,
            transport: self.transport,
            abort: AbortHandle::new().unwrap(),
        }
    }
}

pub(crate) fn listeners(count: usize) -> Vec<TcpListener> {
    (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect()
}

pub(crate) fn addresses(listeners: &[TcpListener]) -> Vec<SocketAddr> {
    listeners.iter().map(|listener| listener.local_addr().unwrap()).collect()
}

/// Values that a sum in another order would round differently.
pub(crate) fn values(rank: usize, len: usize) -> Vec<f32> {
    (0..len)
        .map(|element| {
            let mixed = (rank as u32)
                .wrapping_mul(0x9E37_79B9)
                .wrapping_add(element as u32)
                .wrapping_mul(0x85EB_CA6B);
            let mixed = (mixed ^ (mixed >> 13)).wrapping_mul(0xC2B2_AE35);
            (mixed as f32 / u32::MAX as f32 - 0.5) * if mixed & 1 == 0 { 1e4 } else { 1e-3 }
        })
        .collect()
}

pub(crate) fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

pub(crate) fn is_argument(outcome: &Result<(), Error>, name: &str) -> bool {
    matches!(outcome, Err(Error::Argument { argument, .. }) if *argument == name)
}

//! The played job's collectives: ranks that are all connected with each other, over the simulated network.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use muster_proto::control::Peer;
use muster_proto::ids::Rank;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};
use turmoil::net::TcpStream;

use super::net;
use super::world::pass;

/// Where workers listen for their peers.
pub(crate) const PORT: u16 = 7000;

/// Knocks that wait to be let in; the oldest go.
const WAITING: usize = 64;

/// A rank that did not answer.
#[derive(Debug)]
pub(crate) struct Missing(pub(crate) Rank);

/// What a peer says when it connects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Knock {
    token: [u8; 32],
    rank: u32,
}

/// Where peers of all generations knock, for the life of a process.
#[derive(Clone, Default)]
pub(crate) struct Door {
    waiting: Arc<Mutex<Vec<(Knock, TcpStream)>>>,
    knocked: Arc<Notify>,
}

impl Door {
    /// Listens for as long as the process lives.
    pub(crate) async fn open() -> std::io::Result<Self> {
        let door = Self::default();
        let listener = net::listen(PORT).await?;
        let at_door = door.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let door = at_door.clone();
                tokio::spawn(async move {
                    if let Ok(Some(knock)) = timeout(Duration::from_secs(5), receive(&mut stream)).await {
                        let mut waiting = door.waiting.lock().unwrap();
                        if waiting.len() == WAITING {
                            waiting.remove(0);
                        }
                        waiting.push((knock, stream));
                        door.knocked.notify_waiters();
                    }
                });
            }
        });
        Ok(door)
    }

    fn take(&self, wanted: &Knock) -> Option<TcpStream> {
        let mut waiting = self.waiting.lock().unwrap();
        let index = waiting.iter().position(|(knock, _)| knock == wanted)?;
        Some(waiting.remove(index).1)
    }

    async fn admit(&self, wanted: Knock, deadline: Instant) -> Result<TcpStream, Missing> {
        loop {
            let knocked = self.knocked.notified();
            if let Some(stream) = self.take(&wanted) {
                return Ok(stream);
            }
            timeout_at(deadline, knocked).await.map_err(|_| Missing(Rank(wanted.rank)))?;
        }
    }
}

/// Connections to all other ranks; none to itself.
pub(crate) struct Mesh {
    rank: usize,
    peers: Vec<Option<TcpStream>>,
    patience: Duration,
}

impl Mesh {
    /// Connects: to lower ranks by dialling, to higher ones by waiting at the door.
    pub(crate) async fn join(
        rank: Rank,
        peers: &[Peer],
        token: [u8; 32],
        door: &Door,
        patience: Duration,
    ) -> Result<Self, Missing> {
        let deadline = Instant::now() + patience;
        let mut streams = Vec::new();
        for peer in peers {
            streams.push(match peer.rank.0.cmp(&rank.0) {
                std::cmp::Ordering::Less => Some(dial(peer, &Knock { token, rank: rank.0 }, deadline).await?),
                std::cmp::Ordering::Equal => None,
                std::cmp::Ordering::Greater => {
                    Some(door.admit(Knock { token, rank: peer.rank.0 }, deadline).await?)
                }
            });
        }
        Ok(Self { rank: rank.0 as usize, peers: streams, patience })
    }

    /// Everybody's word, in rank order.
    pub(crate) async fn all_gather<T: Serialize + DeserializeOwned>(
        &mut self,
        mine: T,
    ) -> Result<Vec<T>, Missing> {
        for (rank, stream) in self.peers.iter_mut().enumerate() {
            if let Some(stream) = stream {
                let sent = timeout(self.patience, send(stream, &mine)).await;
                sent.ok().flatten().ok_or(Missing(Rank(rank as u32)))?;
            }
        }
        let mut words = Vec::new();
        let mut mine = Some(mine);
        for (rank, stream) in self.peers.iter_mut().enumerate() {
            let word = match stream {
                Some(stream) => timeout(self.patience, receive(stream)).await.ok().flatten(),
                None => mine.take().filter(|_| rank == self.rank),
            };
            words.push(word.ok_or(Missing(Rank(rank as u32)))?);
        }
        Ok(words)
    }
}

async fn dial(peer: &Peer, knock: &Knock, deadline: Instant) -> Result<TcpStream, Missing> {
    let once = async || {
        let mut stream = TcpStream::connect(peer.address.as_str()).await.ok()?;
        send(&mut stream, knock).await?;
        Some(stream)
    };
    loop {
        match timeout_at(deadline, once()).await {
            Ok(Some(stream)) => return Ok(stream),
            Ok(None) if Instant::now() < deadline => pass(Duration::from_millis(50)).await,
            Ok(None) | Err(_) => return Err(Missing(peer.rank)),
        }
    }
}

async fn send(stream: &mut TcpStream, word: &impl Serialize) -> Option<()> {
    let bytes = serde_json::to_vec(word).unwrap();
    stream.write_u32(bytes.len() as u32).await.ok()?;
    stream.write_all(&bytes).await.ok()
}

async fn receive<T: DeserializeOwned>(stream: &mut TcpStream) -> Option<T> {
    let length = stream.read_u32().await.ok()?;
    let mut bytes = vec![0; length as usize];
    stream.read_exact(&mut bytes).await.ok()?;
    // Peers of another generation say things that do not fit, where no fence keeps them apart.
    serde_json::from_slice(&bytes).ok()
}

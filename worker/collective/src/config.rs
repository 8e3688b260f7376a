//! Joining a group.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use crate::Collective;
use crate::abort::AbortHandle;
use crate::error::Error;
use crate::exchange::{Exchange, Outgoing};
use crate::group::Group;
use crate::handshake::{Hello, Membership};
use crate::host::HostIdentity;
use crate::lifeline::{Lifeline, Lifelines};
use crate::link::Link;
use crate::mesh::Mesh;
#[cfg(target_os = "linux")]
use crate::shm::{self, Joined};
use crate::signature::{Dtype, Op, Shape, Signature};
use crate::solo::Solo;
use crate::tcp::Tcp;

/// What carries the messages of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Shared memory where all ranks are on one host and can map it, else TCP.
    Auto,
    /// TCP.
    Tcp,
    /// Shared memory, or an error.
    Shm,
}

/// A rank's place in a group, and how to reach the others.
#[derive(Debug)]
pub struct Config<'a> {
    /// This rank, below `world_size`.
    pub rank: usize,
    /// Number of ranks.
    pub world_size: usize,
    /// Name of the job, at most 254 bytes; peers of another job are refused.
    pub job: String,
    /// Generation of the membership; peers of another one are refused.
    pub generation: u64,
    /// Known to the group's members only; peers with another one are refused.
    pub secret: [u8; 16],
    /// Where higher ranks dial this one; made non-blocking, and free for the next generation afterwards.
    pub listener: &'a TcpListener,
    /// The listeners' addresses by rank, `world_size` of them; this rank's own is not used.
    pub peers: Vec<SocketAddr>,
    /// Longest time a wait may pass without progress, in `connect` and in every collective.
    pub timeout: Duration,
    /// Longest time a peer's host may answer nothing, however long the peer itself computes; to a second, and no less
    /// than two of them.
    pub silence: Duration,
    /// Bound on the bytes of one message, from one rank to one rank in one call.
    pub max_message: usize,
    /// What to use.
    pub transport: Transport,
    /// Ends `connect` and every collective.
    pub abort: AbortHandle,
}

impl Config<'_> {
    /// A bound on messages for those who have none: 1 GiB.
    pub const DEFAULT_MAX_MESSAGE: usize = 1 << 30;

    fn check(&self) -> Result<(), Error> {
        let check = |good: bool, argument, expected: String, got: String| {
            if good { Ok(()) } else { Err(Error::Argument { argument, expected, got }) }
        };
        let (rank, world_size, peers) = (self.rank, self.world_size, self.peers.len());
        check(u32::try_from(world_size).is_ok(), "world_size", "below 2^32".into(), world_size.to_string())?;
        check(rank < world_size, "rank", format!("below {world_size}"), rank.to_string())?;
        check(peers == world_size, "peers", format!("{world_size} addresses"), peers.to_string())?;
        let job = self.job.len();
        check(job <= Hello::MAX_JOB, "job", format!("at most {} bytes", Hello::MAX_JOB), job.to_string())
    }
}

/// Joins the group; returns when all ranks are linked with each other.
///
/// A world of one rank needs no link and does no I/O.
///
/// # Errors
/// [`Error::Argument`] for a configuration that cannot be; [`Error::ConnectTimeout`], [`Error::Connect`],
/// [`Error::Refused`], [`Error::PeerLost`], [`Error::PeerSilent`] or [`Error::CutOff`] where a peer does not join; [`Error::NoSharedMemory`] where
/// [`Transport::Shm`] cannot be had; [`Error::Aborted`].
pub fn connect(config: Config<'_>) -> Result<Box<dyn Collective>, Error> {
    config.check()?;
    config.abort.check()?;
    let abort = config.abort.clone();
    // Until a group owns the links, only this closes what the handle holds of them.
    establish(config).inspect_err(|_| abort.release())
}

fn establish(config: Config<'_>) -> Result<Box<dyn Collective>, Error> {
    let Config { rank, timeout, silence, max_message, transport, abort, .. } = config;
    if config.world_size == 1 {
        return Ok(Box::new(Group::new(Solo, transport, abort)));
    }
    let mesh = Mesh {
        rank,
        membership: Membership {
            job: config.job,
            generation: config.generation,
            secret: config.secret,
            world_size: config.world_size as u32,
        },
        host: HostIdentity::current(),
        listener: config.listener,
        peers: &config.peers,
        timeout,
        silence,
        abort: &abort,
    };
    let peers = mesh.link()?;
    let one_host = peers.iter().flatten().all(|peer| mesh.host.shares_with(&peer.host));
    let (mut links, mut lifelines) = (Vec::with_capacity(peers.len()), Vec::with_capacity(peers.len()));
    for peer in peers {
        let (stream, lifeline) = peer.map(|peer| (peer.stream, peer.lifeline)).unzip();
        links.push(stream.map(|stream| Link::new(stream, &abort)).transpose()?);
        lifelines.push(lifeline.flatten().map(|stream| Lifeline::new(stream, silence)).transpose()?);
    }
    let lifelines = Lifelines(lifelines);
    let tcp = Tcp { rank, links, lifelines, timeout, max_message, abort: abort.clone() };
    choose(tcp, transport, one_host, abort)
}

/// Moves the group to shared memory where all ranks want that and can.
fn choose(
    mut tcp: Tcp,
    transport: Transport,
    one_host: bool,
    abort: AbortHandle,
) -> Result<Box<dyn Collective>, Error> {
    let wants_shm = cfg!(target_os = "linux") && transport != Transport::Tcp && one_host;
    let mut wishes = vec![Vec::new(); tcp.links.len()];
    let signature = Signature { op: Op::AllGather, dtype: Dtype::U8, shape: Shape::Uneven, seq: 0 };
    tcp.exchange(&signature, Outgoing::Same(&[&[u8::from(wants_shm)]]), &mut wishes)?;
    wishes[tcp.rank] = vec![u8::from(wants_shm)];
    let why = match wishes.iter().position(|wish| wish != &[1]) {
        Some(rank) => format!("rank {rank} is on another host, or was told to use TCP"),
        #[cfg(target_os = "linux")]
        None => match shm::join(tcp)? {
            Joined::Shm(shm) => return Ok(Box::new(Group::new(shm, Transport::Shm, abort))),
            Joined::Tcp(linked, why) => {
                tcp = linked;
                why
            }
        },
        #[cfg(not(target_os = "linux"))]
        None => "it needs Linux".to_owned(),
    };
    if transport == Transport::Shm {
        return Err(Error::NoSharedMemory { why });
    }
    tracing::debug!(rank = tcp.rank, why, "collectives over TCP");
    Ok(Box::new(Group::new(tcp, Transport::Tcp, abort)))
}

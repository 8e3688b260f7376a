//! The first bytes on a link: who dials, for which group, and whether the listener takes it.
//!
//! Both messages have a fixed size, so a reader knows what to expect before it trusts a byte. The secret travels
//! as it is: it keeps groups and stray callers apart, and does not protect against who can read the network.

use crate::host::HostIdentity;

const MAGIC: [u8; 8] = *b"MusterCo";
const VERSION: u32 = 2;

/// What all ranks of one group have in common, and nobody else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Membership {
    pub(crate) job: String,
    pub(crate) generation: u64,
    pub(crate) secret: [u8; 16],
    pub(crate) world_size: u32,
}

/// Why a listener does not take a rank into its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The peer speaks another version of this protocol, or another protocol.
    #[error("it speaks another protocol version")]
    Protocol,
    /// The peer works on another job.
    #[error("it works on another job")]
    Job,
    /// The peer is in another generation.
    #[error("it is in generation {theirs}")]
    Generation {
        /// The peer's generation.
        theirs: u64,
    },
    /// The secrets differ.
    #[error("the secrets differ")]
    Secret,
    /// The peer knows another number of ranks.
    #[error("the world sizes differ")]
    WorldSize,
    /// The rank is no higher rank of the world, or has joined already.
    #[error("the rank is taken or none that dials it")]
    Rank,
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
    /// The messages of collectives.
    Data,
    /// Nothing; see [`crate::lifeline`].
    Life,
}

/// The dialer's first message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) rank: u32,
    pub(crate) line: Line,
    pub(crate) membership: Membership,
    pub(crate) host: HostIdentity,
}

/// The listener's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) verdict: Result<(), Refusal>,
    pub(crate) host: HostIdentity,
}

/// Reads fixed-size fields one after the other.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*field)
    }
}

impl Hello {
    /// Longest job name in bytes.
    pub(crate) const MAX_JOB: usize = 254;
    pub(crate) const SIZE: usize = 8 + 4 + 4 + 4 + 4 + 8 + 16 + HostIdentity::SIZE + 2 + Self::MAX_JOB;

    pub(crate) fn encode(&self) -> Vec<u8> {
        let job = self.membership.job.as_bytes();
        debug_assert!(job.len() <= Self::MAX_JOB, "connect checks the job's name");
        let mut wire = Vec::with_capacity(Self::SIZE);
        wire.extend(MAGIC);
        wire.extend(VERSION.to_le_bytes());
        wire.extend(self.rank.to_le_bytes());
        wire.extend(u32::from(self.line == Line::Life).to_le_bytes());
        wire.extend(self.membership.world_size.to_le_bytes());
        wire.extend(self.membership.generation.to_le_bytes());
        wire.extend(self.membership.secret);
        wire.extend(self.host.0);
        wire.extend((job.len() as u16).to_le_bytes());
        wire.extend(job);
        wire.resize(Self::SIZE, 0);
        wire
    }

    /// Reads a dialer's message; nothing where it is of another protocol.
    pub(crate) fn decode(wire: &[u8]) -> Option<Self> {
        let mut fields = Fields(wire);
        if fields.take()? != MAGIC || u32::from_le_bytes(fields.take()?) != VERSION {
            return None;
        }
        let rank = u32::from_le_bytes(fields.take()?);
        let line = match u32::from_le_bytes(fields.take()?) {
            0 => Line::Data,
            1 => Line::Life,
            _ => return None,
        };
        let world_size = u32::from_le_bytes(fields.take()?);
        let generation = u64::from_le_bytes(fields.take()?);
        let secret = fields.take()?;
        let host = HostIdentity(fields.take()?);
        let job = usize::from(u16::from_le_bytes(fields.take()?));
        let job = String::from_utf8(fields.0.get(..job)?.to_vec()).ok()?;
        Some(Self { rank, line, membership: Membership { job, generation, secret, world_size }, host })
    }
}

impl Membership {
    /// Whether a dialer belongs to this group.
    pub(crate) fn admit(&self, other: &Self) -> Result<(), Refusal> {
        if self.job != other.job {
            return Err(Refusal::Job);
        }
        if self.generation != other.generation {
            return Err(Refusal::Generation { theirs: self.generation });
        }
        // Every byte is looked at, so that the time taken tells nothing about the secret.
        let difference = self.secret.iter().zip(other.secret).fold(0, |all, (a, b)| all | (a ^ b));
        if std::hint::black_box(difference) != 0 {
            return Err(Refusal::Secret);
        }
        if self.world_size != other.world_size {
            return Err(Refusal::WorldSize);
        }
        Ok(())
    }
}

impl Reply {
    pub(crate) const SIZE: usize = 8 + 4 + 8 + HostIdentity::SIZE;

    pub(crate) fn encode(&self) -> Vec<u8> {
        let (code, detail): (u32, u64) = match self.verdict {
            Ok(()) => (0, 0),
            Err(Refusal::Protocol) => (1, 0),
            Err(Refusal::Job) => (2, 0),
            Err(Refusal::Generation { theirs }) => (3, theirs),
            Err(Refusal::Secret) => (4, 0),
            Err(Refusal::WorldSize) => (5, 0),
            Err(Refusal::Rank) => (6, 0),
        };
        let mut wire = Vec::with_capacity(Self::SIZE);
        wire.extend(MAGIC);
        wire.extend(code.to_le_bytes());
        wire.extend(detail.to_le_bytes());
        wire.extend(self.host.0);
        wire
    }

    /// Reads a listener's answer; nothing where it is of another protocol.
    pub(crate) fn decode(wire: &[u8]) -> Option<Self> {
        let mut fields = Fields(wire);
        if fields.take()? != MAGIC {
            return None;
        }
        let code = u32::from_le_bytes(fields.take()?);
        let detail = u64::from_le_bytes(fields.take()?);
        let verdict = match code {
            0 => Ok(()),
            1 => Err(Refusal::Protocol),
            2 => Err(Refusal::Job),
            3 => Err(Refusal::Generation { theirs: detail }),
            4 => Err(Refusal::Secret),
            5 => Err(Refusal::WorldSize),
            6 => Err(Refusal::Rank),
            _ => return None,
        };
        Some(Self { verdict, host: HostIdentity(fields.take()?) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn membership() -> Membership {
        Membership { job: "beauty".into(), generation: 7, secret: [3; 16], world_size: 4 }
    }

    #[test]
    fn hello_and_reply_read_back_as_written() {
        for line in [Line::Data, Line::Life] {
            let host = HostIdentity([9; HostIdentity::SIZE]);
            let hello = Hello { rank: 2, line, membership: membership(), host };
            assert_eq!(hello.encode().len(), Hello::SIZE);
            assert_eq!(Hello::decode(&hello.encode()), Some(hello));
        }
        for verdict in [Ok(()), Err(Refusal::Generation { theirs: 5 }), Err(Refusal::Rank)] {
            let reply = Reply { verdict, host: HostIdentity([1; HostIdentity::SIZE]) };
            assert_eq!(reply.encode().len(), Reply::SIZE);
            assert_eq!(Reply::decode(&reply.encode()), Some(reply));
        }
    }

    #[test]
    fn a_hello_of_another_protocol_or_cut_short_is_none() {
        let (line, host) = (Line::Data, HostIdentity::UNKNOWN);
        let wire = Hello { rank: 0, line, membership: membership(), host }.encode();
        assert_eq!(Hello::decode(&[0; Hello::SIZE]), None);
        assert_eq!(Hello::decode(&wire[..40]), None);
    }

    #[test]
    fn only_the_same_job_generation_secret_and_world_is_admitted() {
        let group = membership();
        assert_eq!(group.admit(&membership()), Ok(()));
        let others = [
            (Membership { job: "sports".into(), ..membership() }, Refusal::Job),
            (Membership { generation: 6, ..membership() }, Refusal::Generation { theirs: 7 }),
            (Membership { secret: [4; 16], ..membership() }, Refusal::Secret),
            (Membership { world_size: 3, ..membership() }, Refusal::WorldSize),
        ];
        for (other, refusal) in others {
            assert_eq!(group.admit(&other), Err(refusal));
        }
    }
}

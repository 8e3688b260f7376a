//! What ranks agree on before a collective runs: operation, element type, shape and sequence number.
//!
//! Every message carries the sender's [`Signature`]. A receiver compares it with its own before it looks at a
//! byte of payload, so ranks that called different collectives learn it from each other instead of hanging.

use std::fmt;

/// A collective operation, with the arguments on which all ranks must agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// Each rank sends one message to each rank.
    AllToAll,
    /// Each rank sends one message to all ranks.
    AllGather,
    /// Sum over ranks in rank order.
    AllReduce,
    /// Sum over leaves along the canonical binary tree.
    AllReduceTree {
        /// Number of leaves of the tree.
        leaves: u64,
    },
    /// Sum over ranks of which each rank keeps its segment.
    ReduceScatter,
    /// One rank's data to all ranks.
    Broadcast {
        /// The rank whose data is sent.
        root: u64,
    },
    /// Nobody returns before all have called.
    Barrier,
}

impl Op {
    /// The operation's code and argument on the wire.
    fn encode(self) -> (u8, u64) {
        match self {
            Self::AllToAll => (1, 0),
            Self::AllGather => (2, 0),
            Self::AllReduce => (3, 0),
            Self::AllReduceTree { leaves } => (4, leaves),
            Self::ReduceScatter => (5, 0),
            Self::Broadcast { root } => (6, root),
            Self::Barrier => (7, 0),
        }
    }

    fn decode(code: u8, argument: u64) -> Option<Self> {
        Some(match code {
            1 => Self::AllToAll,
            2 => Self::AllGather,
            3 => Self::AllReduce,
            4 => Self::AllReduceTree { leaves: argument },
            5 => Self::ReduceScatter,
            6 => Self::Broadcast { root: argument },
            7 => Self::Barrier,
            _ => return None,
        })
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AllToAll => f.write_str("all_to_all"),
            Self::AllGather => f.write_str("all_gather"),
            Self::AllReduce => f.write_str("all_reduce"),
            Self::AllReduceTree { leaves } => write!(f, "all_reduce_tree of {leaves} leaves"),
            Self::ReduceScatter => f.write_str("reduce_scatter"),
            Self::Broadcast { root } => write!(f, "broadcast from rank {root}"),
            Self::Barrier => f.write_str("barrier"),
        }
    }
}

/// The type of a message's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Dtype {
    /// Bytes.
    U8 = 1,
    /// Unsigned, 4 bytes.
    U32 = 2,
    /// Unsigned, 8 bytes.
    U64 = 3,
    /// Signed, 8 bytes.
    I64 = 4,
    /// Floating point, 4 bytes.
    F32 = 5,
    /// Floating point, 8 bytes.
    F64 = 6,
}

impl Dtype {
    fn decode(code: u8) -> Option<Self> {
        [Self::U8, Self::U32, Self::U64, Self::I64, Self::F32, Self::F64]
            .into_iter()
            .find(|dtype| *dtype as u8 == code)
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::U8 => "u8",
            Self::U32 => "u32",
            Self::U64 => "u64",
            Self::I64 => "i64",
            Self::F32 => "f32",
            Self::F64 => "f64",
        })
    }
}

/// The shape on which ranks agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Sizes differ between ranks and are told with each message.
    Uneven,
    /// Every rank passes this many elements.
    Elements(u64),
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uneven => f.write_str("uneven"),
            Self::Elements(elements) => write!(f, "{elements}"),
        }
    }
}

/// One call of a collective, as all ranks must have made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signature {
    /// The operation and its arguments.
    pub op: Op,
    /// The element type.
    pub dtype: Dtype,
    /// The number of elements.
    pub shape: Shape,
    /// How many collectives this group ran before, plus one.
    pub seq: u64,
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}[{}] as number {}", self.op, self.dtype, self.shape, self.seq)
    }
}

/// What precedes each message: the sender's signature and the length of its payload in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) signature: Signature,
    pub(crate) bytes: u64,
}

impl Header {
    /// Size on the wire; a multiple of 8.
    pub(crate) const SIZE: usize = 40;
    const MAGIC: [u8; 4] = *b"MuCo";

    pub(crate) fn encode(&self) -> [u8; Self::SIZE] {
        let (op, argument) = self.signature.op.encode();
        let (uneven, elements) = match self.signature.shape {
            Shape::Uneven => (1, 0),
            Shape::Elements(elements) => (0, elements),
        };
        let mut wire = [0; Self::SIZE];
        wire[..4].copy_from_slice(&Self::MAGIC);
        wire[4] = op;
        wire[5] = self.signature.dtype as u8;
        wire[6] = uneven;
        for (at, word) in [(8, argument), (16, elements), (24, self.signature.seq), (32, self.bytes)] {
            wire[at..at + 8].copy_from_slice(&word.to_le_bytes());
        }
        wire
    }

    /// Reads a header, or nothing where the bytes are none.
    pub(crate) fn decode(wire: &[u8; Self::SIZE]) -> Option<Self> {
        let word = |at: usize| Some(u64::from_le_bytes(wire.get(at..at + 8)?.try_into().ok()?));
        let shape = match wire[6] {
            0 => Shape::Elements(word(16)?),
            1 => Shape::Uneven,
            _ => return None,
        };
        if wire[..4] != Self::MAGIC {
            return None;
        }
        let signature = Signature {
            op: Op::decode(wire[4], word(8)?)?,
            dtype: Dtype::decode(wire[5])?,
            shape,
            seq: word(24)?,
        };
        Some(Self { signature, bytes: word(32)? })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_header_reads_back_as_written(code in 1u8..=7, argument: u64, dtype in 1u8..=6, shape: Option<u64>, seq: u64, bytes: u64) {
            let signature = Signature {
                op: Op::decode(code, argument).unwrap(),
                dtype: Dtype::decode(dtype).unwrap(),
                shape: shape.map_or(Shape::Uneven, Shape::Elements),
                seq,
            };
            let header = Header { signature, bytes };
            prop_assert_eq!(Header::decode(&header.encode()), Some(header));
        }

        #[test]
        fn any_bytes_read_as_a_header_or_as_nothing(wire: [u8; 32], tail: [u8; 8]) {
            let mut bytes = [0; Header::SIZE];
            bytes[..32].copy_from_slice(&wire);
            bytes[32..].copy_from_slice(&tail);
            let _ = Header::decode(&bytes);
        }
    }
}

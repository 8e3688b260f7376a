//! Pieces on their way from rank to rank, in messages of bounded size.

use std::collections::BTreeMap;

use muster_collective::{Collective, CollectiveExt, Error};

use crate::checkpoint::Encoded;

/// Bytes that one rank sends to another at a time.
const CHUNK: usize = 64 << 20;

/// What the bytes of a piece on its way are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Whole = 0,
    Rows = 1,
}

/// A piece on its way: its name, and what its bytes are.
pub(super) type Sent<'a> = (&'a str, Form, &'a [u8]);

/// A piece as it is sent.
pub(super) fn sent<'a>((name, piece): (&'a String, &'a Encoded)) -> Sent<'a> {
    let form = match piece {
        Encoded::Whole(_) => Form::Whole,
        Encoded::Rows(_) => Form::Rows,
    };
    (name, form, piece.bytes())
}

/// Sends each rank the pieces that are for it and returns what came from each, in order of ranks. Collective.
///
/// # Errors
/// The collective's; [`Error::Garbled`] where what came is no list of pieces.
pub(super) fn exchange(
    outgoing: &[Vec<Sent<'_>>],
    collective: &mut dyn Collective,
) -> Result<Vec<BTreeMap<String, Encoded>>, Error> {
    let streams: Vec<Vec<u8>> = outgoing.iter().map(|pieces| frame(pieces)).collect();
    let longest = streams.iter().map(Vec::len).max().unwrap_or(0) as u64;
    let mut all = vec![vec![longest]];
    if collective.world_size() > 1 {
        collective.all_gather::<u64>(&[longest], &mut all)?;
    }
    let longest = all.iter().flatten().copied().max().unwrap_or(0) as usize;
    let mut incoming = vec![Vec::new(); collective.world_size()];
    let mut received = Vec::new();
    for start in (0..longest).step_by(CHUNK) {
        let part = |stream: &Vec<u8>| start.min(stream.len())..(start + CHUNK).min(stream.len());
        let send: Vec<&[u8]> = streams.iter().map(|stream| &stream[part(stream)]).collect();
        collective.all_to_all::<u8>(&send, &mut received)?;
        incoming.iter_mut().zip(&received).for_each(|(all, part)| all.extend_from_slice(part));
    }
    let parse = |(from, stream): (usize, &Vec<u8>)| unframe(stream).ok_or(Error::Garbled { from });
    incoming.iter().enumerate().map(parse).collect()
}

/// Pieces one after the other: lengths of name and contents as u64, a byte that tells the form, then both.
fn frame(pieces: &[Sent<'_>]) -> Vec<u8> {
    let bytes = pieces.iter().map(|(name, _, piece)| 17 + name.len() + piece.len()).sum();
    let mut stream = Vec::with_capacity(bytes);
    for (name, form, piece) in pieces {
        stream.extend_from_slice(&(name.len() as u64).to_le_bytes());
        stream.extend_from_slice(&(piece.len() as u64).to_le_bytes());
        stream.push(*form as u8);
        stream.extend_from_slice(name.as_bytes());
        stream.extend_from_slice(piece);
    }
    stream
}

fn unframe(mut stream: &[u8]) -> Option<BTreeMap<String, Encoded>> {
    let mut pieces = BTreeMap::new();
    while !stream.is_empty() {
        let (name, rest) = stream.split_first_chunk::<8>()?;
        let (piece, rest) = rest.split_first_chunk::<8>()?;
        let (form, rest) = rest.split_first()?;
        let (name, rest) = rest.split_at_checked(u64::from_le_bytes(*name) as usize)?;
        let (piece, rest) = rest.split_at_checked(u64::from_le_bytes(*piece) as usize)?;
        let piece = match form {
            0 => Encoded::Whole(piece.to_vec()),
            1 => Encoded::Rows(piece.to_vec()),
            _ => return None,
        };
        pieces.insert(String::from_utf8(name.to_vec()).ok()?, piece);
        stream = rest;
    }
    Some(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_come_out_as_they_went_in_and_a_torn_stream_is_none() {
        let stream = frame(&[("table/item/0000", Form::Rows, &[1, 2, 3]), ("dense", Form::Whole, &[])]);
        let pieces = unframe(&stream).unwrap_or_default();
        assert_eq!(pieces["table/item/0000"], Encoded::Rows(vec![1, 2, 3]));
        assert_eq!((pieces.len(), &pieces["dense"]), (2, &Encoded::Whole(Vec::new())));
        for cut in 1..stream.len() {
            // A cut between two pieces leaves a whole list; anywhere else it shows.
            let torn = unframe(&stream[..cut]);
            assert!(torn.is_none_or(|pieces| pieces.len() == 1), "cut at {cut}");
        }
    }
}

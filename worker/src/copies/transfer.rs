//! Pieces on their way from rank to rank, in messages of bounded size.

use std::collections::BTreeMap;
use std::ops::Range;

use muster_collective::{Collective, CollectiveExt, Error};

use crate::checkpoint::Encoded;

/// Bytes that one rank sends to another at a time.
const CHUNK: usize = 16 << 20;

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
/// Memory beside the pieces themselves: a chunk for each rank that is sent to, and one from each that sends.
///
/// # Errors
/// The collective's; [`Error::Garbled`] where what came is no list of pieces, or no bytes of them.
pub(super) fn exchange(
    outgoing: &[Vec<Sent<'_>>],
    collective: &mut dyn Collective,
) -> Result<Vec<BTreeMap<String, Encoded>>, Error> {
    let lists: Vec<Vec<u8>> = outgoing.iter().map(|pieces| list(pieces)).collect();
    let lists: Vec<&[u8]> = lists.iter().map(Vec::as_slice).collect();
    let mut received = Vec::new();
    collective.all_to_all::<u8>(&lists, &mut received)?;
    let awaited = |(from, list): (usize, &Vec<u8>)| read_list(list).ok_or(Error::Garbled { from });
    let mut arriving: Vec<Arriving> = received.iter().enumerate().map(awaited).collect::<Result<_, _>>()?;
    let bytes = |pieces: &Vec<Sent<'_>>| pieces.iter().map(|(_, _, piece)| piece.len()).sum::<usize>();
    let longest = outgoing.iter().map(bytes).max().unwrap_or(0) as u64;
    let mut all = vec![vec![longest]];
    if collective.world_size() > 1 {
        collective.all_gather::<u64>(&[longest], &mut all)?;
    }
    let longest = all.iter().flatten().copied().max().unwrap_or(0) as usize;
    if let Some(from) =
        arriving.iter().position(|arriving| arriving.bytes().is_none_or(|bytes| bytes > longest))
    {
        return Err(Error::Garbled { from });
    }
    let mut chunks = vec![Vec::new(); outgoing.len()];
    for start in (0..longest).step_by(CHUNK) {
        for (chunk, pieces) in chunks.iter_mut().zip(outgoing) {
            cut(pieces, start..start + CHUNK, chunk);
        }
        let send: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
        collective.all_to_all::<u8>(&send, &mut received)?;
        for (from, (arriving, chunk)) in arriving.iter_mut().zip(&received).enumerate() {
            arriving.add(chunk).ok_or(Error::Garbled { from })?;
        }
    }
    let whole = |(from, arriving): (usize, Arriving)| arriving.whole().ok_or(Error::Garbled { from });
    arriving.into_iter().enumerate().map(whole).collect()
}

/// Lays the bytes of `range`, counted over all pieces one after the other, into `chunk`.
fn cut(pieces: &[Sent<'_>], range: Range<usize>, chunk: &mut Vec<u8>) {
    chunk.clear();
    let mut before = 0;
    for (_, _, piece) in pieces {
        let from = range.start.saturating_sub(before).min(piece.len());
        let to = range.end.saturating_sub(before).min(piece.len());
        chunk.extend_from_slice(&piece[from..to]);
        before += piece.len();
    }
}

/// The pieces that will come from a rank, filled as their bytes come.
#[derive(Debug)]
struct Arriving {
    /// Name, form and length of each.
    listed: Vec<(String, Form, usize)>,
    pieces: Vec<Vec<u8>>,
}

impl Arriving {
    /// Bytes of all pieces; none where they are more than can be.
    fn bytes(&self) -> Option<usize> {
        self.listed.iter().try_fold(0_usize, |sum, (_, _, len)| sum.checked_add(*len))
    }

    /// Takes the next bytes; none where there are more than were listed.
    fn add(&mut self, mut chunk: &[u8]) -> Option<()> {
        while !chunk.is_empty() {
            if self.pieces.last().is_none_or(|piece| piece.len() == self.listed[self.pieces.len() - 1].2) {
                let (_, _, len) = self.listed.get(self.pieces.len())?;
                self.pieces.push(Vec::with_capacity(*len));
            }
            let len = self.listed[self.pieces.len() - 1].2;
            let piece = self.pieces.last_mut()?;
            let (mine, rest) = chunk.split_at((len - piece.len()).min(chunk.len()));
            piece.extend_from_slice(mine);
            chunk = rest;
        }
        Some(())
    }

    /// The pieces by name; none where bytes are missing.
    fn whole(self) -> Option<BTreeMap<String, Encoded>> {
        let mut pieces = self.pieces.into_iter();
        let piece = |(name, form, len): (String, Form, usize)| {
            let bytes = pieces.next().unwrap_or_default();
            let piece = match form {
                Form::Whole => Encoded::Whole(bytes),
                Form::Rows => Encoded::Rows(bytes),
            };
            (piece.bytes().len() == len).then_some((name, piece))
        };
        self.listed.into_iter().map(piece).collect()
    }
}

/// What will come: for each piece the lengths of its name and of its bytes as u64, a byte that tells the form, the name.
fn list(pieces: &[Sent<'_>]) -> Vec<u8> {
    let mut list = Vec::new();
    for (name, form, piece) in pieces {
        list.extend_from_slice(&(name.len() as u64).to_le_bytes());
        list.extend_from_slice(&(piece.len() as u64).to_le_bytes());
        list.push(*form as u8);
        list.extend_from_slice(name.as_bytes());
    }
    list
}

fn read_list(mut list: &[u8]) -> Option<Arriving> {
    let mut listed = Vec::new();
    while !list.is_empty() {
        let (name, rest) = list.split_first_chunk::<8>()?;
        let (len, rest) = rest.split_first_chunk::<8>()?;
        let (form, rest) = rest.split_first()?;
        let (name, rest) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*name)).ok()?)?;
        let form = match form {
            0 => Form::Whole,
            1 => Form::Rows,
            _ => return None,
        };
        let len = usize::try_from(u64::from_le_bytes(*len)).ok()?;
        listed.push((String::from_utf8(name.to_vec()).ok()?, form, len));
        list = rest;
    }
    Some(Arriving { listed, pieces: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIECES: [Sent<'static>; 3] = [
        ("table/item/0000", Form::Rows, &[1, 2, 3]),
        ("table/item/0001", Form::Whole, &[]),
        ("dense", Form::Whole, &[4, 5, 6, 7]),
    ];

    #[test]
    fn pieces_come_out_as_they_went_in_whatever_the_chunks() {
        for size in 1..9 {
            let mut arriving = read_list(&list(&PIECES)).unwrap();
            let mut chunk = Vec::new();
            for start in (0..7).step_by(size) {
                cut(&PIECES, start..start + size, &mut chunk);
                arriving.add(&chunk).unwrap();
            }
            let pieces = arriving.whole().unwrap();
            assert_eq!(pieces["table/item/0000"], Encoded::Rows(vec![1, 2, 3]));
            assert_eq!(pieces["table/item/0001"], Encoded::Whole(Vec::new()));
            assert_eq!((pieces.len(), &pieces["dense"]), (3, &Encoded::Whole(vec![4, 5, 6, 7])));
        }
    }

    #[test]
    fn a_torn_list_and_bytes_too_few_or_too_many_show() {
        let whole = list(&PIECES);
        for cut in 1..whole.len() {
            // A cut between two pieces leaves a whole list; anywhere else it shows.
            let torn = read_list(&whole[..cut]);
            assert!(torn.is_none_or(|arriving| arriving.listed.len() < 3), "cut at {cut}");
        }
        let mut few = read_list(&whole).unwrap();
        few.add(&[1, 2, 3, 4]).unwrap();
        assert!(few.whole().is_none());
        assert!(read_list(&whole).unwrap().add(&[0; 8]).is_none());
    }
}

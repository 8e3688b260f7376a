//! The pieces of an option, equal neighbours once: a table on thousands of ranks has as many pieces and two kinds of them.

use super::Piece;

/// Pieces in order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Pieces(Vec<(Piece, u32)>);

impl Pieces {
    /// So many equal ones.
    #[must_use]
    pub fn repeat(piece: Piece, times: u32) -> Self {
        Self(vec![(piece, times)])
    }

    /// One, and then so many others.
    #[must_use]
    pub fn one_and(first: Piece, other: Piece, times: u32) -> Self {
        if first == other { Self::repeat(other, times + 1) } else { Self(vec![(first, 1), (other, times)]) }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.iter().map(|(_, times)| *times as usize).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Each in order.
    pub fn iter(&self) -> impl Iterator<Item = &Piece> {
        self.0.iter().flat_map(|(piece, times)| std::iter::repeat_n(piece, *times as usize))
    }

    /// Each kind with how many of it follow each other.
    pub fn kinds(&self) -> impl Iterator<Item = (&Piece, u32)> {
        self.0.iter().map(|(piece, times)| (piece, *times)).filter(|(_, times)| *times > 0)
    }
}

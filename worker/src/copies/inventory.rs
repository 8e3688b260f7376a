//! Which copies are in whose memory, and the newest that is whole.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Copies, Cursor};

/// What one process keeps, as it tells the others.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Inventory {
    /// The last step that it made.
    pub(super) reached: u64,
    /// Its copies with the names of their pieces.
    copies: Vec<(Cursor, BTreeSet<String>)>,
}

impl Inventory {
    pub(super) fn of(copies: &Copies) -> Self {
        let names =
            copies.listed().map(|(cursor, pieces)| (cursor.clone(), pieces.into_iter().cloned().collect()));
        Self { reached: copies.reached, copies: names.collect() }
    }
}

/// A copy of which every piece is there.
#[derive(Debug, PartialEq)]
pub(super) struct Whole {
    /// As the first rank that has a part of it tells.
    pub(super) cursor: Cursor,
    /// The ranks that have each piece, in order.
    pub(super) holders: BTreeMap<String, Vec<usize>>,
}

/// Returns the newest copy of which the ranks together have all pieces that are `needed`.
pub(super) fn newest_whole(ranks: &[Inventory], needed: &BTreeSet<String>) -> Option<Whole> {
    // By step first: a generation that began from an older step may not have come as far again.
    let mut found: BTreeMap<(u64, u64), Whole> = BTreeMap::new();
    for (rank, inventory) in ranks.iter().enumerate() {
        for (cursor, pieces) in &inventory.copies {
            let whole = found
                .entry((cursor.step, cursor.generation))
                .or_insert_with(|| Whole { cursor: cursor.clone(), holders: BTreeMap::new() });
            for piece in pieces {
                whole.holders.entry(piece.clone()).or_default().push(rank);
            }
        }
    }
    found.into_values().rev().find(|copy| needed.iter().all(|piece| copy.holders.contains_key(piece)))
}

#[cfg(test)]
mod tests {
    use muster_proto::checkpoint::Validation;

    use super::super::Totals;
    use super::*;

    fn cursor(generation: u64, step: u64) -> Cursor {
        let (counted, validation, totals) = (Vec::new(), Validation::default(), Totals::default());
        Cursor { generation, step, counted, validation, totals }
    }

    fn rank(copies: &[(u64, u64, &[&str])]) -> Inventory {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let copies =
            copies.iter().map(|(generation, step, pieces)| (cursor(*generation, *step), names(pieces)));
        Inventory { reached: 0, copies: copies.collect() }
    }

    fn whole(ranks: &[Inventory]) -> Option<(u64, u64)> {
        let needed = ["a", "b", "c"].map(str::to_owned).into();
        newest_whole(ranks, &needed).map(|copy| (copy.cursor.generation, copy.cursor.step))
    }

    #[test]
    fn the_newest_copy_counts_whose_pieces_are_all_there() {
        let first = rank(&[(1, 10, &["a", "b"]), (1, 20, &["a", "b"])]);
        let second = rank(&[(1, 10, &["b", "c"])]);
        assert_eq!(whole(&[first, second]), Some((1, 10)));
        assert_eq!(whole(&[rank(&[(1, 10, &["a", "b"])])]), None);
        assert_eq!(whole(&[]), None);
    }

    #[test]
    fn pieces_of_two_generations_are_never_one_copy() {
        let ranks = [rank(&[(1, 10, &["a", "b"])]), rank(&[(2, 10, &["b", "c"])])];
        assert_eq!(whole(&ranks), None);
        let ranks = [rank(&[(1, 10, &["a", "b", "c"]), (2, 7, &["a", "b"])]), rank(&[(2, 7, &["b", "c"])])];
        assert_eq!(whole(&ranks), Some((1, 10)));
    }

    #[test]
    fn each_piece_is_known_with_all_who_have_it() {
        let ranks = [rank(&[(1, 10, &["a", "b"])]), rank(&[]), rank(&[(1, 10, &["b", "c"])])];
        let needed = ["a", "b", "c"].map(str::to_owned).into();
        let holders = newest_whole(&ranks, &needed).expect("all pieces are there").holders;
        assert_eq!(
            (&holders["a"][..], &holders["b"][..], &holders["c"][..]),
            (&[0][..], &[0, 2][..], &[2][..])
        );
    }
}

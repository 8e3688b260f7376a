//! A placement that moves little from what lies where, by the time of its step.

use super::bound::Lines;
use super::place::{Placement, Unplaced, Wish};
use super::solve::Asked;
use crate::cost::Layout;
use crate::planner::Moves;

/// Of the placements whose step is within the tolerance of `best`, the one that moves the fewest bytes.
///
/// The planner's costs are a step's by lines only, of which no choice is right for all plans: each that was tried for `best` gives a
/// placement, and so does what lies there now, as long as it still fits.
///
/// # Errors
/// A fault of the planner.
pub(super) fn moving_little(
    asked: &Asked<'_>,
    best: Placement,
    tried: &[Lines],
    wish: &Wish,
) -> Result<(Placement, Moves), Unplaced> {
    let enough = best.step.seconds * (1.0 + wish.tolerance.max(0.0));
    let mut found: Vec<Placement> = asked.unmoved(wish).into_iter().collect();
    for lines in tried {
        found.push(asked.moved(lines, wish)?);
    }
    let fits = |placement: &Placement| placement.host_missing(asked.cluster) <= 0.0;
    found.retain(|placement| placement.step.seconds <= enough && fits(placement));
    found.push(best);
    let moved = |placement: &Placement| moves(asked, placement, wish);
    let least = found
        .into_iter()
        .map(|placement| (moved(&placement), placement))
        .min_by(|a, b| a.0.cmp(&b.0).then(a.1.step.seconds.total_cmp(&b.1.step.seconds)));
    let (moves, placement) = least.expect("the best placement is among them");
    Ok((placement, moves))
}

/// What comes to ranks that do not hold it; a table in another layout moves as a whole.
fn moves(asked: &Asked<'_>, placement: &Placement, wish: &Wish) -> Moves {
    let mut moved = Moves::default();
    for ((table, options), (layout, ranks)) in
        asked.workload.tables.iter().zip(asked.options).zip(&placement.tables)
    {
        // Rows on another number of ranks are other rows; a copy is a copy.
        let same = |(name, old): &&(String, Vec<u32>)| {
            *name == layout.name() && (old.len() == ranks.len() || *layout == Layout::DataParallel)
        };
        let before = wish.present.get(&table.name).filter(same);
        let before = before.map_or(&[][..], |(_, ranks)| ranks);
        let pieces =
            options.iter().filter(|option| option.layout == *layout).flat_map(|option| option.pieces.iter());
        for (idx, (rank, piece)) in ranks.iter().zip(pieces).enumerate() {
            if before.get(idx).map(|rank| *rank as usize) != Some(*rank) {
                moved.bytes += piece.memory.ceil() as u128;
                moved.pieces += 1;
            }
        }
    }
    moved
}

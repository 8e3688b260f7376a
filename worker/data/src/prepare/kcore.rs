//! Which items survive the k-core: the largest set of events in which each user and each item has enough.
//!
//! A user's fate follows from the items alive, so that only one flag an item is kept between rounds. Both
//! sets only shrink; the fixed point does not depend on the order in which they do.

use super::error::Error;
use super::stage::Stage;

/// The least number of events.
#[derive(Debug, Clone, Copy)]
pub(super) struct Minimum {
    pub(super) user_events: u32,
    pub(super) item_events: u32,
}

impl Minimum {
    /// Whether any item could be dropped.
    pub(super) fn is_of_items(self) -> bool {
        self.item_events > 1
    }
}

/// Flags of the items that survive, by provisional id.
pub(super) fn alive_items(stage: &Stage, items: usize, minimum: Minimum) -> Result<Vec<bool>, Error> {
    let mut alive = vec![true; items];
    if !minimum.is_of_items() {
        return Ok(alive);
    }
    loop {
        let counts = stage.sum(
            || vec![0_u64; items],
            |counts, index| {
                let alive_at = |item: &[u8; 4]| alive[u32::from_le_bytes(*item) as usize];
                stage.visit_items(index, |items| {
                    let kept = items.iter().filter(|item| alive_at(item));
                    if kept.clone().count() >= minimum.user_events as usize {
                        kept.for_each(|item| counts[u32::from_le_bytes(*item) as usize] += 1);
                    }
                })?;
                Ok(())
            },
            |total, part| total.iter_mut().zip(part).for_each(|(total, part)| *total += part),
        )?;
        let mut is_stable = true;
        for (alive, count) in alive.iter_mut().zip(counts) {
            if *alive && count < u64::from(minimum.item_events) {
                (*alive, is_stable) = (false, false);
            }
        }
        if is_stable {
            return Ok(alive);
        }
    }
}

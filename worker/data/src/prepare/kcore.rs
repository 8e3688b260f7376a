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

/// Flags of the items that survive, by provisional id.
pub(super) fn alive_items(stage: &Stage, items: usize, minimum: Minimum) -> Result<Vec<bool>, Error> {
    let mut alive = vec![true; items];
    if minimum.item_events <= 1 {
        return Ok(alive);
    }
    loop {
        let counts = stage.sum(
            || vec![0_u64; items],
            |counts, index| {
                let partition = stage.load(index)?;
                for user in 0..partition.users() {
                    let events = &partition.items[partition.range(user)];
                    let kept = events.iter().filter(|item| alive[**item as usize]);
                    if kept.clone().count() >= minimum.user_events as usize {
                        kept.for_each(|item| counts[*item as usize] += 1);
                    }
                }
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

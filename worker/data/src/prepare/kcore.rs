//! Which items survive the k-core: the largest set of events in which each user and each item has enough.
//!
//! A user's fate follows from the items alive, so that only one flag an item is kept between rounds. Both
//! sets only shrink; the fixed point does not depend on the order in which they do.

use serde::{Deserialize, Serialize};

use super::error::Error;
use super::pass::{Bench, Crew, Pass};

/// The least number of events.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
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

/// Counts the events of items that are alive, of users that have enough of them.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct CountAlive {
    /// By provisional id.
    alive: Vec<bool>,
    minimum: Minimum,
}

impl Pass for CountAlive {
    const NAME: &'static str = "count-alive";
    type Sum = Vec<u64>;

    fn zero(&self, bench: &Bench) -> Vec<u64> {
        vec![0; bench.items]
    }

    fn add(&self, bench: &Bench, counts: &mut Vec<u64>, index: usize) -> Result<(), Error> {
        let alive_at = |item: &[u8; 4]| self.alive[u32::from_le_bytes(*item) as usize];
        bench.stage.visit_items(index, |items| {
            let kept = items.iter().filter(|item| alive_at(item));
            if kept.clone().count() >= self.minimum.user_events as usize {
                kept.for_each(|item| counts[u32::from_le_bytes(*item) as usize] += 1);
            }
        })
    }

    fn merge(total: &mut Vec<u64>, part: Vec<u64>) {
        total.iter_mut().zip(part).for_each(|(total, part)| *total += part);
    }
}

/// Flags of the items that survive, by provisional id.
pub(super) fn alive_items(crew: &impl Crew, bench: &Bench, minimum: Minimum) -> Result<Vec<bool>, Error> {
    let mut pass = CountAlive { alive: vec![true; bench.items], minimum };
    if !minimum.is_of_items() {
        return Ok(pass.alive);
    }
    loop {
        let counts = crew.run(bench, &pass)?;
        let mut is_stable = true;
        for (alive, count) in pass.alive.iter_mut().zip(counts) {
            if *alive && count < u64::from(minimum.item_events) {
                (*alive, is_stable) = (false, false);
            }
        }
        if is_stable {
            return Ok(pass.alive);
        }
    }
}

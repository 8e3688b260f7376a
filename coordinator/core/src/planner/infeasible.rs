//! Why no plan can be: a table too large for every rank, or all tables for all ranks.

use std::collections::BTreeMap;

use super::error::Error;
use super::evaluate::State;
use super::problem::{Choice, Layout, Problem};

/// Refuses what cannot fit, by counting alone.
///
/// # Errors
/// The table at fault, and the bytes that are missing.
pub(super) fn check(problem: &Problem) -> Result<(), Error> {
    let largest = problem.cluster().devices.iter().map(|device| device.memory).max().unwrap_or(0);
    let available: u128 = problem.cluster().devices.iter().map(|device| u128::from(device.memory)).sum();
    let mut needed = 0u128;
    let mut most: Option<(u128, usize)> = None;
    let mut worst: Option<(u64, usize)> = None;
    for (idx, table) in problem.tables().iter().enumerate() {
        let choices = || problem.allowed(idx).iter().map(|option| &table.options[*option]);
        let piece = choices().map(largest_piece).min().unwrap_or(0);
        if piece > largest {
            let missing = piece - largest;
            if worst.is_none_or(|(bytes, _)| missing > bytes) {
                worst = Some((missing, idx));
            }
        }
        let least = choices().filter(|c| largest_piece(c) <= largest).map(Choice::memory).min().unwrap_or(0);
        needed += least;
        if most.is_none_or(|(bytes, _)| least > bytes) {
            most = Some((least, idx));
        }
    }
    if let Some((missing, idx)) = worst {
        return Err(Error::TableTooLarge { table: problem.tables()[idx].name.clone(), missing });
    }
    match most {
        Some((_, idx)) if needed > available => Err(Error::TooLarge {
            table: problem.tables()[idx].name.clone(),
            needed,
            available,
            missing: needed - available,
        }),
        _ => check_pins(problem),
    }
}

/// Sets of pinned ranks are compared with what is pinned inside of them, where there are not more sets than these.
const FEW_SETS: usize = 64;

/// Refuses pins to ranks that are too small for all that is pinned there.
fn check_pins(problem: &Problem) -> Result<(), Error> {
    let mut pinned: BTreeMap<Vec<usize>, Vec<usize>> = BTreeMap::new();
    for (idx, table) in problem.tables().iter().enumerate().filter(|(_, t)| !t.demand.ranks.is_empty()) {
        let mut ranks = table.demand.ranks.clone();
        ranks.sort_unstable();
        ranks.dedup();
        pinned.entry(ranks).or_default().push(idx);
    }
    let least = |table: usize| {
        let options = problem.allowed(table).iter().map(|o| problem.tables()[table].options[*o].memory());
        options.min().unwrap_or(0)
    };
    for (ranks, own) in &pinned {
        let inside = |other: &Vec<usize>| other.iter().all(|rank| ranks.binary_search(rank).is_ok());
        let tables: Vec<usize> = if pinned.len() <= FEW_SETS {
            pinned.iter().filter(|(other, _)| inside(other)).flat_map(|(_, tables)| tables.clone()).collect()
        } else {
            own.clone()
        };
        let needed: u128 = tables.iter().map(|table| least(*table)).sum();
        let available: u128 =
            ranks.iter().map(|rank| u128::from(problem.cluster().devices[*rank].memory)).sum();
        if needed > available {
            let largest = tables.into_iter().max_by_key(|table| (least(*table), std::cmp::Reverse(*table)));
            let table = largest.map_or_else(String::new, |table| problem.tables()[table].name.clone());
            return Err(Error::Pinned { table, ranks: ranks.clone(), needed, available });
        }
    }
    Ok(())
}

fn largest_piece(choice: &Choice) -> u64 {
    choice.runs.iter().filter(|run| run.pieces > 0).map(|run| run.memory).max().unwrap_or(0)
}

/// Bytes that a table lacks beside what lies where: the least over its options of what the roomiest rank has too little of, or
/// a rank that every piece needs, or all ranks together; 1 where room is only scattered.
pub(super) fn lacking(state: &State<'_>, table: usize) -> u64 {
    let problem = state.problem;
    let open: Vec<usize> = (0..problem.world_size()).filter(|rank| problem.may_lie(table, *rank)).collect();
    let roomiest = open.iter().map(|rank| state.room(*rank)).max().unwrap_or(0);
    let all: u128 = open.iter().map(|rank| u128::from(state.room(*rank))).sum();
    let of = |choice: &Choice| {
        let together = choice.memory().saturating_sub(all);
        let alone = if choice.layout == Layout::EveryRank {
            let each =
                choice.pieces().enumerate().map(|(rank, run)| run.memory.saturating_sub(state.room(rank)));
            each.max().unwrap_or(0)
        } else {
            largest_piece(choice).saturating_sub(roomiest)
        };
        u64::try_from(together).unwrap_or(u64::MAX).max(alone).max(1)
    };
    let options = &problem.tables()[table].options;
    problem.allowed(table).iter().map(|option| of(&options[*option])).min().unwrap_or(1)
}

//! Why no plan can be: a table too large for every rank, or all tables for all ranks.

use super::error::Error;
use super::problem::{Choice, Problem};

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
        _ => Ok(()),
    }
}

fn largest_piece(choice: &Choice) -> u64 {
    choice.runs.iter().filter(|run| run.pieces > 0).map(|run| run.memory).max().unwrap_or(0)
}

/// What a table lacks on the roomiest rank, where the search found no place for it.
pub(super) fn lacking(problem: &Problem, table: usize, room: u64) -> u64 {
    let options = &problem.tables()[table].options;
    let piece = problem.allowed(table).iter().map(|o| largest_piece(&options[*o])).min().unwrap_or(0);
    piece.saturating_sub(room).max(1)
}

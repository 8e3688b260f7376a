//! The best score on a generated log: by the generator's own probabilities.
//!
//! The oracle knows what is hidden (style, tastes, the shop's structure) and what was viewed, and ranks the
//! items that were not viewed by the probability with which the generator draws the next one. No model can
//! beat it but by luck; a model that sees the log alone must infer what is hidden first.

use std::convert::Infallible;

use super::GenerateArgs;
use super::error::Error;
use super::log::{Budgets, walk};
use super::shopper::Shopper;
use super::world::World;

/// What the oracle reaches on the last view of each shopper, viewed items not ranked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OracleReport {
    /// Cut-off.
    pub k: usize,
    /// Share of shoppers whose last view is among the first `k`.
    pub hit_rate: f64,
    /// Mean of `1 / log2(1 + rank)` over those, 0 for the others.
    pub ndcg: f64,
    /// Shoppers that were ranked: those with 3 views or more.
    pub users: u64,
}

/// Ranks the last view of the first `max_users` shoppers of the log that `args` generate.
///
/// # Errors
/// The numbers do not fit each other.
pub fn oracle(args: &GenerateArgs, k: usize, max_users: u32) -> Result<OracleReport, Error> {
    args.check()?;
    let world = World::new(args);
    let mut report = OracleReport { k, hit_rate: 0.0, ndcg: 0.0, users: 0 };
    for (user, rows) in (0..args.users.min(max_users)).zip(Budgets::new(args)) {
        let Some(rank) = rank_of_last_view(&world, args, user, rows) else { continue };
        report.users += 1;
        if rank <= k {
            report.hit_rate += 1.0;
            report.ndcg += 1.0 / (1.0 + rank as f64).log2();
        }
    }
    let users = report.users.max(1) as f64;
    Ok(OracleReport { hit_rate: report.hit_rate / users, ndcg: report.ndcg / users, ..report })
}

/// Rank of the last view, from 1; none for a shopper with fewer than 3 views.
fn rank_of_last_view(world: &World, args: &GenerateArgs, user: u32, rows: u64) -> Option<usize> {
    let views = walk(world, args, user, rows, &mut |_| Ok::<(), Infallible>(()));
    let before = match views {
        Ok(views) => views.checked_sub(1).filter(|before| *before >= 2)?,
        Err(never) => match never {},
    };
    let mut shopper = Shopper::new(world, args, user);
    for _ in 0..before {
        shopper.view()?;
    }
    let probability = shopper.next_distribution();
    let target = shopper.view()? as usize;
    let better = |item: usize| {
        probability[item] > probability[target] || probability[item] == probability[target] && item < target
    };
    Some(1 + (0..probability.len()).filter(|item| better(*item)).count())
}

//! A new plan that moves little: as cheap as a fresh one within a tolerance, then with as few bytes moved as can be.
//!
//! Two plans are made and the one that moves less is taken: the present one, mended until it is cheap enough, and a fresh one,
//! from which tables go back to where they are as long as it stays cheap enough.

use super::error::Error;
use super::evaluate::State;
use super::problem::Problem;
use super::search::local::{self, improve};
use super::search::spots::Spots;
use super::{Effort, Placement, Plan, dominance, plan, verify};

/// What a new plan moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord)]
pub struct Moves {
    /// Bytes of pieces that come to a rank which does not hold them now.
    pub bytes: u128,
    /// How many such pieces.
    pub pieces: usize,
}

/// Plans anew from `current`, one entry per table in the problem's order, `None` where a table is new.
///
/// The cost is at most `1 + tolerance` times that of a fresh plan.
///
/// # Errors
/// As [`plan`].
pub fn replan(
    problem: &Problem,
    current: &[Option<Placement>],
    tolerance: f64,
    effort: Effort,
) -> Result<(Plan, Moves), Error> {
    let fresh = plan(problem, effort)?;
    let enough = fresh.cost * (1.0 + tolerance.max(0.0));
    let useful = dominance::useful(problem);
    let kept: Vec<Option<Placement>> =
        (0..useful.len()).map(|table| held(problem, table, current.get(table)?.as_ref())).collect();
    let mut best = (moves(problem, &kept, &fresh.placements), fresh.cost, fresh.placements.clone());
    let returned = go_back(problem, &kept, &fresh.placements, enough);
    let mended = mended(problem, &useful, &kept, enough).map(|plan| go_back(problem, &kept, &plan, enough));
    for placements in [Some(returned), mended].into_iter().flatten() {
        let cost = verify::totals(problem, &placements).0;
        let moved = moves(problem, &kept, &placements);
        if cost <= enough && verify::check_placements(problem, &placements).is_ok() && moved < best.0 {
            best = (moved, cost, placements);
        }
    }
    let (moved, cost, placements) = best;
    let bound = fresh.bound.min(cost);
    Ok((Plan { placements, cost, bound, proof: fresh.proof }, moved))
}

/// A present placement, where the problem still offers it.
fn held(problem: &Problem, table: usize, placement: Option<&Placement>) -> Option<Placement> {
    let placement = placement?;
    let inside = placement
        .ranks
        .iter()
        .all(|rank| (*rank as usize) < problem.world_size() && problem.may_lie(table, *rank as usize));
    (inside && problem.allowed(table).contains(&placement.option)).then(|| placement.clone())
}

/// What comes to ranks that do not hold it; a table in another option moves as a whole.
fn moves(problem: &Problem, kept: &[Option<Placement>], placements: &[Placement]) -> Moves {
    let mut moved = Moves::default();
    for (table, placement) in placements.iter().enumerate() {
        let choice = &problem.tables()[table].options[placement.option];
        let old = kept[table].as_ref().filter(|old| old.option == placement.option);
        for (idx, run) in choice.pieces().enumerate() {
            if old.is_none_or(|old| old.ranks.get(idx) != placement.ranks.get(idx)) {
                moved.bytes += u128::from(run.memory);
                moved.pieces += 1;
            }
        }
    }
    moved
}

/// The present plan with new tables added, improved step by step until it is cheap enough.
fn mended(
    problem: &Problem,
    useful: &[Vec<usize>],
    kept: &[Option<Placement>],
    enough: f64,
) -> Option<Vec<Placement>> {
    let mut state = State::new(problem);
    for (table, placement) in kept.iter().enumerate() {
        if let Some(placement) = placement
            && state.fits(table, placement)
        {
            state.place(table, placement.clone());
        }
    }
    for (table, options) in useful.iter().enumerate() {
        if state.placements[table].is_some() {
            continue;
        }
        let best = Spots::best(&mut state, table, options)?;
        state.place(table, best);
    }
    improve(&mut state, useful, local::Limits { tries: 20_000, enough });
    state.complete()
}

/// Tables back to where they are, the largest first, as long as the plan stays cheap enough.
fn go_back(
    problem: &Problem,
    kept: &[Option<Placement>],
    placements: &[Placement],
    enough: f64,
) -> Vec<Placement> {
    let mut state = State::new(problem);
    for (table, placement) in placements.iter().enumerate() {
        state.place(table, placement.clone());
    }
    let memory = |table: usize| problem.tables()[table].options[placements[table].option].memory();
    let mut order: Vec<usize> = (0..placements.len()).collect();
    order.sort_by(|a, b| memory(*b).cmp(&memory(*a)).then(a.cmp(b)));
    let mut again = true;
    while std::mem::take(&mut again) {
        for table in &order {
            let Some(old) = &kept[*table] else { continue };
            let Some(new) = state.remove(*table) else { continue };
            if *old != new && state.fits(*table, old) {
                state.place(*table, old.clone());
                if state.score().cost <= enough {
                    again = true;
                    continue;
                }
                state.remove(*table);
            }
            state.place(*table, new);
        }
    }
    state.complete().unwrap_or_else(|| placements.to_vec())
}

//! From a problem to a plan: starts, bounds, dives, and exhaustion where the problem is small.

use rayon::prelude::*;

use super::bound::kinds::{Kinds, kinds};
use super::bound::{area, item, pattern};
use super::error::Error;
use super::evaluate::State;
use super::infeasible;
use super::problem::Problem;
use super::search::dive::{Aim, dive};
use super::search::exact::exhaust;
use super::search::local::{self, improve};
use super::search::start::{Lacking, Taste, start};
use super::{Placement, Plan, Proof, dominance, verify};

/// How much work a plan may be; a count, not a time, so that plans do not depend on the machine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Effort {
    /// The search stops at a plan that is this close to its bound, as a share of the bound.
    pub gap: f64,
    /// Multiplies the placements, steps and nodes that are tried.
    pub factor: u32,
    /// Multiplies them too, down: one of so many is tried. 1 for a plan that is to be used, more where many are compared.
    pub divisor: u32,
}

impl Effort {
    /// For questions that take many plans: a fiftieth of the work, and a thousandth of the cost is close enough.
    #[must_use]
    pub fn quick() -> Self {
        Self { gap: 1e-3, divisor: 50, ..Self::default() }
    }

    /// `work` times the factor over the divisor.
    fn of(self, work: u64) -> u64 {
        work * u64::from(self.factor) / u64::from(self.divisor.max(1))
    }
}

impl Default for Effort {
    fn default() -> Self {
        Self { gap: 1e-6, factor: 1, divisor: 1 }
    }
}

/// The share of the cost to which first starts limit the largest piece.
const LARGEST: [f64; 6] = [1.0, 0.7, 0.5, 0.35, 0.25, 0.15];

/// Dives from the area bound's prices go to so many loads, evenly up to the cost.
const EVEN_LOADS: u32 = 24;

/// Cells of a dive's knapsacks, and the cells times items that all dives of one kind may fill.
const DIVE_CELLS: usize = 500;
const DIVE_WORK: usize = 250_000_000;

/// Placements that local search tries after a dive, and again on the cheapest few of the plans.
const ROUGH_TRIES: u64 = 400;
const FINE_TRIES: u64 = 3_000;
const POLISHED: usize = 4;

/// Bounds and best plan so far.
struct Best {
    placements: Vec<Placement>,
    cost: f64,
    bound: f64,
    proof: Proof,
}

impl Best {
    fn raise(&mut self, bound: f64, proof: Proof) {
        if bound > self.bound {
            (self.bound, self.proof) = (bound, proof);
        }
    }

    fn offer(&mut self, problem: &Problem, placements: Vec<Placement>) -> bool {
        let cost = verify::totals(problem, &placements).0;
        if cost < self.cost * (1.0 - 1e-12) || (self.placements.is_empty() && !placements.is_empty()) {
            (self.cost, self.placements) = (cost, placements);
            return true;
        }
        false
    }

    fn closed(&self, effort: Effort) -> bool {
        self.cost <= self.bound * (1.0 + effort.gap)
    }
}

/// The best plan that the effort finds, with its bound.
///
/// # Errors
/// Where no plan fits, with the table and the bytes that are missing, or none was found.
pub fn plan(problem: &Problem, effort: Effort) -> Result<Plan, Error> {
    infeasible::check(problem)?;
    let useful = dominance::useful(problem);
    let low = item::bound(problem, &useful);
    let mut best = first(problem, &useful, low, effort)?;
    best.raise(low, Proof::Item);
    let area = area::bound(problem, &useful, low, best.cost);
    best.raise(area.bound, Proof::Area);
    // Very small problems are exhausted at once; larger ones where the bounds leave a gap.
    let small = problem.tables().len() * problem.world_size() <= 96;
    if !best.closed(effort) && small {
        finish(problem, &useful, &mut best, effort.of(100_000));
    }
    if !best.closed(effort)
        && let Some(kinds) = kinds(problem, &useful, area.byte_price, best.cost)
    {
        patterns(problem, &useful, &kinds, area.byte_price, effort, &mut best);
    }
    let bound = best.bound.min(best.cost);
    Ok(Plan { placements: best.placements, cost: best.cost, bound, proof: best.proof })
}

fn finish(problem: &Problem, useful: &[Vec<usize>], best: &mut Best, nodes: u64) {
    let outcome = exhaust(problem, useful, best.cost, nodes);
    if let Some(placements) = outcome.best {
        best.offer(problem, placements);
    }
    if outcome.complete {
        best.raise(best.cost, Proof::Exhausted);
    }
}

/// Greedy starts with local search, the cheapest of them.
fn first(problem: &Problem, useful: &[Vec<usize>], low: f64, effort: Effort) -> Result<Best, Error> {
    let mut best = Best { placements: Vec::new(), cost: f64::INFINITY, bound: low, proof: Proof::Item };
    let size: usize = useful.iter().map(Vec::len).sum::<usize>() + problem.world_size();
    let even = area::even(problem, useful, low);
    // Large problems get few starts: one is within a fraction of a percent there.
    let n_starts = if size > 20_000 { 1 } else { LARGEST.len() };
    let scale = even.bound.max(low);
    let mut tastes: Vec<Taste> = LARGEST[..n_starts]
        .iter()
        .map(|share| Taste { largest: share * scale, byte_price: even.byte_price, by_memory: false })
        .collect();
    if n_starts > 1 {
        // Where memory is short, the tables with the most bytes go first, while there is room everywhere.
        let taste = |share| Taste { largest: share * scale, byte_price: even.byte_price, by_memory: true };
        tastes.extend([2.0, 1.0, 0.5].map(taste));
    }
    let tries = effort.of((40_000_000 / size as u64).min(20_000) / 10);
    let mut missing: Option<Lacking> = None;
    let mut run = |tastes: &[Taste], best: &mut Best| {
        let found: Vec<Result<Vec<Placement>, Lacking>> = tastes
            .par_iter()
            .map(|taste| {
                let mut state = start(problem, useful, *taste)?;
                let enough = scale * (1.0 + effort.gap.max(1e-3));
                improve(&mut state, useful, local::Limits { tries, enough });
                state.complete().ok_or(Lacking { table: 0, missing: 1 })
            })
            .collect();
        for found in found {
            match found {
                Ok(placements) => _ = best.offer(problem, placements),
                Err(lacking) => {
                    missing = missing.into_iter().chain([lacking]).min_by_key(|l| (l.missing, l.table));
                }
            }
        }
    };
    run(&tastes, &mut best);
    if best.placements.is_empty() && !problem.tables().is_empty() {
        // Memory is short: the largest tables first, and bytes dearer and dearer.
        let price = even.byte_price.max(scale / 1e12);
        tastes = [1.0, 4.0, 32.0, 1e6]
            .iter()
            .flat_map(|dear| {
                let taste = |by_memory| Taste { largest: f64::INFINITY, byte_price: price * dear, by_memory };
                [taste(true), taste(false)]
            })
            .collect();
        run(&tastes, &mut best);
    }
    if best.placements.is_empty() && !problem.tables().is_empty() {
        let closest = missing.unwrap_or(Lacking { table: 0, missing: 1 });
        return last_resort(problem, useful, closest, effort);
    }
    if problem.tables().is_empty() {
        best.cost = 0.0;
    }
    Ok(best)
}

/// The most tables whose placements are all tried: each takes a frame of the stack.
const MOST_EXHAUSTED: usize = 512;

/// No start fits: every placement, as far as the effort goes.
fn last_resort(
    problem: &Problem,
    useful: &[Vec<usize>],
    closest: Lacking,
    effort: Effort,
) -> Result<Best, Error> {
    let Lacking { table, missing } = closest;
    let table = problem.tables()[table].name.clone();
    if problem.tables().len() > MOST_EXHAUSTED {
        return Err(Error::NotFound { table, missing });
    }
    let outcome = exhaust(problem, useful, f64::INFINITY, 20_000 * u64::from(effort.factor));
    if let Some(placements) = outcome.best {
        let mut best = Best { placements: Vec::new(), cost: f64::INFINITY, bound: 0.0, proof: Proof::Item };
        best.offer(problem, placements);
        return Ok(best);
    }
    Err(if outcome.complete {
        Error::Exhausted { table, missing }
    } else {
        Error::NotFound { table, missing }
    })
}

/// The pattern bound, and dives from its prices, in turn.
fn patterns(
    problem: &Problem,
    useful: &[Vec<usize>],
    kinds: &Kinds,
    byte_price: f64,
    effort: Effort,
    best: &mut Best,
) {
    let n_items: usize = kinds
        .on_node
        .iter()
        .chain(&kinds.on_rank)
        .map(|part| 1 + kinds.kinds[part.kind].tables.len().ilog2() as usize)
        .sum();
    // Where every useful option lies on all ranks there is nothing to pack.
    if n_items == 0 || n_items > 4_000 {
        return;
    }
    // A dive fills a knapsack a rank and two a node.
    let knapsacks = kinds.nodes * (kinds.node_size + 2);
    let n_dives = (DIVE_WORK / (knapsacks * n_items * DIVE_CELLS)).min(EVEN_LOADS as usize);
    let even: Vec<(Vec<f64>, f64)> = (1..=EVEN_LOADS)
        .skip(EVEN_LOADS as usize % n_dives.max(1))
        .step_by(EVEN_LOADS as usize / n_dives.max(1))
        .take(n_dives)
        .map(|step| {
            let load = best.cost * f64::from(step) / f64::from(EVEN_LOADS);
            (pattern::area_prices(kinds, byte_price, load), load)
        })
        .collect();
    dives(problem, useful, kinds, (&even, byte_price), best);
    if best.closed(effort) {
        return;
    }
    let cells = (200_000 / n_items.max(1)).clamp(500, 1_000);
    let steps = (40_000_000 / (n_items * cells)).clamp(40, 200) * effort.factor as usize;
    let limits = pattern::Limits { cells, steps, enough: best.cost / (1.0 + effort.gap) };
    let found = pattern::bound(kinds, byte_price, best.cost, limits);
    best.raise(found.bound, Proof::Pattern);
    if best.closed(effort) {
        return;
    }
    let mut aims: Vec<(Vec<f64>, f64)> = Vec::new();
    for load in found.loads {
        if aims.len() < n_dives.min(12)
            && aims.iter().all(|(_, other)| (load - other).abs() > 2e-3 * best.cost)
        {
            aims.push((found.prices.clone(), load));
        }
    }
    dives(problem, useful, kinds, (&aims, byte_price), best);
}

/// Dives with prices to loads.
fn dives(
    problem: &Problem,
    useful: &[Vec<usize>],
    kinds: &Kinds,
    (aims, byte_price): (&[(Vec<f64>, f64)], f64),
    best: &mut Best,
) {
    let bound = best.bound;
    let found: Vec<Option<State<'_>>> = aims
        .par_iter()
        .map(|(prices, load)| {
            let aim = Aim { prices, byte_price, load: *load, cells: DIVE_CELLS };
            let mut state = dive(problem, useful, kinds, aim).ok()?;
            improve(&mut state, useful, local::Limits { tries: ROUGH_TRIES, enough: bound });
            Some(state)
        })
        .collect();
    let mut states: Vec<State<'_>> = found.into_iter().flatten().collect();
    states.sort_by(|a, b| a.score().cost.total_cmp(&b.score().cost));
    states.truncate(POLISHED);
    states.par_iter_mut().for_each(|state| {
        improve(state, useful, local::Limits { tries: FINE_TRIES, enough: bound });
    });
    for state in states {
        if let Some(placements) = state.complete() {
            best.offer(problem, placements);
        }
    }
}

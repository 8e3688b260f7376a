//! Whether a plan is one: every piece exactly once where its layout lets it lie, within memory, at the cost it claims.
//!
//! Reads the problem and the plan alone and shares no code with the search, whose mistakes it is there to find.

use super::problem::{Choice, Layout, Problem};
use super::{Placement, Plan};

/// What is wrong with a plan.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Fault {
    /// Tables without a placement, or the reverse.
    #[error("the plan places {found} tables, the problem has {wanted}")]
    Tables {
        /// Placed.
        found: usize,
        /// Asked.
        wanted: usize,
    },
    /// An option that the user or the problem does not offer.
    #[error("table `{table}` has the option number {option}, which it may not have")]
    Option {
        /// The table.
        table: String,
        /// Its index.
        option: usize,
    },
    /// A piece that lies nowhere, twice or where it may not.
    #[error("table `{table}`: {what}")]
    Pieces {
        /// The table.
        table: String,
        /// In words.
        what: &'static str,
    },
    /// A rank that holds too much.
    #[error("rank {rank} holds {held} bytes and has {memory}")]
    Memory {
        /// The rank.
        rank: usize,
        /// What lies there.
        held: u128,
        /// What fits.
        memory: u64,
    },
    /// A cost or bound that does not hold.
    #[error("the plan claims cost {claimed} with bound {bound}; it costs {cost}")]
    Cost {
        /// As claimed.
        claimed: f64,
        /// As claimed.
        bound: f64,
        /// As summed here.
        cost: f64,
    },
}

/// Checks a plan against its problem.
///
/// # Errors
/// The first fault, in order of tables and ranks.
pub fn verify(problem: &Problem, plan: &Plan) -> Result<(), Fault> {
    check_placements(problem, &plan.placements)?;
    let (cost, _) = totals(problem, &plan.placements);
    let slack = 1e-9 * cost.max(1e-12);
    if (plan.cost - cost).abs() > slack || plan.bound > plan.cost {
        return Err(Fault::Cost { claimed: plan.cost, bound: plan.bound, cost });
    }
    Ok(())
}

/// Checks that each piece lies once where it may, and that memory suffices.
///
/// # Errors
/// The first fault, in order of tables and ranks.
pub fn check_placements(problem: &Problem, placements: &[Placement]) -> Result<(), Fault> {
    let tables = problem.tables();
    if placements.len() != tables.len() {
        return Err(Fault::Tables { found: placements.len(), wanted: tables.len() });
    }
    for (idx, placement) in placements.iter().enumerate() {
        let name = || tables[idx].name.clone();
        if !problem.allowed(idx).contains(&placement.option) {
            return Err(Fault::Option { table: name(), option: placement.option });
        }
        let ranks = ranks_of(problem, &tables[idx].options[placement.option], placement);
        check_pieces(problem, idx, &tables[idx].options[placement.option], &ranks)
            .map_err(|what| Fault::Pieces { table: name(), what })?;
    }
    let (_, memory) = totals(problem, placements);
    for (rank, held) in memory.into_iter().enumerate() {
        let device = problem.cluster().devices[rank];
        if held > u128::from(device.memory) {
            return Err(Fault::Memory { rank, held, memory: device.memory });
        }
    }
    Ok(())
}

/// The rank of each piece; a placement on every rank does not list them.
fn ranks_of(problem: &Problem, choice: &Choice, placement: &Placement) -> Vec<usize> {
    if choice.layout == Layout::EveryRank && placement.ranks.is_empty() {
        return (0..problem.world_size()).collect();
    }
    placement.ranks.iter().map(|rank| *rank as usize).collect()
}

fn check_pieces(
    problem: &Problem,
    table: usize,
    choice: &Choice,
    ranks: &[usize],
) -> Result<(), &'static str> {
    if ranks.len() != choice.n_pieces() {
        return Err("not as many ranks as pieces");
    }
    if ranks.iter().any(|rank| *rank >= problem.world_size()) {
        return Err("a rank that the cluster does not have");
    }
    if ranks.iter().any(|rank| !problem.may_lie(table, *rank)) {
        return Err("a rank that the user does not allow");
    }
    let sizes = &problem.cluster().node_sizes;
    match choice.layout {
        Layout::AnyRank => Ok(()),
        Layout::EveryRank if ranks.iter().enumerate().all(|(idx, rank)| idx == *rank) => Ok(()),
        Layout::EveryRank => Err("a piece is not on its rank"),
        Layout::OneNode => {
            let node = problem.node_of(ranks[0]);
            let one = ranks.iter().all(|rank| problem.node_of(*rank) == node);
            if one { Ok(()) } else { Err("pieces lie on several nodes") }
        }
        Layout::WholeNodes => {
            let mut seen = vec![false; sizes.len()];
            for group in ranks.chunks(sizes[0]) {
                let node = problem.node_of(group[0]);
                if !group.iter().copied().eq(problem.ranks_of(node)) {
                    return Err("pieces do not fill a node in order");
                }
                if std::mem::replace(&mut seen[node], true) {
                    return Err("a node has two groups of pieces");
                }
            }
            Ok(())
        }
    }
}

/// Cost of the placements, and memory held by each rank, summed table by table in the problem's order.
pub(super) fn totals(problem: &Problem, placements: &[Placement]) -> (f64, Vec<u128>) {
    let loads = loads(problem, placements);
    let mut memory = vec![0u128; problem.world_size()];
    let mut everywhere = 0u128;
    for (idx, placement) in placements.iter().enumerate() {
        let choice = &problem.tables()[idx].options[placement.option];
        if is_even(choice) {
            everywhere += u128::from(choice.runs[0].memory);
            continue;
        }
        for (run, rank) in choice.pieces().zip(ranks_of(problem, choice, placement)) {
            memory[rank] += u128::from(run.memory);
        }
    }
    memory.iter_mut().for_each(|held| *held += everywhere);
    let peak = |phase: usize| loads.iter().skip(phase).step_by(problem.phases()).copied().fold(0.0, f64::max);
    ((0..problem.phases()).map(peak).sum(), memory)
}

/// Load of each rank in each phase, at `[rank * phases + phase]`.
pub fn loads(problem: &Problem, placements: &[Placement]) -> Vec<f64> {
    let phases = problem.phases();
    let mut loads = vec![0.0; problem.world_size() * phases];
    // What is the same on every rank of a class is added once, since there may be thousands of tables and ranks.
    let mut everywhere = vec![0.0; problem.classes() * phases];
    for (idx, placement) in placements.iter().enumerate() {
        let choice = &problem.tables()[idx].options[placement.option];
        if is_even(choice) {
            everywhere.iter_mut().zip(&choice.runs[0].cost).for_each(|(sum, cost)| *sum += cost);
            continue;
        }
        for (run, rank) in choice.pieces().zip(ranks_of(problem, choice, placement)) {
            let cost = problem.cost(run, problem.cluster().devices[rank].class);
            loads[rank * phases..].iter_mut().zip(cost).for_each(|(load, cost)| *load += cost);
        }
    }
    for (rank, device) in problem.cluster().devices.iter().enumerate() {
        let even = &everywhere[device.class * phases..(device.class + 1) * phases];
        loads[rank * phases..].iter_mut().zip(even).for_each(|(load, cost)| *load += cost);
    }
    loads
}

/// Whether the pieces are alike on every rank.
fn is_even(choice: &Choice) -> bool {
    choice.layout == Layout::EveryRank && choice.runs.len() == 1
}

//! Where a table could go next: a few good placements of each option, on the least loaded ranks that have room.

use super::super::Placement;
use super::super::evaluate::{Score, State};
use super::super::problem::{Choice, Layout};

/// How many ranks or nodes are offered for one piece.
const OFFERS: usize = 3;

/// Ranks and nodes by load, least first.
#[derive(Debug, Clone)]
pub(in super::super) struct Spots {
    pub(in super::super) ranks: Vec<u32>,
    nodes: Vec<u32>,
}

impl Spots {
    /// Orders ranks and nodes, and keeps the first `keep`.
    pub(in super::super) fn new(state: &State<'_>, keep: usize) -> Self {
        let problem = state.problem;
        let by = |loads: Vec<f64>| {
            let mut order: Vec<u32> = (0..loads.len() as u32).collect();
            let compare = |a: &u32, b: &u32| loads[*a as usize].total_cmp(&loads[*b as usize]).then(a.cmp(b));
            if keep < order.len() {
                order.select_nth_unstable_by(keep, compare);
                order.truncate(keep);
            }
            order.sort_unstable_by(compare);
            order
        };
        Self {
            ranks: by((0..problem.world_size()).map(|rank| state.load(rank)).collect()),
            nodes: by((0..problem.nodes()).map(|node| state.node_load(node)).collect()),
        }
    }

    /// The place with the best score for a table that is not placed, over all these options.
    pub(in super::super) fn best(
        state: &mut State<'_>,
        table: usize,
        options: &[usize],
    ) -> Option<Placement> {
        let spots = Self::new(state, usize::MAX);
        let mut best: Option<(Placement, Score)> = None;
        for option in options {
            for placement in spots.of(state, table, *option) {
                state.place(table, placement);
                let score = state.score();
                let placement = state.remove(table)?;
                if best.as_ref().is_none_or(|(_, other)| score.beats(*other)) {
                    best = Some((placement, score));
                }
            }
        }
        best.map(|(placement, _)| placement)
    }

    /// Placements of an option that fit and that the user allows; none where there is no room among the ranks kept.
    pub(in super::super) fn of(&self, state: &State<'_>, table: usize, option: usize) -> Vec<Placement> {
        let problem = state.problem;
        let choice = &problem.tables()[table].options[option];
        let open = |rank: &&u32| problem.may_lie(table, **rank as usize);
        let candidates: Vec<Vec<u32>> = match choice.layout {
            Layout::EveryRank => vec![Vec::new()],
            Layout::AnyRank if choice.n_pieces() == 1 => {
                let memory = choice.runs.iter().find(|run| run.pieces > 0).map_or(0, |run| run.memory);
                let roomy = |rank: &&u32| state.room(**rank as usize) >= memory;
                // Classes differ in speed, so the least loaded rank of each is offered.
                let mut seen = vec![0; problem.classes()];
                let devices = &problem.cluster().devices;
                let offered = self.ranks.iter().filter(open).filter(roomy).filter(|rank| {
                    let seen = &mut seen[devices[**rank as usize].class];
                    *seen += 1;
                    *seen <= OFFERS
                });
                return offered
                    .take(OFFERS * problem.classes())
                    .map(|rank| Placement { option, ranks: vec![*rank] })
                    .collect();
            }
            Layout::AnyRank => {
                spread(state, choice, self.ranks.iter().filter(open).copied()).into_iter().collect()
            }
            Layout::OneNode => {
                let in_node = |node: &u32| {
                    let ranks = problem.ranks_of(*node as usize).map(|rank| rank as u32);
                    let mut ranks: Vec<u32> = ranks.filter(|rank| open(&rank)).collect();
                    ranks.sort_by(|a, b| {
                        state.load(*a as usize).total_cmp(&state.load(*b as usize)).then(a.cmp(b))
                    });
                    spread(state, choice, ranks.into_iter())
                };
                self.nodes.iter().filter_map(in_node).take(OFFERS).collect()
            }
            Layout::WholeNodes => self.whole(state, table, option),
        };
        let placements = candidates.into_iter().map(|ranks| Placement { option, ranks });
        placements.filter(|placement| state.fits(table, placement)).collect()
    }

    fn whole(&self, state: &State<'_>, table: usize, option: usize) -> Vec<Vec<u32>> {
        let problem = state.problem;
        let choice = &problem.tables()[table].options[option];
        let groups = choice.n_pieces() / problem.cluster().node_sizes[0];
        let pieces: Vec<u64> = choice.pieces().map(|run| run.memory).collect();
        let size = problem.cluster().node_sizes[0];
        let largest = |i: usize| pieces.iter().skip(i).step_by(size).copied().max().unwrap_or(0);
        let needed: Vec<u64> = (0..size).map(largest).collect();
        let open = |node: &&u32| {
            let mut ranks = problem.ranks_of(**node as usize).zip(&needed);
            ranks.all(|(rank, needed)| problem.may_lie(table, rank) && state.room(rank) >= *needed)
        };
        let ranks = |nodes: &[u32]| {
            nodes.iter().flat_map(|node| problem.ranks_of(*node as usize)).map(|rank| rank as u32).collect()
        };
        let nodes: Vec<u32> = self.nodes.iter().filter(open).take(groups + OFFERS - 1).copied().collect();
        nodes.windows(groups).map(ranks).collect()
    }
}

/// Pieces largest first, each on the rank whose load it raises least; the ranks come least loaded first.
pub(super) fn spread(
    state: &State<'_>,
    choice: &Choice,
    ranks: impl Iterator<Item = u32>,
) -> Option<Vec<u32>> {
    let problem = state.problem;
    let n = choice.n_pieces();
    let mut open: Vec<(u32, f64, u64)> =
        ranks.map(|rank| (rank, state.load(rank as usize), state.room(rank as usize))).take(n + 64).collect();
    let runs: Vec<_> = choice.pieces().collect();
    let mut order: Vec<usize> = (0..n).collect();
    order
        .sort_by(|a, b| problem.least_cost(runs[*b]).total_cmp(&problem.least_cost(runs[*a])).then(a.cmp(b)));
    let mut found = vec![0; n];
    for idx in order {
        let run = runs[idx];
        let after = |(rank, load, _): &(u32, f64, u64)| {
            let class = problem.cluster().devices[*rank as usize].class;
            load + problem.cost(run, class).iter().sum::<f64>()
        };
        let roomy = open.iter_mut().filter(|(_, _, room)| *room >= run.memory);
        let best = roomy.min_by(|a, b| after(a).total_cmp(&after(b)).then(a.0.cmp(&b.0)))?;
        best.1 = after(best);
        best.2 -= run.memory;
        found[idx] = best.0;
    }
    Some(found)
}

//! A plan from prices: node after node takes what is worth most at a load, and what is left lies everywhere.
//!
//! Loads are rounded to the nearest cell here, since the target is soft: the plan is costed by what it really has. Source:
//! diving in column generation, with the pattern bound's knapsacks in the place of a master problem.

use super::super::Placement;
use super::super::bound::kinds::{Kinds, Part};
use super::super::bound::knapsack::{Item, Knapsack};
use super::super::evaluate::State;
use super::super::problem::Problem;
use super::spots::Spots;

/// Prices by kind, and the load to fill ranks to.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Aim<'p> {
    pub(in super::super) prices: &'p [f64],
    pub(in super::super) byte_price: f64,
    pub(in super::super) load: f64,
    pub(in super::super) cells: usize,
}

struct Dive<'s, 'a> {
    state: State<'a>,
    kinds: &'s Kinds,
    aim: Aim<'s>,
    /// Tables of each kind that are not placed, the last first.
    left: Vec<Vec<usize>>,
}

/// A complete state, or the first table that found no room.
pub(in super::super) fn dive<'a>(
    problem: &'a Problem,
    useful: &[Vec<usize>],
    kinds: &Kinds,
    aim: Aim<'_>,
) -> Result<State<'a>, usize> {
    let left = kinds.kinds.iter().map(|kind| kind.tables.iter().rev().copied().collect()).collect();
    let mut dive = Dive { state: State::new(problem), kinds, aim, left };
    for node in 0..kinds.nodes {
        dive.fill(node);
    }
    for (kind, found) in kinds.kinds.iter().enumerate() {
        if let Some((option, _, _)) = found.everywhere {
            dive.everywhere(kind, option);
        }
    }
    dive.rest(useful)?;
    Ok(dive.state)
}

impl Dive<'_, '_> {
    fn cell(&self) -> f64 {
        self.aim.load / self.aim.cells as f64
    }

    /// Parts that are tables as a whole, with what is left of them.
    fn items(&self, parts: &[Part]) -> Vec<Item> {
        let item = |part: &Part| Item {
            weight: (part.cost / self.cell()).round() as usize,
            value: if part.share < 1.0 {
                0.0
            } else {
                self.aim.prices[part.kind] - self.aim.byte_price * part.memory
            },
            copies: self.left[part.kind].len(),
        };
        parts.iter().map(item).collect()
    }

    fn fill(&mut self, node: usize) {
        let cells = self.aim.cells;
        let nodes = Knapsack::new(&self.items(&self.kinds.on_node), cells);
        let ranks = Knapsack::new(&self.items(&self.kinds.on_rank), cells);
        let size = self.kinds.node_size as f64;
        let value = |edge: usize| nodes.best[edge] + size * ranks.best[cells - edge];
        let edges = (0..=cells).filter(|c| *c == 0 || nodes.best[*c] > nodes.best[*c - 1]);
        let edge = edges.max_by(|a, b| value(*a).total_cmp(&value(*b)).then(b.cmp(a))).unwrap_or(0);
        let problem = self.state.problem;
        let on_node: Vec<u32> = problem.ranks_of(node).map(|rank| rank as u32).collect();
        self.put(nodes.filling(edge), true, &on_node);
        for rank in problem.ranks_of(node) {
            let ranks = Knapsack::new(&self.items(&self.kinds.on_rank), cells - edge);
            self.put(ranks.filling(cells - edge), false, &[rank as u32]);
        }
    }

    fn put(&mut self, filling: Vec<(usize, usize)>, whole: bool, ranks: &[u32]) {
        for (part, copies) in filling {
            let part = if whole { self.kinds.on_node[part] } else { self.kinds.on_rank[part] };
            for _ in 0..copies {
                let Some(table) = self.left[part.kind].pop() else { break };
                let option = self.option(table, part);
                let placement = Placement { option, ranks: ranks.to_vec() };
                let open = ranks.iter().all(|rank| self.state.problem.may_lie(table, *rank as usize));
                if open && self.state.fits(table, &placement) {
                    self.state.place(table, placement);
                } else {
                    self.left[part.kind].push(table);
                    break;
                }
            }
        }
    }

    /// The part's option among those of a table of the kind, which may be numbered otherwise.
    fn option(&self, table: usize, part: Part) -> usize {
        self.like(table, part.kind, part.option)
    }

    fn like(&self, table: usize, kind: usize, option: usize) -> usize {
        let problem = self.state.problem;
        let first = &problem.tables()[self.kinds.kinds[kind].tables[0]].options[option];
        let own = &problem.tables()[table].options;
        let alike = |o: &usize| own[*o].layout == first.layout && own[*o].runs == first.runs;
        problem.allowed(table).iter().copied().find(alike).unwrap_or(option)
    }

    fn everywhere(&mut self, kind: usize, option: usize) {
        while let Some(table) = self.left[kind].pop() {
            let placement = Placement { option: self.like(table, kind, option), ranks: Vec::new() };
            if !self.state.fits(table, &placement) {
                self.left[kind].push(table);
                return;
            }
            self.state.place(table, placement);
        }
    }

    /// What is left, where it costs least, the largest first.
    fn rest(&mut self, useful: &[Vec<usize>]) -> Result<(), usize> {
        let mut tables: Vec<usize> = self.left.iter().flatten().copied().collect();
        let problem = self.state.problem;
        let least = |table: usize| {
            let pieces = useful[table].iter().map(|o| {
                super::super::bound::item::largest_piece(problem, &problem.tables()[table].options[*o])
            });
            pieces.fold(f64::INFINITY, f64::min)
        };
        tables.sort_by(|a, b| least(*b).total_cmp(&least(*a)).then(a.cmp(b)));
        for table in tables {
            let best = Spots::best(&mut self.state, table, &useful[table]);
            let Some(placement) = best else { return Err(table) };
            self.state.place(table, placement);
        }
        Ok(())
    }
}

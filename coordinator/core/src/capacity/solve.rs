//! The planner's problem of a workload, and the plan whose step is shortest.
//!
//! The planner minimizes a sum of peaks, a step is a little more (see [`super::bound`]): some problems with different weights are
//! solved, each plan is timed by the step, and the shortest is kept. The bound is the best that one of the problems proves.

use std::borrow::Cow;

use super::bound::{self, Lines, PHASES};
use super::place::{Placement, Ranks, Unplaced, Wish};
use super::replan;
use crate::cost::{Cluster, Layout, LayoutOption, Phase, Piece, Span, Workload, memory};
use crate::planner::{self, Choice, Demand, Device, Effort, Moves, Plan, Problem, Proof, Run};

/// The shortest step that the planner finds.
///
/// # Errors
/// Where no placement fits, or a demand cannot be.
pub(super) fn solve(
    workload: &Workload,
    options: &[Vec<LayoutOption>],
    cluster: &Cluster,
    wish: &Wish,
) -> Result<(Placement, Option<Moves>), Unplaced> {
    let asked = Asked { workload, options, cluster, effort: wish.effort };
    asked.check()?;
    let (mut best, _) = asked.solved(&bound::rates())?;
    let alike = asked.everywhere();
    if let Some(alike) = &alike {
        best = shorter(best, alike.clone());
    }
    let mut proved: Option<(f64, Proof)> = None;
    let mut tried = Vec::new();
    for weight in [0.0, 0.5, 1.0] {
        let lines = bound::below(workload, options, cluster, best.step.seconds, weight);
        let (found, plan) = asked.solved(&lines)?;
        let seconds = lines.fixed + lines.lines.iter().map(|line| line.at_zero).sum::<f64>() + plan.bound;
        if proved.is_none_or(|(known, _)| seconds > known) {
            proved = Some((seconds, plan.proof));
        }
        tried.push(lines);
        let hidden = found.step.phases.get(Phase::AllReduce) == 0.0;
        best = shorter(best, found);
        // Where gradients hide altogether, to count them more proves no more.
        if hidden && best.step.phases.get(Phase::AllReduce) == 0.0 {
            break;
        }
    }
    let mut moves = None;
    if !wish.present.is_empty() {
        let (found, moved) = replan::moving_little(&asked, best, &tried, wish)?;
        (best, moves) = (found, Some(moved));
    }
    best.bound = proved.map(|(seconds, proof)| {
        // The lines hold where something is exchanged; the one plan in which nothing is was timed.
        let seconds = alike.map_or(seconds, |alike| seconds.min(alike.step.seconds));
        (seconds.min(best.step.seconds), proof)
    });
    Ok((best, moves))
}

fn shorter(a: Placement, b: Placement) -> Placement {
    if b.step.seconds < a.step.seconds { b } else { a }
}

/// A workload with its options on a cluster.
pub(super) struct Asked<'a> {
    pub(super) workload: &'a Workload,
    pub(super) options: &'a [Vec<LayoutOption>],
    pub(super) cluster: &'a Cluster,
    effort: Effort,
}

impl Asked<'_> {
    fn check(&self) -> Result<(), Unplaced> {
        for (table, options) in self.workload.tables.iter().zip(self.options) {
            let refuse = |what: String| Err(Unplaced::Demand { table: table.name.clone(), what });
            if options.is_empty() && self.cluster.world_size > 1 && table.dim < 16.0 {
                return refuse(format!(
                    "none of its layouts exists for a dim of {}, columns are cut into blocks of 8 or more; allow another in `layouts`",
                    table.dim
                ));
            }
            if options.is_empty() {
                return refuse(format!(
                    "none of its layouts exists on {} devices in {} nodes; allow another in `layouts`, or add nodes",
                    self.cluster.world_size,
                    self.cluster.nodes()
                ));
            }
            if let Some(rank) = table.demand.ranks.iter().find(|rank| **rank >= self.cluster.world_size) {
                let last = self.cluster.world_size - 1;
                return refuse(format!(
                    "`ranks` pins it to rank {rank}, ranks are 0 to {last} here; change `ranks`"
                ));
            }
        }
        Ok(())
    }

    fn solved(&self, lines: &Lines) -> Result<(Placement, Plan), Unplaced> {
        let problem = self.problem(lines).map_err(|error| self.unplaced(&error))?;
        let plan = planner::plan(&problem, self.effort).map_err(|error| self.unplaced(&error))?;
        Ok((self.read(&problem, &plan)?, plan))
    }

    /// A plan that moves little from what lies where, and by the lines costs little more than a fresh one.
    pub(super) fn moved(&self, lines: &Lines, wish: &Wish) -> Result<Placement, Unplaced> {
        let problem = self.problem(lines).map_err(|error| self.unplaced(&error))?;
        let present = present(&problem, wish);
        let (plan, _) = planner::replan(&problem, &present, wish.tolerance, self.effort)
            .map_err(|error| self.unplaced(&error))?;
        self.read(&problem, &plan)
    }

    /// What lies where, if that holds every table, is allowed and fits.
    pub(super) fn unmoved(&self, wish: &Wish) -> Option<Placement> {
        let problem = self.problem(&bound::rates()).ok()?;
        let placements: Vec<_> = present(&problem, wish).into_iter().collect::<Option<_>>()?;
        planner::check_placements(&problem, &placements).ok()?;
        Some(self.placed(&problem, &placements))
    }

    /// The plan as a placement, after a check that does not know the search.
    fn read(&self, problem: &Problem, plan: &Plan) -> Result<Placement, Unplaced> {
        planner::verify(problem, plan).map_err(|fault| Unplaced::Faulty { what: fault.to_string() })?;
        Ok(self.placed(problem, &plan.placements))
    }

    fn placed(&self, problem: &Problem, placements: &[planner::Placement]) -> Placement {
        let mut tables = vec![(Layout::TableWise, Vec::new()); self.options.len()];
        // The planner sorts tables by name.
        let mut order: Vec<usize> = (0..self.options.len()).collect();
        order.sort_by(|a, b| self.workload.tables[*a].name.cmp(&self.workload.tables[*b].name));
        for (idx, table) in order.into_iter().enumerate() {
            let ranks = placements[idx].on(problem, idx).into_iter().map(|rank| rank as usize).collect();
            tables[table] = (self.options[table][placements[idx].option].layout, ranks);
        }
        self.placement(tables)
    }

    fn problem(&self, lines: &Lines) -> Result<Problem, planner::Error> {
        let beside = self.workload.beside_tables(self.cluster);
        let room = memory::usable(self.cluster) - beside;
        let room = self.cluster.table_memory.map_or(room, |most| room.min(most));
        let (n, per_node) = (self.cluster.world_size as usize, self.cluster.g() as usize);
        let cluster = planner::Cluster {
            devices: vec![Device { memory: room as u64, class: 0 }; n],
            node_sizes: vec![per_node; n / per_node],
        };
        let table = |(table, options): (&crate::cost::Table, &Vec<LayoutOption>)| planner::Table {
            name: table.name.clone(),
            options: options.iter().map(|option| choice(option, lines)).collect(),
            demand: Demand {
                ranks: table.demand.ranks.iter().map(|rank| *rank as usize).collect(),
                ..Demand::default()
            },
        };
        let tables = self.workload.tables.iter().zip(self.options).map(table).collect();
        Problem::new(cluster, PHASES.len(), tables)
    }

    /// Each table on each rank, where that is allowed and fits.
    fn everywhere(&self) -> Option<Placement> {
        let all: Vec<usize> = (0..self.cluster.world_size as usize).collect();
        let copied =
            |options: &Vec<LayoutOption>| options.iter().any(|option| option.layout == Layout::DataParallel);
        let pinned = self
            .workload
            .tables
            .iter()
            .any(|table| !table.demand.ranks.is_empty() && table.demand.ranks.len() < all.len());
        if self.options.is_empty() || pinned || !self.options.iter().all(copied) {
            return None;
        }
        let placed = self.placement(vec![(Layout::DataParallel, all); self.options.len()]);
        self.fits(&placed).then_some(placed)
    }

    /// Whether no device holds more than it may.
    fn fits(&self, placed: &Placement) -> bool {
        let room = self.workload.usable(self.cluster);
        placed.memory.iter().all(|held| *held <= room)
    }

    fn placement(&self, tables: Vec<(Layout, Vec<usize>)>) -> Placement {
        let mut ranks = Ranks::new(self.workload, self.cluster);
        for ((layout, on), options) in tables.iter().zip(self.options) {
            let option = options.iter().find(|option| option.layout == *layout);
            for (rank, piece) in on.iter().zip(option.into_iter().flat_map(|option| option.pieces.iter())) {
                ranks.add(*rank, piece);
            }
        }
        ranks.finish(tables, self.workload, self.cluster)
    }

    fn unplaced(&self, error: &planner::Error) -> Unplaced {
        use planner::Error as E;
        match error {
            E::TableTooLarge { table, missing } => {
                Unplaced::Table { table: table.clone(), missing: *missing as f64 }
            }
            E::TooLarge { table, missing, .. } => {
                Unplaced::Together { table: table.clone(), missing: *missing as f64 }
            }
            E::Exhausted { table, missing } | E::NotFound { table, missing } => {
                Unplaced::Found { table: table.clone(), missing: *missing as f64 }
            }
            E::Contradiction { table } => Unplaced::Demand {
                table: table.clone(),
                what: "its layouts cannot lie on the ranks that `ranks` pins it to; drop `ranks`, or allow table_wise or column_wise"
                    .to_owned(),
            },
            E::Pinned { table, ranks, needed, available } => {
                let ranks = ranks.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                Unplaced::Pinned { table: table.clone(), ranks, missing: (needed - available) as f64 }
            }
            E::BadCost { table, .. } | E::PieceCount { table, .. } | E::UnknownRank { table, .. } => {
                Unplaced::Demand { table: table.clone(), what: error.to_string() }
            }
            other => Unplaced::Faulty { what: other.to_string() },
        }
    }
}

/// Where each table lies already, as the planner says it; none for one whose layout has other pieces here.
fn present(problem: &Problem, wish: &Wish) -> Vec<Option<planner::Placement>> {
    let of_table = |table: &planner::Table| {
        let (layout, ranks) = wish.present.get(&table.name)?;
        let option = table.options.iter().position(|choice| choice.name == *layout)?;
        let everywhere = table.options[option].layout == planner::Layout::EveryRank;
        let fits = ranks.len() == table.options[option].n_pieces();
        let ranks = if everywhere { Vec::new() } else { ranks.clone() };
        fits.then_some(planner::Placement { option, ranks })
    };
    problem.tables().iter().map(of_table).collect()
}

/// The option as the planner has it, its costs by the lines' slopes.
fn choice(option: &LayoutOption, lines: &Lines) -> Choice {
    let cost = |piece: &Piece| {
        let seconds =
            PHASES.iter().zip(&lines.lines).map(|(phase, line)| piece.cost.get(*phase) * line.slope);
        seconds.collect::<Box<[f64]>>()
    };
    Choice {
        name: Cow::Owned(option.layout.name()),
        layout: match option.span {
            Span::Rank => planner::Layout::AnyRank,
            Span::Node => planner::Layout::WholeNodes,
            Span::All => planner::Layout::EveryRank,
        },
        runs: option
            .pieces
            .kinds()
            .map(|(piece, times)| Run {
                pieces: times as usize,
                cost: cost(piece),
                memory: piece.memory.ceil() as u64,
            })
            .collect(),
    }
}

//! Exhaustion of small problems: every placement of every table, but for those that a bound or a symmetry rules out.
//!
//! A node of the tree has the first tables placed. It is cut where its peaks, or the work placed and still to place shared
//! evenly over ranks, reach the cost of the best plan; and of ranks that are alike in all that lies on them and their nodes,
//! only the first is tried. Source: branch and bound over the order of the largest pieces.

use super::super::Placement;
use super::super::bound::item::largest_piece;
use super::super::evaluate::State;
use super::super::problem::{Choice, Layout, Problem};

/// Placements of one table that are listed at most; with more, the search proves nothing.
const MOST_PLACEMENTS: usize = 20_000;

/// What exhaustion found.
#[derive(Debug, Clone)]
pub(in super::super) struct Outcome {
    /// The best plan below the cost to beat.
    pub(in super::super) best: Option<Vec<Placement>>,
    /// Whether all plans were tried or ruled out.
    pub(in super::super) complete: bool,
}

struct Exact<'s, 'a> {
    state: State<'a>,
    useful: &'s [Vec<usize>],
    order: Vec<usize>,
    /// The least work of the tables from this place in the order on, shared over ranks.
    rest: Vec<f64>,
    /// The same for the largest load they bring to some rank.
    cost: f64,
    best: Option<Vec<Placement>>,
    nodes: u64,
    /// Lists of ranks that may still be built, by their lengths.
    work: u64,
    /// Whether placements were left out.
    overflow: bool,
}

/// Looks for plans cheaper than `cost` by more than rounding, within a number of nodes.
pub(in super::super) fn exhaust(problem: &Problem, useful: &[Vec<usize>], cost: f64, nodes: u64) -> Outcome {
    let pieces =
        |table: usize, option: usize| largest_piece(problem, &problem.tables()[table].options[option]);
    let least = |table: usize| useful[table].iter().map(|o| pieces(table, *o)).fold(f64::INFINITY, f64::min);
    let mut order: Vec<usize> = (0..useful.len()).collect();
    order.sort_by(|a, b| least(*b).total_cmp(&least(*a)).then(a.cmp(b)));
    let share = |table: usize| {
        let work = |option: &usize| {
            let runs = &problem.tables()[table].options[*option].runs;
            runs.iter().map(|run| run.pieces as f64 * problem.least_cost(run)).sum::<f64>()
        };
        useful[table].iter().map(work).fold(f64::INFINITY, f64::min) / problem.world_size() as f64
    };
    let mut rest = vec![0.0; order.len() + 1];
    for (idx, table) in order.iter().enumerate().rev() {
        rest[idx] = rest[idx + 1] + share(*table);
    }
    let mut exact = Exact {
        state: State::new(problem),
        useful,
        order,
        rest,
        cost,
        best: None,
        nodes,
        work: nodes.saturating_mul(80),
        overflow: false,
    };
    exact.descend(0, 0.0);
    Outcome { best: exact.best, complete: exact.nodes > 0 && !exact.overflow }
}

impl Exact<'_, '_> {
    /// `work` is what is placed, shared over ranks.
    fn descend(&mut self, depth: usize, work: f64) {
        let Some(table) = self.order.get(depth).copied() else {
            let cost = self.state.score().cost;
            if cost < self.limit() {
                self.cost = cost;
                self.best = self.state.complete();
            }
            return;
        };
        let placements = self.placements(table);
        if self.work == 0 {
            self.nodes = 0;
            return;
        }
        let mut children: Vec<(f64, f64, Placement)> = Vec::with_capacity(placements.len());
        for placement in placements {
            let share = self.share(table, &placement);
            self.state.place(table, placement);
            let cost = self.state.score().cost.max(work + share + self.rest[depth + 1]);
            if let Some(placement) = self.state.remove(table) {
                children.push((cost, share, placement));
            }
        }
        children.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.2.cmp(&b.2)));
        for (cost, share, placement) in children {
            if cost >= self.limit() {
                break;
            }
            if self.nodes == 0 {
                return;
            }
            self.nodes -= 1;
            self.state.place(table, placement);
            self.descend(depth + 1, work + share);
            self.state.remove(table);
        }
    }

    /// Costs from here on are no gain: what remains below the best is rounding.
    fn limit(&self) -> f64 {
        self.cost * (1.0 - 1e-12)
    }

    fn share(&self, table: usize, placement: &Placement) -> f64 {
        let problem = self.state.problem;
        let choice = &problem.tables()[table].options[placement.option];
        let on = |idx: usize| placement.ranks.get(idx).map_or(idx, |rank| *rank as usize);
        let cost =
            |(idx, run)| -> f64 { problem.cost(run, problem.cluster().devices[on(idx)].class).iter().sum() };
        choice.pieces().enumerate().map(cost).sum::<f64>() / problem.world_size() as f64
    }

    fn placements(&mut self, table: usize) -> Vec<Placement> {
        let problem = self.state.problem;
        let ranks: Vec<u32> = self.distinct(table);
        let mut found = Vec::new();
        for option in &self.useful[table] {
            let choice = &problem.tables()[table].options[*option];
            // No better plan has the option; and costs far above the others would leave their rounding in the sums.
            if largest_piece(problem, choice) >= self.limit() {
                continue;
            }
            let mut built = Built { most: self.work, ..Built::default() };
            match choice.layout {
                Layout::EveryRank => {
                    built.lists.push(Vec::new());
                    built.work = problem.world_size() as u64;
                }
                Layout::AnyRank if choice.n_pieces() == 1 => {
                    built.lists.extend(ranks.iter().map(|rank| vec![*rank]));
                }
                Layout::AnyRank => built.lists(choice, &self.open(table, 0..problem.world_size())),
                Layout::OneNode => {
                    for node in 0..problem.nodes() {
                        built.lists(choice, &self.open(table, problem.ranks_of(node)));
                    }
                }
                Layout::WholeNodes => built.whole(problem, choice),
            }
            // Tables in many pieces have thousands of lists each, whether or not they fit: building them is the work.
            self.work = self.work.saturating_sub(built.work.max(built.lists.len() as u64));
            self.overflow |= built.is_cut;
            let lists = built.lists;
            let placements = lists.into_iter().map(|ranks| Placement { option: *option, ranks });
            let open = |p: &Placement| p.ranks.iter().all(|rank| problem.may_lie(table, *rank as usize));
            found.extend(placements.filter(|p| open(p) && self.state.fits(table, p)));
            self.overflow |= found.len() > MOST_PLACEMENTS;
            found.truncate(MOST_PLACEMENTS);
        }
        found
    }

    fn open(&self, table: usize, ranks: std::ops::Range<usize>) -> Vec<u32> {
        ranks.filter(|rank| self.state.problem.may_lie(table, *rank)).map(|rank| rank as u32).collect()
    }

    /// One rank of those in a node that hold the same, where no table tells ranks apart.
    fn distinct(&self, table: usize) -> Vec<u32> {
        let problem = self.state.problem;
        let told_apart = problem.tables().iter().any(|table| {
            !table.demand.ranks.is_empty() || table.options.iter().any(|choice| choice.runs.len() > 1)
        });
        let open = self.open(table, 0..problem.world_size());
        // Over several phases, equal sums may hide different loads.
        if told_apart || problem.phases() > 1 {
            return open;
        }
        let same = |a: u32, b: u32| {
            let (x, y) = (a as usize, b as usize);
            problem.node_of(x) == problem.node_of(y)
                && problem.cluster().devices[x] == problem.cluster().devices[y]
                && self.state.load(x).to_bits() == self.state.load(y).to_bits()
                && self.state.room(x) == self.state.room(y)
        };
        let first = |idx: usize| !open[..idx].iter().any(|other| same(*other, open[idx]));
        (0..open.len()).filter(|idx| first(*idx)).map(|idx| open[idx]).collect()
    }
}

/// Lists of ranks for the pieces of an option.
#[derive(Default)]
struct Built {
    lists: Vec<Vec<u32>>,
    /// Whether there are more of them.
    is_cut: bool,
    /// Lists that were built on the way, by their lengths.
    work: u64,
    /// What that may be.
    most: u64,
}

impl Built {
    /// Adds all lists of these ranks; equal neighbours in one order only.
    fn lists(&mut self, choice: &Choice, ranks: &[u32]) {
        let pieces: Vec<_> = choice.pieces().collect();
        let mut lists: Vec<Vec<u32>> = vec![Vec::new()];
        for (idx, run) in pieces.iter().enumerate() {
            let equal = idx > 0 && pieces[idx - 1] == *run;
            let longer = lists.iter().flat_map(|list| {
                let from = if equal { list.last().copied().unwrap_or(0) } else { 0 };
                let ranks = ranks.iter().filter(move |rank| **rank >= from);
                ranks.map(|rank| list.iter().copied().chain([*rank]).collect())
            });
            lists = self.some(longer, idx + 1);
        }
        self.lists.append(&mut lists);
    }

    /// Adds all ways to put groups of pieces on different nodes.
    fn whole(&mut self, problem: &Problem, choice: &Choice) {
        let groups = choice.n_pieces() / problem.cluster().node_sizes[0];
        let mut nodes: Vec<Vec<usize>> = vec![Vec::new()];
        for group in 0..groups {
            let longer = nodes.iter().flat_map(|list| {
                let free = (0..problem.nodes()).filter(|node| !list.contains(node));
                free.map(|node| list.iter().copied().chain([node]).collect())
            });
            nodes = self.some(longer, group + 1);
        }
        let ranks = |nodes: &Vec<usize>| {
            nodes.iter().flat_map(|node| problem.ranks_of(*node)).map(|rank| rank as u32).collect()
        };
        let mut lists = self.some(nodes.iter().map(ranks), choice.n_pieces());
        self.lists.append(&mut lists);
    }

    /// As many of this length as are listed at most and as the work allows; that there are more is noted.
    fn some<T>(&mut self, mut all: impl Iterator<Item = T>, length: usize) -> Vec<T> {
        let left = self.most.saturating_sub(self.work) / length as u64;
        let some: Vec<T> = all.by_ref().take(MOST_PLACEMENTS.min(left as usize)).collect();
        self.is_cut |= all.next().is_some();
        self.work += (some.len() * length) as u64;
        some
    }
}

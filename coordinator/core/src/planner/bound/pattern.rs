//! The pattern bound: which parts of tables fit on a node together, rank by rank, within a load.
//!
//! Let `C` be the largest load of a rank without what every rank bears alike, and `S` that. The cost is `C + S`. Price tables at
//! `p`, no more than what each costs everywhere. A node within `C` then holds parts worth at most `V(C)`, the best of a knapsack of
//! node-wide parts with one knapsack a rank in what is left, so that
//!
//! ```text
//! cost >= C + sum of prices - nodes * V(C)        for every p, where C is as in the plan
//! ```
//!
//! The bound is the least over all `C`, in cells: loads are rounded down to cells and so is `C`, which keeps it a bound. Prices
//! follow the subgradient at the cell where the bound is least (Polyak's step); one pair of knapsacks serves all cells.
//! Memory enters by the price of a byte, from the area bound. Source: Lagrangian relaxation of the
//! assignment constraints of Gilmore and Gomory's cutting-stock formulation, with rejection.

use std::collections::BTreeMap;

use super::ROUNDING;
use super::kinds::{Kinds, Part};
use super::knapsack::{Item, Knapsack};

/// What sums of thousands of terms may be off by, as a share of them.
const ROUNDING_OF_SUMS: f64 = 1e-12;

/// The bound with the prices behind it.
#[derive(Debug, Clone)]
pub(in super::super) struct Patterns {
    pub(in super::super) bound: f64,
    /// The price of a table, by kind, where the bound was last raised.
    pub(in super::super) prices: Vec<f64>,
    /// Loads `C`, those where the bound is least first.
    pub(in super::super) loads: Vec<f64>,
}

/// How much work the bound may be.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Limits {
    pub(in super::super) cells: usize,
    pub(in super::super) steps: usize,
    /// Stops once the bound is this.
    pub(in super::super) enough: f64,
}

/// The bound for plans cheaper than `cost`, which a plan has.
pub(in super::super) fn bound(kinds: &Kinds, byte_price: f64, cost: f64, limits: Limits) -> Patterns {
    let mut search = Search::new(kinds, byte_price, cost, limits.cells);
    let mut best = search.prices.clone();
    let (mut scale, mut stale, mut highest) = (1.0, 0, 0.0);
    for _ in 0..limits.steps {
        let weakest = search.look();
        if search.least() > highest * (1.0 + 1e-7) {
            highest = search.least();
            best.clone_from(&search.prices);
            stale = 0;
        } else {
            stale += 1;
            if stale >= 12 {
                scale *= 0.6;
                stale = 0;
            }
        }
        if highest >= limits.enough || scale < 1e-4 {
            break;
        }
        let Some(weakest) = weakest else { break };
        search.step(&weakest, scale);
    }
    let mut order: Vec<usize> = (0..search.bounds.len()).collect();
    order.sort_by(|a, b| search.bounds[*a].total_cmp(&search.bounds[*b]).then(a.cmp(b)));
    let loads = order.iter().map(|cell| (*cell as f64 + 1.0) * search.cell).collect();
    Patterns { bound: (search.least().min(cost) - search.rounding) * ROUNDING, prices: best, loads }
}

struct Search<'k> {
    kinds: &'k Kinds,
    byte_price: f64,
    cost: f64,
    /// Width of a cell in units of cost.
    cell: f64,
    prices: Vec<f64>,
    /// What a table costs everywhere, by kind: the most that its price may be.
    dearest: Vec<f64>,
    /// The best bound so far for each cell, and the cells where it is below the cost.
    bounds: Vec<f64>,
    active: Vec<usize>,
    /// The most that a bound may be off by rounding.
    rounding: f64,
}

/// The cell where the bound is least, the value there, and what the best node holds of each kind.
struct Weakest {
    value: f64,
    held: Vec<f64>,
}

impl<'k> Search<'k> {
    fn new(kinds: &'k Kinds, byte_price: f64, cost: f64, cells: usize) -> Self {
        let dearest = dearest(kinds, byte_price);
        let bounds = (0..cells).map(|cell| cell as f64 * cost / cells as f64).collect();
        Self {
            kinds,
            byte_price,
            cost,
            cell: cost / cells as f64,
            prices: area_prices(kinds, byte_price, cost),
            dearest,
            bounds,
            active: (0..cells).collect(),
            rounding: 0.0,
        }
    }

    fn items(&self, parts: &[Part]) -> Vec<Item> {
        let item = |part: &Part| Item {
            weight: (part.cost / self.cell).floor() as usize,
            value: self.prices[part.kind] * part.share - self.byte_price * part.memory,
            copies: self.kinds.kinds[part.kind].tables.len(),
        };
        parts.iter().map(item).collect()
    }

    /// Raises the bounds of all active cells by the present prices.
    fn look(&mut self) -> Option<Weakest> {
        let capacity = *self.active.last()?;
        let node_items = self.items(&self.kinds.on_node);
        let rank_items = self.items(&self.kinds.on_rank);
        let (nodes, ranks) = (Knapsack::new(&node_items, capacity), Knapsack::new(&rank_items, capacity));
        let edges: Vec<usize> =
            (0..=capacity).filter(|c| *c == 0 || nodes.best[*c] > nodes.best[*c - 1]).collect();
        let worth: f64 = self
            .kinds
            .kinds
            .iter()
            .zip(&self.prices)
            .map(|(kind, price)| price * kind.tables.len() as f64)
            .sum();
        let bytes = self.byte_price * self.kinds.capacity;
        let net = worth - bytes;
        let size = self.kinds.node_size as f64;
        let split = |cell: usize| {
            let values = edges.iter().take_while(|edge| **edge <= cell);
            values.fold((0, f64::NEG_INFINITY), |best, edge| {
                let value = nodes.best[*edge] + size * ranks.best[cell - edge];
                if value > best.1 { (*edge, value) } else { best }
            })
        };
        let mut weakest = (f64::INFINITY, 0, 0, 0.0);
        for cell in &self.active {
            let (edge, held) = split(*cell);
            let held = self.kinds.nodes as f64 * held;
            let value = *cell as f64 * self.cell + net - held;
            // Differences of large numbers have the rounding of their sums.
            self.rounding = self.rounding.max(ROUNDING_OF_SUMS * (worth + bytes + held.abs()));
            self.bounds[*cell] = self.bounds[*cell].max(value);
            if self.bounds[*cell] < weakest.0 {
                weakest = (self.bounds[*cell], *cell, edge, value);
            }
        }
        let (bounds, cost) = (&self.bounds, self.cost);
        self.active.retain(|cell| bounds[*cell] < cost);
        let (_, cell, edge, value) = weakest;
        let mut held = vec![0.0; self.prices.len()];
        for (filling, parts, times) in [
            (nodes.filling(edge), &self.kinds.on_node, 1.0),
            (ranks.filling(cell - edge), &self.kinds.on_rank, size),
        ] {
            for (part, copies) in filling {
                held[parts[part].kind] += times * copies as f64 * parts[part].share;
            }
        }
        Some(Weakest { value, held })
    }

    fn step(&mut self, weakest: &Weakest, scale: f64) {
        let slope: Vec<f64> = self
            .kinds
            .kinds
            .iter()
            .zip(&weakest.held)
            .zip(self.prices.iter().zip(&self.dearest))
            .map(|((kind, held), (price, dearest))| {
                let slope = kind.tables.len() as f64 - self.kinds.nodes as f64 * held;
                // A price at its end that wants to go beyond does not count toward the step's length.
                if (slope > 0.0 && price >= dearest) || (slope < 0.0 && *price <= 0.0) { 0.0 } else { slope }
            })
            .collect();
        let norm: f64 = slope.iter().map(|slope| slope * slope).sum();
        if norm == 0.0 {
            return;
        }
        let length = scale * (self.cost - weakest.value) / norm;
        for ((price, slope), dearest) in self.prices.iter_mut().zip(slope).zip(&self.dearest) {
            *price = (*price + length * slope).clamp(0.0, *dearest);
        }
    }

    fn least(&self) -> f64 {
        self.bounds.iter().copied().fold(f64::INFINITY, f64::min)
    }
}

/// What a table costs everywhere, by kind: the most that its price may be.
fn dearest(kinds: &Kinds, byte_price: f64) -> Vec<f64> {
    let cost = |(_, cost, memory): (usize, f64, f64)| cost + byte_price * memory;
    kinds.kinds.iter().map(|kind| kind.everywhere.map_or(f64::INFINITY, cost)).collect()
}

/// What a table is worth at the area bound: the work it makes, no part above a load, shared over ranks.
pub(in super::super) fn area_prices(kinds: &Kinds, byte_price: f64, load: f64) -> Vec<f64> {
    let ranks = (kinds.nodes * kinds.node_size) as f64;
    let mut prices = dearest(kinds, byte_price);
    let mut sums: BTreeMap<(usize, usize), f64> = BTreeMap::new();
    for (part, width) in parts(kinds) {
        let share = part.cost * width / ranks + byte_price * part.memory;
        *sums.entry((part.kind, part.option)).or_default() +=
            if part.cost <= load { share } else { f64::INFINITY };
    }
    for ((kind, _), sum) in sums {
        prices[kind] = prices[kind].min(sum);
    }
    // A table that fits nowhere at this load may be worth anything; more than the load is never needed.
    prices.iter_mut().for_each(|price| *price = price.min(load + byte_price * kinds.capacity));
    prices
}

/// All parts with the number of ranks that bear each.
fn parts(kinds: &Kinds) -> impl Iterator<Item = (&Part, f64)> {
    let on_node = kinds.on_node.iter().map(|part| (part, kinds.node_size as f64));
    kinds.on_rank.iter().map(|part| (part, 1.0)).chain(on_node)
}

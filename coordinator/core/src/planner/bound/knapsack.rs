//! The knapsack with several copies of each item, for all capacities at once.

/// What may go in.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Item {
    /// In cells.
    pub(in super::super) weight: usize,
    /// What one copy is worth.
    pub(in super::super) value: f64,
    /// How many there are.
    pub(in super::super) copies: usize,
}

/// The most that fits, for each capacity.
#[derive(Debug, Clone)]
pub(in super::super) struct Knapsack {
    /// At each capacity from 0.
    pub(in super::super) best: Vec<f64>,
    before: Vec<f64>,
    /// Item, copies at once, and their weight; bundles of 1, 2, 4, ... copies make every number.
    bundles: Vec<(usize, usize, usize)>,
    /// Whether a bundle is taken at a capacity.
    taken: Vec<bool>,
}

impl Knapsack {
    /// Fills knapsacks of up to `capacity` cells.
    pub(in super::super) fn new(items: &[Item], capacity: usize) -> Self {
        let width = capacity + 1;
        let mut found =
            Self { best: vec![0.0; width], before: Vec::new(), bundles: Vec::new(), taken: Vec::new() };
        for (idx, item) in items.iter().enumerate() {
            if item.value <= 0.0 || item.weight > capacity {
                continue;
            }
            let mut left =
                capacity.checked_div(item.weight).map_or(item.copies, |most| most.min(item.copies));
            let mut bundle = 1;
            while left > 0 {
                let copies = bundle.min(left);
                found.add(idx, copies, copies * item.weight, copies as f64 * item.value);
                left -= copies;
                bundle *= 2;
            }
        }
        found
    }

    fn add(&mut self, item: usize, copies: usize, weight: usize, value: f64) {
        let width = self.best.len();
        let start = self.taken.len();
        self.taken.resize(start + width, false);
        self.bundles.push((item, copies, weight));
        // Out of place, so that the loop has no dependency between its turns.
        self.before.clone_from(&self.best);
        let targets = self.best[weight..].iter_mut().zip(&mut self.taken[start + weight..]);
        for ((best, taken), before) in targets.zip(&self.before) {
            let with = before + value;
            *taken = with > *best;
            *best = best.max(with);
        }
    }

    /// Items and copies of a fullest knapsack of this capacity.
    pub(in super::super) fn filling(&self, capacity: usize) -> Vec<(usize, usize)> {
        let width = self.best.len();
        let mut left = capacity;
        let mut filling = Vec::new();
        for (idx, (item, copies, weight)) in self.bundles.iter().enumerate().rev() {
            if self.taken[idx * width + left] {
                filling.push((*item, *copies));
                left -= weight;
            }
        }
        filling
    }
}

//! The shop: items in categories and styles, how popular each is, what goes with what.

use super::GenerateArgs;
use super::draw::{Draw, cumulate};

/// Probability that a view stays in the category of the one before.
pub(super) const STAY: f64 = 0.45;
/// Probability that a view moves on to the category that follows.
pub(super) const MOVE_ON: f64 = 0.25;
/// Probability that a view is of what goes with the item before, if that was not viewed yet.
pub(super) const COMPANION: f64 = 0.12;
/// Probability that the session ends after a view.
pub(super) const SESSION_END: f64 = 0.15;
/// Probability that a view is in the shopper's own style.
pub(super) const OWN_STYLE: f64 = 0.7;

/// The shop. A cell is the items of one category and one style, most popular first.
#[derive(Debug)]
pub(super) struct World {
    pub(super) styles: usize,
    /// Items of each cell, `[categories * styles]`.
    pub(super) cells: Vec<Vec<u32>>,
    /// Running sums of `1 / rank`, as long as the largest cell.
    pub(super) zipf: Vec<f64>,
    /// The cell of each item.
    pub(super) cell_of: Vec<u32>,
    /// What goes with each item.
    pub(super) companion: Vec<u32>,
    /// How popular each category is.
    pub(super) category_weight: Vec<f64>,
    /// The category that follows each.
    pub(super) next_category: Vec<u32>,
    /// Price of each item in cents.
    pub(super) price_cents: Vec<u64>,
}

impl World {
    pub(super) fn new(args: &GenerateArgs) -> Self {
        let n_items = args.items as usize;
        let root = (n_items as f64).sqrt() as usize;
        let (categories, styles) = ((root / 3).clamp(2, 64), (root / 5).clamp(2, 16));
        let n_cells = categories * styles;
        let mut draw = Draw::new(args.seed, 0);
        // Ids must not give away popularity or cells.
        let order = draw.order(n_items);
        let mut cells = vec![Vec::new(); n_cells];
        let mut cell_of = vec![0_u32; n_items];
        for (position, item) in order.iter().enumerate() {
            cells[position % n_cells].push(*item);
            cell_of[*item as usize] = (position % n_cells) as u32;
        }
        let zipf = cumulate((1..=n_items.div_ceil(n_cells)).map(|rank| 1.0 / rank as f64));
        let category_weight = (1..=categories).map(|rank| 1.0 / (rank as f64).sqrt()).collect();
        let ring = draw.order(categories);
        let mut next_category = vec![0_u32; categories];
        for (position, category) in ring.iter().enumerate() {
            next_category[*category as usize] = ring[(position + 1) % categories];
        }
        let mut world = Self {
            styles,
            cells,
            zipf,
            cell_of,
            companion: vec![],
            category_weight,
            next_category,
            price_cents: vec![],
        };
        world.companion = (0..n_items).map(|item| world.draw_companion(item, &mut draw)).collect();
        world.price_cents = (0..n_items).map(|item| world.draw_price(item, &mut draw)).collect();
        world
    }

    /// Something of the same style in the category that follows.
    fn draw_companion(&self, item: usize, draw: &mut Draw) -> u32 {
        let cell = self.cell_of[item] as usize;
        let category = self.next_category[cell / self.styles] as usize;
        self.draw_item(category * self.styles + cell % self.styles, draw)
    }

    fn draw_price(&self, item: usize, draw: &mut Draw) -> u64 {
        let category = self.cell_of[item] as usize / self.styles;
        let unit = draw.unit();
        // Categories differ in level, items in a category by a factor of up to 10.
        ((200.0 + 300.0 * category as f64) * (0.3 + 2.7 * unit * unit)) as u64 + 1
    }

    /// An item of a cell by popularity.
    pub(super) fn draw_item(&self, cell: usize, draw: &mut Draw) -> u32 {
        let items = &self.cells[cell];
        items[draw.index(&self.zipf[..items.len()])]
    }

    /// Weight of the item at a position of its cell.
    pub(super) fn weight(position: usize) -> f64 {
        1.0 / (position + 1) as f64
    }

    /// The category of an item.
    pub(super) fn category(&self, item: u32) -> usize {
        self.cell_of[item as usize] as usize / self.styles
    }
}

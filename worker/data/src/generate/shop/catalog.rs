//! The shop's items: categories, popularity, prices, what goes with what, and when each item appears.

use muster_proto::dataset::ShopSpec;

use crate::generate::draw::{Draw, cumulate};

/// The items.
#[derive(Debug)]
pub(super) struct Catalog {
    /// Items of each category, most popular first.
    items_of: Vec<Vec<u32>>,
    /// Running sums of the popularity by rank, as long as the largest category.
    popularity: Vec<f64>,
    pub(super) category_of: Vec<u16>,
    /// What is often viewed after each item.
    companion: Vec<u32>,
    price_cents: Vec<u32>,
    /// How much of the log is past when each item appears, 0 to 1.
    appears: Vec<f32>,
    /// Running sums of the popularity of categories.
    categories: Vec<f64>,
    /// The category that follows each.
    next: Vec<u16>,
}

impl Catalog {
    pub(super) fn new(spec: &ShopSpec) -> Self {
        let (n_items, n_categories) = (spec.items as usize, spec.categories as usize);
        let mut draw = Draw::new(spec.seed, u64::MAX);
        let mut items_of = vec![Vec::new(); n_categories];
        let mut category_of = vec![0; n_items];
        // Ids must not give away popularity or categories.
        for (position, item) in draw.order(n_items).into_iter().enumerate() {
            items_of[position % n_categories].push(item);
            category_of[item as usize] = (position % n_categories) as u16;
        }
        let popularity =
            cumulate((1..=n_items.div_ceil(n_categories)).map(|rank| 1.0 / power(rank as f64, spec.zipf)));
        let mut appears = vec![0.0; n_items];
        for items in &items_of {
            // The most popular item of a category is always there, so that none is ever empty.
            for item in &items[1..] {
                if draw.chance(spec.new_items) {
                    appears[*item as usize] = draw.unit() as f32;
                }
            }
        }
        let ring = draw.order(n_categories);
        let mut next = vec![0; n_categories];
        for (position, category) in ring.iter().enumerate() {
            next[*category as usize] = ring[(position + 1) % n_categories] as u16;
        }
        let mut catalog = Self {
            items_of,
            popularity,
            category_of,
            companion: vec![],
            price_cents: vec![],
            appears,
            categories: cumulate((1..=n_categories).map(|rank| 1.0 / (rank as f64).sqrt())),
            next,
        };
        catalog.companion = (0..n_items)
            .map(|item| catalog.draw_item(catalog.follower(catalog.category(item as u32)), 1.0, &mut draw))
            .collect();
        catalog.price_cents = (0..n_items).map(|item| catalog.draw_price(item as u32, &mut draw)).collect();
        catalog
    }

    /// Categories differ in level, items of a category by a factor of up to 10.
    fn draw_price(&self, item: u32, draw: &mut Draw) -> u32 {
        let (unit, level) = (draw.unit(), 200.0 + 300.0 * (self.category(item) % 64) as f64);
        (level * (0.3 + 2.7 * unit * unit)) as u32 + 1
    }

    /// The category at a place in 0..1, in which the popular ones have more room.
    pub(super) fn category_at(&self, place: f64) -> usize {
        let at = place * self.categories.last().copied().unwrap_or(0.0);
        self.categories.partition_point(|sum| *sum <= at).min(self.categories.len() - 1)
    }

    /// An item of a category by popularity, among those that have appeared.
    pub(super) fn draw_item(&self, category: usize, progress: f64, draw: &mut Draw) -> u32 {
        let items = &self.items_of[category];
        for _ in 0..8 {
            let item = items[draw.index(&self.popularity[..items.len()])];
            if self.has_appeared(item, progress) {
                return item;
            }
        }
        items[0]
    }

    /// What goes with an item, if it has appeared.
    pub(super) fn companion(&self, item: u32, progress: f64) -> Option<u32> {
        Some(self.companion[item as usize]).filter(|companion| self.has_appeared(*companion, progress))
    }

    fn has_appeared(&self, item: u32, progress: f64) -> bool {
        f64::from(self.appears[item as usize]) <= progress
    }

    pub(super) fn category(&self, item: u32) -> usize {
        self.category_of[item as usize].into()
    }

    /// The category that follows another.
    pub(super) fn follower(&self, category: usize) -> usize {
        self.next[category].into()
    }

    /// The price of an item in cents.
    pub(super) fn cents(&self, item: u32) -> u32 {
        self.price_cents[item as usize]
    }
}

/// `base^exponent` of an exponent in quarters, by products and square roots, which are exact on every machine.
fn power(base: f64, exponent: f64) -> f64 {
    let quarters = (exponent * 4.0).round() as u32;
    let root = base.sqrt().sqrt();
    (0..quarters).fold(1.0, |product, _| product * root)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_that_have_not_appeared_are_never_drawn() {
        let spec = ShopSpec { items: 400, categories: 4, new_items: 1.0, ..ShopSpec::default() };
        let catalog = Catalog::new(&spec);
        let mut draw = Draw::new(5, 5);
        for step in 0..2000 {
            let progress = f64::from(step) / 2000.0;
            let item = catalog.draw_item(step as usize % 4, progress, &mut draw);
            assert!(catalog.has_appeared(item, progress) || item == catalog.items_of[step as usize % 4][0]);
            assert_eq!(catalog.category(item), step as usize % 4);
        }
    }

    #[test]
    fn powers_in_quarters_are_powers() {
        for exponent in [0.0_f64, 0.25, 0.75, 1.0, 1.5, 2.0] {
            assert!((power(7.0, exponent) - 7.0_f64.powf(exponent)).abs() < 1e-12);
        }
    }
}

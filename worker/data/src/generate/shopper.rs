//! One shopper: what is hidden, what was viewed, and what is viewed next.

use std::collections::HashSet;

use super::GenerateArgs;
use super::draw::{Draw, cumulate};
use super::world::{COMPANION, MOVE_ON, OWN_STYLE, SESSION_END, STAY, World};

/// A shopper in the middle of the log.
#[derive(Debug)]
pub(super) struct Shopper<'w> {
    world: &'w World,
    draw: Draw,
    pub(super) style: usize,
    /// Running sums of the taste for each category.
    taste: Vec<f64>,
    /// Items viewed so far, in order.
    viewed: Vec<u32>,
    seen: HashSet<u32>,
    /// Items of each cell that were not viewed.
    unseen_of_cell: Vec<u32>,
    pub(super) session: u32,
}

impl<'w> Shopper<'w> {
    pub(super) fn new(world: &'w World, args: &GenerateArgs, user: u32) -> Self {
        let mut draw = Draw::new(args.seed, u64::from(user) + 1);
        let style = draw.below(world.styles);
        let taste = cumulate(world.category_weight.iter().map(|weight| {
            let unit = draw.unit();
            // The eighth power leaves each shopper a few favorites.
            let (second, fourth) = (unit * unit, unit * unit * unit * unit);
            weight * fourth * second * second
        }));
        Self {
            world,
            draw,
            style,
            taste,
            viewed: vec![],
            seen: HashSet::new(),
            unseen_of_cell: world.cells.iter().map(|cell| cell.len() as u32).collect(),
            session: 0,
        }
    }

    /// Views the next item; none is left when all items were viewed.
    pub(super) fn view(&mut self) -> Option<u32> {
        if self.viewed.len() == self.world.cell_of.len() {
            return None;
        }
        let last = self.viewed.last().copied();
        let session_goes_on = last.is_some() && !self.draw.chance(SESSION_END);
        if !session_goes_on {
            self.session += 1;
        }
        let companion = last
            .filter(|_| session_goes_on)
            .map(|last| self.world.companion[last as usize])
            .filter(|companion| !self.seen.contains(companion));
        if let Some(companion) = companion
            && self.draw.chance(COMPANION)
        {
            return Some(self.note(companion));
        }
        let category = match last {
            Some(last) if session_goes_on => self.next_category(self.world.category(last)),
            _ => self.draw.index(&self.taste),
        };
        let style = if self.draw.chance(OWN_STYLE) { self.style } else { self.draw.below(self.world.styles) };
        let cell = self.open_cell(category * self.world.styles + style);
        loop {
            let item = self.world.draw_item(cell, &mut self.draw);
            if !self.seen.contains(&item) {
                return Some(self.note(item));
            }
        }
    }

    fn next_category(&mut self, category: usize) -> usize {
        let unit = self.draw.unit();
        if unit < STAY {
            category
        } else if unit < STAY + MOVE_ON {
            self.world.next_category[category] as usize
        } else {
            self.draw.index(&self.taste)
        }
    }

    fn note(&mut self, item: u32) -> u32 {
        self.viewed.push(item);
        self.seen.insert(item);
        self.unseen_of_cell[self.world.cell_of[item as usize] as usize] -= 1;
        item
    }

    /// The cell itself or, where all of it was viewed, the next one that has something left.
    fn open_cell(&self, cell: usize) -> usize {
        let n_cells = self.unseen_of_cell.len();
        (0..n_cells)
            .map(|step| (cell + step) % n_cells)
            .find(|cell| self.unseen_of_cell[*cell] > 0)
            .unwrap_or(cell)
    }

    /// The probability of each item to be viewed next, given everything that is hidden and was viewed.
    pub(super) fn next_distribution(&self) -> Vec<f64> {
        let mut probability = vec![0.0; self.world.cell_of.len()];
        let last = self.viewed.last().copied();
        let goes_on = if last.is_some() { 1.0 - SESSION_END } else { 0.0 };
        let mut rest = goes_on;
        if let Some(companion) = last.map(|last| self.world.companion[last as usize])
            && !self.seen.contains(&companion)
        {
            probability[companion as usize] += goes_on * COMPANION;
            rest = goes_on * (1.0 - COMPANION);
        }
        let mut categories = self.tastes(1.0 - goes_on + rest * (1.0 - STAY - MOVE_ON));
        if let Some(last) = last {
            let category = self.world.category(last);
            categories[category] += rest * STAY;
            categories[self.world.next_category[category] as usize] += rest * MOVE_ON;
        }
        let mut cells = vec![0.0; self.unseen_of_cell.len()];
        let other = (1.0 - OWN_STYLE) / self.world.styles as f64;
        for (category, mass) in categories.into_iter().enumerate() {
            for style in 0..self.world.styles {
                let share = if style == self.style { OWN_STYLE + other } else { other };
                cells[self.open_cell(category * self.world.styles + style)] += mass * share;
            }
        }
        for (items, mass) in self.world.cells.iter().zip(cells) {
            let unseen = || items.iter().enumerate().filter(|(_, item)| !self.seen.contains(item));
            let total: f64 = unseen().map(|(position, _)| World::weight(position)).sum();
            unseen().for_each(|(position, item)| {
                probability[*item as usize] += mass * World::weight(position) / total;
            });
        }
        probability
    }

    fn tastes(&self, mass: f64) -> Vec<f64> {
        let total = self.taste.last().copied().unwrap_or(1.0);
        let before = std::iter::once(0.0).chain(self.taste.iter().copied());
        self.taste.iter().zip(before).map(|(sum, before)| mass * (sum - before) / total).collect()
    }
}

//! People in the shop: who comes when, what they view, put into the cart and buy.

use std::collections::HashSet;

use muster_proto::dataset::ShopSpec;

use super::catalog::Catalog;
use super::plan::Plan;
use crate::generate::draw::Draw;

/// Probability that a session goes on after a view.
const GO_ON: f64 = 0.85;
/// Probability that the next view is of what goes with the item before.
const COMPANION: f64 = 0.15;
/// Probability that it stays in the category.
const STAY: f64 = 0.4;
/// Probability that it moves on to the category that follows.
const MOVE_ON: f64 = 0.25;
/// The longest session in milliseconds.
const LONGEST: i64 = 3_600_000;
/// The shortest pause between two events of a user, and half of the median of what comes on top, in milliseconds.
const PAUSE: (i64, f64) = (3_000, 8_000.0);
/// Categories that a person prefers at a time.
const FAVORITES: u64 = 3;
/// How often preferences change in the course of a log.
const ERAS: f64 = 6.0;

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    View,
    Cart,
    Buy,
}

impl Action {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::View => "view",
            Self::Cart => "cart",
            Self::Buy => "buy",
        }
    }
}

/// A clean event.
#[derive(Debug, Clone, Copy)]
pub(super) struct Event {
    pub(super) user: u32,
    pub(super) item: u32,
    /// Milliseconds since 1970.
    pub(super) time: i64,
    pub(super) session: u32,
    /// Position in the chunk before it is sorted: with the chunk, the event's id.
    pub(super) number: u32,
    pub(super) action: Action,
    pub(super) rating: Option<u8>,
}

/// A stretch of the log.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) index: u64,
    /// In the order of time.
    pub(super) events: Vec<Event>,
}

struct Simulation<'s> {
    spec: &'s ShopSpec,
    catalog: &'s Catalog,
    draw: Draw,
    most: usize,
    events: Vec<Event>,
}

impl Chunk {
    pub(super) fn simulate(spec: &ShopSpec, catalog: &Catalog, plan: &Plan, index: u64) -> Self {
        let most = plan.events_of(index) as usize;
        let draw = Draw::new(spec.seed, index);
        let mut simulation = Simulation { spec, catalog, draw, most, events: Vec::with_capacity(most) };
        let (mut here, mut session) = (HashSet::new(), 0);
        while simulation.events.len() < most {
            let progress = plan.progress(index, simulation.events.len() as u64);
            let user = simulation.draw_user(index, &mut here);
            simulation.visit(user, session, progress, plan.time_at(progress));
            session += 1;
        }
        let mut events = simulation.events;
        events.sort_unstable_by_key(|event| (event.time, event.number));
        Self { index, events }
    }
}

impl Simulation<'_> {
    /// Someone who was not in the shop in this chunk, and in the one before neither: those have ids of the other parity.
    fn draw_user(&mut self, chunk: u64, here: &mut HashSet<u32>) -> u32 {
        let half = self.spec.users / 2;
        let parity = (chunk % 2) as u32;
        for _ in 0..64 {
            // The density of the square of a uniform number falls with the id: few shop most.
            let unit = self.draw.unit();
            let user = 2 * ((f64::from(half) * unit * unit) as u32).min(half - 1) + parity;
            if here.insert(user) {
                return user;
            }
        }
        let mut user = 2 * self.draw.below(half as usize) as u32 + parity;
        for _ in 0..half {
            if here.insert(user) {
                break;
            }
            user = (user + 2) % (2 * half);
        }
        user
    }

    /// One session; it ends early where the chunk is full.
    fn visit(&mut self, user: u32, session: u32, progress: f64, start: i64) {
        let mut time = start;
        let mut category = self.favorite(user, progress);
        let mut item = self.catalog.draw_item(category, progress, &mut self.draw);
        loop {
            let (carts, buys) = (self.draw.chance(self.spec.cart), self.draw.chance(self.spec.buy));
            for (action, happens) in
                [(Action::View, true), (Action::Cart, carts), (Action::Buy, carts && buys)]
            {
                if !happens {
                    break;
                }
                if self.events.len() == self.most || time - start > LONGEST {
                    return;
                }
                let is_rated = action == Action::Buy && self.draw.chance(self.spec.rate);
                let rating = is_rated.then(|| 1 + self.draw.below(3) as u8 + self.draw.below(3) as u8);
                let number = self.events.len() as u32;
                self.events.push(Event { user, item, time, session, number, action, rating });
                time += PAUSE.0 + self.draw.long_tail(PAUSE.1) as i64;
            }
            if !self.draw.chance(GO_ON) {
                return;
            }
            item = match self.catalog.companion(item, progress) {
                Some(companion) if self.draw.chance(COMPANION) => companion,
                _ => {
                    category = self.next_category(user, category, progress);
                    self.catalog.draw_item(category, progress, &mut self.draw)
                }
            };
            category = self.catalog.category(item);
        }
    }

    fn next_category(&mut self, user: u32, category: usize, progress: f64) -> usize {
        let unit = self.draw.unit();
        if unit < STAY {
            category
        } else if unit < STAY + MOVE_ON {
            self.catalog.follower(category)
        } else {
            self.favorite(user, progress)
        }
    }

    /// One of the categories that a person prefers at the time. What people like is computed, not kept: any number fits.
    fn favorite(&mut self, user: u32, progress: f64) -> usize {
        let which = self.draw.below(FAVORITES as usize) as u64;
        // Each preference ends at a time of its own.
        let offset = unit_of(self.spec.seed, u64::from(user), which);
        let era = (progress * ERAS + offset) as u64;
        let place = unit_of(self.spec.seed ^ (which << 32 | era), u64::from(user), FAVORITES);
        self.catalog.category_at(place)
    }
}

/// A number in 0..1 that follows from what it is for (the finalizer of SplitMix64, Steele, Lea and Flood 2014).
fn unit_of(seed: u64, user: u64, what: u64) -> f64 {
    let mut bits = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(user << 8 | what);
    for _ in 0..2 {
        bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
    }
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

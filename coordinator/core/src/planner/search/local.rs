//! Local search from the worst rank: another option, another place, an exchange; in the end two tables at once.
//!
//! A change is kept where it lowers the cost, or evens out the loads at the same cost. Work is counted in placements tried.

use super::super::Placement;
use super::super::evaluate::{Score, State};
use super::super::problem::Layout;
use super::spots::Spots;

/// How many of the least loaded ranks exchange tables with the worst.
const PARTNERS: usize = 16;

/// Up to so many ranks are ordered anew for each table.
const FEW_RANKS: usize = 512;

/// Up to so many tables, two of them are changed at once.
const FEW_TABLES: usize = 64;

/// What a search may do.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Limits {
    /// Placements to try.
    pub(in super::super) tries: u64,
    /// Stops at this cost.
    pub(in super::super) enough: f64,
}

struct Local<'s, 'a> {
    state: &'s mut State<'a>,
    useful: &'s [Vec<usize>],
    tries: u64,
    /// `on[rank]`: tables with pieces there, but not everywhere.
    on: Vec<Vec<u32>>,
}

/// Improves a complete state until nothing helps or the work is done.
pub(in super::super) fn improve(state: &mut State<'_>, useful: &[Vec<usize>], limits: Limits) {
    let mut local =
        Local { on: vec![Vec::new(); state.problem.world_size()], state, useful, tries: limits.tries };
    for table in 0..local.useful.len() {
        local.note(table, true);
    }
    while local.state.score().cost > limits.enough && local.tries > 0 && local.round() {}
}

impl Local<'_, '_> {
    fn note(&mut self, table: usize, there: bool) {
        let Some(placement) = &self.state.placements[table] else { return };
        for rank in &placement.ranks {
            let on = &mut self.on[*rank as usize];
            if there {
                if on.last() != Some(&(table as u32)) {
                    on.push(table as u32);
                }
            } else {
                on.retain(|other| *other != table as u32);
            }
        }
    }

    fn place(&mut self, table: usize, placement: Placement) {
        self.state.place(table, placement);
        self.note(table, true);
    }

    fn remove(&mut self, table: usize) -> Option<Placement> {
        self.note(table, false);
        self.state.remove(table)
    }

    /// One improvement, from a rank at a peak; false where there is none.
    fn round(&mut self) -> bool {
        let spots = Spots::new(self.state, PARTNERS.max(64));
        for rank in self.state.bottlenecks() {
            let mut tables = self.on[rank].clone();
            tables.sort_unstable();
            if self.try_each(&tables, &spots) || self.exchange(&tables, &spots) {
                return true;
            }
        }
        let everywhere = |table: &u32| {
            let placement = &self.state.placements[*table as usize];
            placement.as_ref().is_some_and(|placement| placement.ranks.is_empty())
        };
        let even: Vec<u32> = (0..self.useful.len() as u32).filter(everywhere).collect();
        if even.len() <= 4096 && self.try_each(&even, &spots) {
            return true;
        }
        self.useful.len() <= FEW_TABLES && self.pairs()
    }

    /// The first of the tables that a new place helps.
    fn try_each(&mut self, tables: &[u32], spots: &Spots) -> bool {
        for table in tables {
            if self.tries == 0 {
                return false;
            }
            let table = *table as usize;
            let before = self.state.score();
            let Some(old) = self.remove(table) else { continue };
            match self.best(table, spots, Some(&old)) {
                Some((placement, score)) if score.beats(before) => {
                    self.place(table, placement);
                    return true;
                }
                _ => self.place(table, old),
            }
        }
        false
    }

    /// The best place of a table that is not placed, other than `except`.
    fn best(
        &mut self,
        table: usize,
        spots: &Spots,
        except: Option<&Placement>,
    ) -> Option<(Placement, Score)> {
        let fresh;
        let spots = if self.on.len() <= FEW_RANKS {
            fresh = Spots::new(self.state, usize::MAX);
            &fresh
        } else {
            spots
        };
        let mut best: Option<(Placement, Score)> = None;
        for option in &self.useful[table] {
            for placement in spots.of(self.state, table, *option) {
                if Some(&placement) == except {
                    continue;
                }
                self.tries = self.tries.saturating_sub(1);
                self.state.place(table, placement);
                let score = self.state.score();
                let Some(placement) = self.state.remove(table) else { continue };
                if best.as_ref().is_none_or(|(_, other)| score.beats(*other)) {
                    best = Some((placement, score));
                }
            }
        }
        best
    }

    /// An exchange of places between a table on the worst rank and one on a rank with less.
    fn exchange(&mut self, tables: &[u32], spots: &Spots) -> bool {
        let partners: Vec<u32> = spots
            .ranks
            .iter()
            .take(PARTNERS)
            .flat_map(|rank| self.on[*rank as usize].clone())
            .filter(|other| !tables.contains(other))
            .collect();
        let before = self.state.score();
        for table in tables {
            for other in &partners {
                if self.tries == 0 {
                    return false;
                }
                if self.exchanged(*table as usize, *other as usize, before) {
                    return true;
                }
            }
        }
        false
    }

    fn exchanged(&mut self, a: usize, b: usize, before: Score) -> bool {
        let problem = self.state.problem;
        let (Some(at_a), Some(at_b)) = (&self.state.placements[a], &self.state.placements[b]) else {
            return false;
        };
        let (choice_a, choice_b) =
            (&problem.tables()[a].options[at_a.option], &problem.tables()[b].options[at_b.option]);
        let same = choice_a.layout == choice_b.layout && choice_a.n_pieces() == choice_b.n_pieces();
        if !same || choice_a.layout == Layout::EveryRank || choice_a.runs == choice_b.runs {
            return false;
        }
        let open = |table: usize, ranks: &[u32]| ranks.iter().all(|r| problem.may_lie(table, *r as usize));
        if !open(a, &at_b.ranks) || !open(b, &at_a.ranks) {
            return false;
        }
        self.tries = self.tries.saturating_sub(1);
        let (Some(old_a), Some(old_b)) = (self.remove(a), self.remove(b)) else { return false };
        let new_a = Placement { option: old_a.option, ranks: old_b.ranks.clone() };
        let new_b = Placement { option: old_b.option, ranks: old_a.ranks.clone() };
        if self.state.fits(a, &new_a) {
            self.place(a, new_a);
            if self.state.fits(b, &new_b) {
                self.place(b, new_b);
                if self.state.score().beats(before) {
                    return true;
                }
                self.remove(b);
            }
            self.remove(a);
        }
        self.place(a, old_a);
        self.place(b, old_b);
        false
    }

    /// A change of one table that only helps with a change of another.
    fn pairs(&mut self) -> bool {
        let spots = Spots::new(self.state, usize::MAX);
        let before = self.state.score();
        for first in 0..self.useful.len() {
            let Some(old) = self.remove(first) else { continue };
            for option in &self.useful[first] {
                let Some(placement) = spots.of(self.state, first, *option).into_iter().find(|p| *p != old)
                else {
                    continue;
                };
                self.place(first, placement);
                for second in 0..self.useful.len() {
                    if second == first || self.tries == 0 {
                        continue;
                    }
                    let Some(at) = self.remove(second) else { continue };
                    match self.best(second, &spots, Some(&at)) {
                        Some((better, score)) if score.beats(before) => {
                            self.place(second, better);
                            return true;
                        }
                        _ => self.place(second, at),
                    }
                }
                self.remove(first);
            }
            self.place(first, old);
        }
        false
    }
}

//! Who is next: by class, then the team that holds least for its weight, then who came first.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use super::problem::{Class, Policy, Problem, Waiting};

/// A share of workers for a weight, in an order of its own.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Share(f64);

impl Eq for Share {}

impl PartialOrd for Share {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Share {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// A team's jobs of one class.
#[derive(Debug, Default)]
struct Line<'a> {
    jobs: VecDeque<&'a Waiting>,
}

/// The jobs that wait, one after the other; shares change as jobs start.
#[derive(Debug)]
pub(super) struct Order<'a> {
    policy: &'a Policy,
    lines: [BTreeMap<&'a str, Line<'a>>; 3],
    /// Teams with jobs of the class at hand: share, first job, team.
    teams: BinaryHeap<Reverse<(Share, u64, &'a str)>>,
    class: usize,
    held: BTreeMap<&'a str, u32>,
}

impl<'a> Order<'a> {
    pub(super) fn new(problem: &Problem<'a>) -> Self {
        let mut waiting: Vec<&Waiting> = problem.waiting.iter().collect();
        waiting.sort_by_key(|waiting| waiting.job);
        let mut lines: [BTreeMap<&str, Line<'_>>; 3] = Default::default();
        for job in waiting {
            let class = risen(job, problem.policy) as usize;
            lines[class].entry(job.team.as_str()).or_default().jobs.push_back(job);
        }
        let held = problem.held_by_team();
        let mut order = Self { policy: problem.policy, lines, teams: BinaryHeap::new(), class: 0, held };
        order.enter();
        order
    }

    /// Counts workers for a team, whose next job comes later for it.
    pub(super) fn count(&mut self, team: &'a str, workers: u32) {
        *self.held.entry(team).or_default() += workers;
    }

    /// Workers that a team holds.
    pub(super) fn held(&self, team: &str) -> u32 {
        self.held.get(team).copied().unwrap_or(0)
    }

    /// The next job; call [`Self::queue`] for its team before the one after it is asked for.
    pub(super) fn next(&mut self) -> Option<&'a Waiting> {
        loop {
            if let Some(Reverse((_, _, team))) = self.teams.pop() {
                return self.lines[self.class].get_mut(team)?.jobs.pop_front();
            }
            self.class += 1;
            if self.class == self.lines.len() {
                return None;
            }
            self.enter();
        }
    }

    /// Puts a team in its place again, after one of its jobs was next.
    pub(super) fn queue(&mut self, team: &'a str) {
        let share = self.share(team);
        let first = self.lines[self.class].get(team).and_then(|line| line.jobs.front());
        if let Some(first) = first {
            self.teams.push(Reverse((share, first.job.0, team)));
        }
    }

    fn enter(&mut self) {
        let teams: Vec<&str> = self.lines[self.class].keys().copied().collect();
        teams.into_iter().for_each(|team| self.queue(team));
    }

    fn share(&self, team: &str) -> Share {
        let weight = self.policy.weights.get(team).copied().unwrap_or(1.0);
        Share(f64::from(self.held(team)) / weight.max(f64::MIN_POSITIVE))
    }
}

/// The class of a job, with what it rose by waiting.
pub(super) fn risen(job: &Waiting, policy: &Policy) -> Class {
    let aging = policy.aging.as_secs_f64();
    let steps = if aging > 0.0 { (job.waited.as_secs_f64() / aging).min(2.0) } else { 0.0 };
    job.class.raised(steps as u32)
}

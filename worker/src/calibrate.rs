//! Calibration: how long the pieces of a step take on this machine, measured on the code that steps run.
//!
//! A piece that a rank's threads compute is measured with one thread and with as many as there are cores; a piece that ranks
//! do together is measured with as many ranks as they will be, as threads of this process with the collectives of a job
//! between them. Ranks that share cores are so measured sharing them.
//!
//! Nothing is fitted here: a point is the median of some calls, and of three passes over all points the fastest one, since a machine
//! that others use too has slow moments.

mod between;
mod exchange;
mod heads;
mod network;
mod ranks;
mod rows;
mod threads;
mod update;
mod watch;

use std::time::Duration;

use muster_proto::job::OptimizerKind;
use muster_proto::measured::{Elapsed, Point, Term, TermPoints};

pub use ranks::Unconnected;

/// How much is measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effort {
    /// Numbers of ranks.
    pub workers: Vec<usize>,
    /// Threads of each rank; the cores over the ranks where absent.
    pub threads: Option<usize>,
    /// Cores of this machine.
    pub cores: usize,
    /// Whether fewer shapes are measured, and for a shorter time.
    pub quick: bool,
}

impl Effort {
    /// The least time that a point's calls take together.
    fn time(&self) -> Duration {
        Duration::from_millis(if self.quick { 4 } else { 20 })
    }

    /// How often all points are measured.
    fn passes(&self) -> u32 {
        if self.quick { 1 } else { 3 }
    }

    /// Every value, or every other one in a hurry; the first and the last always.
    fn some<T: Copy>(&self, all: &[T]) -> Vec<T> {
        let last = all.len().saturating_sub(1);
        let keep = |place: &usize| !self.quick || place.is_multiple_of(2) || *place == last;
        (0..all.len()).filter(keep).map(|place| all[place]).collect()
    }

    /// One thread, and all cores.
    fn levels(&self) -> Vec<usize> {
        let mut levels = vec![1, self.cores.max(1)];
        levels.dedup();
        levels
    }

    /// Threads of a rank among so many.
    fn threads_of(&self, ranks: usize) -> usize {
        self.threads.unwrap_or((self.cores / ranks).max(1))
    }
}

/// What was measured, term by term.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Points(Vec<TermPoints>);

impl Points {
    /// Adds a point; of one that is known the faster time.
    fn add(&mut self, term: Term, optimizer: Option<OptimizerKind>, point: Point) {
        let Some(known) = self.0.iter_mut().find(|known| known.term == term && known.optimizer == optimizer)
        else {
            return self.0.push(TermPoints { term, optimizer, points: vec![point] });
        };
        let place = |known: &Point| (known.busy, known.size.to_bits()) == (point.busy, point.size.to_bits());
        match known.points.iter_mut().find(|known| place(known) && known.at == point.at) {
            Some(known) => known.time = known.time.min(point.time),
            None => known.points.push(point),
        }
    }

    /// Adds a point whose time the clock can tell.
    fn point(&mut self, term: Term, (at, size, busy): (&[usize], usize, usize), time: Duration) {
        let at: Vec<f64> = at.iter().map(|value| *value as f64).collect();
        self.shaped(term, (&at, size, busy), time);
    }

    fn shaped(&mut self, term: Term, (at, size, busy): (&[f64], usize, usize), time: Duration) {
        let time = Elapsed(time.max(Duration::from_nanos(1)));
        self.add(term, None, Point { at: at.to_vec(), size: size as f64, busy: busy as u32, time });
    }

    /// The points of all terms.
    #[must_use]
    pub fn into_terms(self) -> Vec<TermPoints> {
        self.0
    }
}

/// Measures all terms; `progress` hears what is measured next.
///
/// # Errors
/// Ranks that cannot be connected, or a folder for the trial's data that cannot be written.
pub fn measure(effort: &Effort, progress: &mut dyn FnMut(&str)) -> Result<Points, Unconnected> {
    let mut points = Points::default();
    for pass in 1..=effort.passes() {
        let mut progress = |what: &str| progress(&format!("{what}, pass {pass} of {}", effort.passes()));
        progress("the network");
        network::measure(effort, &mut points);
        progress("heads");
        heads::measure(effort, &mut points);
        progress("rows and optimizers");
        rows::measure(effort, &mut points);
        update::measure(effort, &mut points);
        for ranks in &effort.workers {
            progress(&format!("exchanges of {ranks} ranks"));
            exchange::measure(effort, *ranks, &mut points)?;
        }
        progress("checkpoints");
        between::measure(effort, &mut points)?;
    }
    Ok(points)
}

/// Numbers that are neither 0 nor large, the same in each run.
fn values(len: usize, scale: f32) -> Vec<f32> {
    let mut state = 0x9e37_79b9_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((state >> 8) as f32 / 16_777_216.0 - 0.5) * scale
    };
    (0..len).map(|_| next()).collect()
}

/// Ids below `rows`, skewed as those of a log are, the same in each run.
fn ids(len: usize, rows: usize, seed: u32) -> Vec<u32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12_345);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(state >> 8) / 16_777_216.0
    };
    (0..len).map(|_| ((next() * next() * rows as f64) as u32).min(rows as u32 - 1)).collect()
}

/// Distinct ids below `rows`, ascending, other ones on each call and the same in each run: rows that a step needs are in no
/// cache because of the step before.
#[derive(Debug)]
struct DistinctIds {
    rows: usize,
    state: u32,
}

impl DistinctIds {
    fn new(rows: usize) -> Self {
        Self { rows, state: 1 }
    }

    fn draw(&mut self, len: usize) -> Vec<u32> {
        let gap = (self.rows / len.max(1)).max(1) as u32;
        let mut next = || {
            self.state = self.state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            self.state >> 8
        };
        (0..len as u32).map(|place| place * gap + next() % gap).collect()
    }
}

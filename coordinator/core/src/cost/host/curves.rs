//! All terms of a calibration, ready to be asked.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use muster_proto::job::OptimizerKind;
use muster_proto::measured::{Calibration, Term};

use super::surface::Surface;
use super::trials::Trials;

/// Why a calibration cannot give a forecast.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A term that the job needs was not measured.
    #[error("the calibration has no points of {}; measure again with muster calibrate", term_name(*term, *optimizer))]
    Missing {
        /// The term.
        term: Term,
        /// The optimizer, where the term is of one.
        optimizer: Option<OptimizerKind>,
    },
}

/// A term's name for people.
fn term_name(term: Term, optimizer: Option<OptimizerKind>) -> String {
    let word = |value: serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let name = serde_json::to_value(term).map(word).unwrap_or_default();
    match optimizer.and_then(|kind| serde_json::to_value(kind).ok()) {
        Some(kind) => format!("{name} of {}", word(kind)),
        None => name,
    }
}

/// What is asked: a term at a shape and a size, while so many do the same.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ask<'a> {
    pub(super) term: Term,
    pub(super) optimizer: Option<OptimizerKind>,
    pub(super) at: &'a [f64],
    pub(super) size: f64,
    pub(super) busy: f64,
}

impl<'a> Ask<'a> {
    pub(super) fn new(term: Term, at: &'a [f64], size: f64, busy: f64) -> Self {
        Self { term, optimizer: None, at, size, busy }
    }
}

/// The curves of one term by how many do the same.
type Levels = BTreeMap<u32, Surface>;

/// A calibration, ready to be asked.
#[derive(Debug, Clone)]
pub struct Curves {
    terms: Vec<(Term, Option<OptimizerKind>, Levels)>,
    /// Cores of the machine.
    pub cores: f64,
    /// Bytes of a worker's process without a job.
    pub process: f64,
    /// Whose calibration it is, for people.
    pub source: String,
    /// What steps take beside their terms.
    pub(super) trials: Trials,
    outside: RefCell<BTreeSet<String>>,
}

impl Curves {
    /// The curves through a calibration's points.
    #[must_use]
    pub fn new(calibration: &Calibration) -> Self {
        let terms = calibration.terms.iter().map(|of_term| {
            let mut levels: BTreeMap<u32, Vec<(Vec<f64>, f64, f64)>> = BTreeMap::new();
            for point in &of_term.points {
                let seconds = point.time.0.as_secs_f64();
                levels.entry(point.busy).or_default().push((point.at.clone(), point.size, seconds));
            }
            let surfaces =
                levels.into_iter().filter_map(|(busy, points)| Some((busy, Surface::new(&points)?)));
            (of_term.term, of_term.optimizer, surfaces.collect())
        });
        let Calibration { machine, date, build, .. } = calibration;
        Self {
            terms: terms.collect(),
            cores: f64::from(calibration.cores),
            process: calibration.process.bytes() as f64,
            source: format!("calibration of {machine} on {date} ({build} build)"),
            trials: Trials::new(&calibration.trials),
            outside: RefCell::default(),
        }
    }

    /// Seconds of a call. Between numbers of ranks or threads that were measured lines are straight; more ranks than were
    /// measured take in proportion longer, more threads than cores wait for a core elsewhere.
    ///
    /// # Errors
    /// A term without points.
    pub(super) fn seconds(&self, ask: Ask<'_>) -> Result<f64, Error> {
        let Ask { term, optimizer, at, size, busy } = ask;
        if size <= 0.0 {
            return Ok(0.0);
        }
        let known = self.terms.iter().find(|known| (known.0, known.1) == (term, optimizer));
        let missing = Error::Missing { term, optimizer };
        let levels = known.map(|known| &known.2).filter(|levels| !levels.is_empty()).ok_or(missing)?;
        let level = |busy: u32| {
            let (seconds, outside) = levels[&busy].predict(at, size);
            if outside {
                self.outside.borrow_mut().insert(term_name(term, optimizer));
            }
            seconds
        };
        let below = levels.keys().copied().filter(|known| f64::from(*known) <= busy).max();
        let above = levels.keys().copied().filter(|known| f64::from(*known) >= busy).min();
        Ok(match (below, above) {
            (Some(low), Some(high)) if low == high => level(low),
            (Some(low), Some(high)) => {
                let share = (busy - f64::from(low)) / f64::from(high - low);
                level(low) * (1.0 - share) + level(high) * share
            }
            (Some(last), None) if term.is_of_ranks() => {
                self.outside.borrow_mut().insert(term_name(term, optimizer));
                level(last) * busy / f64::from(last)
            }
            (Some(only), None) | (None, Some(only)) => level(only),
            (None, None) => 0.0,
        })
    }

    /// The names of the terms that were asked outside of what was measured, since this was asked before.
    pub(super) fn take_outside(&self) -> Vec<String> {
        std::mem::take(&mut *self.outside.borrow_mut()).into_iter().collect()
    }
}

//! Straight lines below what phases take, so that the planner's linear bound is one of the step too.
//!
//! The planner adds up seconds by the rates. A step has more: latencies of collectives, which vanish where nothing is exchanged,
//! measured points, and sums of gradients that hide behind other phases. A line `at_zero + slope * x` lies below what a phase
//! takes for all loads x that a plan better than the known one can have; since latencies make a concave curve, that is its chord.
//! What hides is bounded by `max(a, b) >= (1 - w) a + w b` for any w between 0 and 1.

use crate::cost::{Cluster, LayoutOption, Phase, Workload, step};
use crate::cost::{Layout, Phases};

/// The phases in which tables cost anything, as the planner numbers them.
pub(super) const PHASES: [Phase; 6] = [
    Phase::InputExchange,
    Phase::Lookup,
    Phase::ForwardExchange,
    Phase::BackwardExchange,
    Phase::TableUpdate,
    Phase::AllReduce,
];

/// A line below a phase.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Line {
    /// Seconds with no table.
    pub(super) at_zero: f64,
    /// Seconds of the step for a second of the slowest rank.
    pub(super) slope: f64,
}

/// Lines below all phases, and what the planner cannot change.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Lines {
    /// One a phase of [`PHASES`].
    pub(super) lines: [Line; 6],
    /// Seconds of the step beside those.
    pub(super) fixed: f64,
}

/// Lines by the rates alone, to search with before a plan is known.
pub(super) fn rates() -> Lines {
    Lines { lines: [Line { at_zero: 0.0, slope: 1.0 }; 6], fixed: 0.0 }
}

/// Lines for the plans whose step is shorter than `seconds` and that keep a table off at least one rank.
///
/// `weight` is the share w of the gradients' sum, against the phases behind which it hides.
pub(super) fn below(
    workload: &Workload,
    options: &[Vec<LayoutOption>],
    cluster: &Cluster,
    seconds: f64,
    weight: f64,
) -> Lines {
    let dense = workload.dense_phases(cluster);
    let fixed: f64 = [Phase::Dense, Phase::Loss]
        .map(|phase| step::phase_seconds(workload, phase, dense.get(phase), cluster))
        .iter()
        .sum();
    let most = (seconds - fixed).max(0.0);
    let lines = PHASES.map(|phase| {
        let line = chord(workload, options, cluster, (phase, dense.get(phase), most));
        let share = match phase {
            Phase::AllReduce => weight,
            Phase::BackwardExchange | Phase::TableUpdate => 1.0 - weight,
            _ => 1.0,
        };
        Line { at_zero: line.at_zero * share, slope: line.slope * share }
    });
    Lines { lines, fixed }
}

/// The line of a phase that has `base` seconds beside tables and takes at most `most`.
fn chord(
    workload: &Workload,
    options: &[Vec<LayoutOption>],
    cluster: &Cluster,
    (phase, base, most): (Phase, f64, f64),
) -> Line {
    let plain = Workload { calibrations: Vec::new(), tables: Vec::new(), ..workload.clone() };
    let curve = |x: f64| step::phase_seconds(&plain, phase, x, cluster);
    let mut high = most.max(base * (1.0 + 1e-9)).max(f64::MIN_POSITIVE);
    // By the rates a phase takes at least its load, so no load above `most` leads to a shorter step; measured, it may take less.
    if workload.calibrations.iter().any(|(known, _)| *known == phase) {
        let all = base + largest(options, phase);
        while high < all && step::phase_seconds(workload, phase, high, cluster) < most {
            high *= 2.0;
        }
    }
    let low = if base > 0.0 || always(options, phase) { curve(base.max(high * 1e-12)) } else { 0.0 };
    let slope = ((curve(high) - low) / (high - base)).max(0.0);
    let measured = workload.calibrations.iter().filter(|(known, _)| *known == phase);
    let least = measured.map(|(_, points)| points.least_ratio(curve(high))).fold(1.0, |a, b| a * b);
    // A thousandth of a millionth for rounding, so that the line stays below.
    let least = least * (1.0 - 1e-9);
    Line { at_zero: low * least, slope: slope * least }
}

/// The most seconds of the phase that tables can bring to one rank.
fn largest(options: &[Vec<LayoutOption>], phase: Phase) -> f64 {
    let of_option = |option: &LayoutOption| {
        option.pieces.kinds().map(|(piece, times)| piece.cost.get(phase) * f64::from(times)).sum::<f64>()
    };
    options.iter().map(|options| options.iter().map(of_option).fold(0.0, f64::max)).sum()
}

/// Whether each layout of each table but a copy on each rank takes part in the phase.
fn always(options: &[Vec<LayoutOption>], phase: Phase) -> bool {
    let takes_part = |cost: &Phases| cost.get(phase) > 0.0;
    let mut spread =
        options.iter().flatten().filter(|option| option.layout != Layout::DataParallel).peekable();
    spread.peek().is_some()
        && spread.all(|option| option.pieces.kinds().any(|(piece, _)| takes_part(&piece.cost)))
}

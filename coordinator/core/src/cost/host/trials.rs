//! What the parts of a step take beside their terms, as whole jobs showed it.
//!
//! Terms are measured one by one. In a step their data has left the caches, some of their memory is new, and ranks wait for
//! each other. So for each part of a step, and each number of workers that whole jobs were trained on, a part is taken as
//!
//! `a · terms + b + c · dense + d · activations`, none of them below 0,
//!
//! where the dense part counts only in exchanges and what is of no phase (ranks wait there for those that compute longer),
//! and the network's input and output only in what ranks compute. The factors are those of the least squares of errors,
//! each relative to the geometric mean of the part and its step; they are few, so that every choice of those that are not 0
//! is solved (Lawson and Hanson, Solving Least Squares Problems, 1974, chapter 23, for the general case). A job that was
//! trained several times counts once, with its median run: what a run of it is as likely to take longer as shorter.

use std::collections::BTreeMap;
use std::time::Duration;

use muster_proto::capacity::Phase;
use muster_proto::measured::{Trial, TrialPart};

/// Seconds of the parts of a step; `None` is what is of no phase.
pub(super) type Parts = BTreeMap<Option<Phase>, f64>;

/// Factors of a part.
const FACTORS: usize = 4;
/// Trials that all factors need; with fewer only that of the terms is taken.
const ENOUGH: usize = 2 * FACTORS;
/// A part of a trial that took no longer tells nothing.
const LEAST: f64 = 1e-6;

/// What trials on so many workers showed.
#[derive(Debug, Clone, Default, PartialEq)]
struct Shown {
    /// The factors of each part.
    factors: BTreeMap<Option<Phase>, [f64; FACTORS]>,
    /// The most bytes that a rank had beside those of its forecast.
    beside: f64,
}

/// What trials showed, by number of workers.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Trials(BTreeMap<u32, Shown>);

impl Trials {
    /// The factors that fit the trials best.
    pub(super) fn new(trials: &[Trial]) -> Self {
        let mut of_workers: BTreeMap<u32, Vec<&Trial>> = BTreeMap::new();
        trials.iter().for_each(|trial| of_workers.entry(trial.workers).or_default().push(trial));
        let fit = |(workers, trials): (u32, Vec<&Trial>)| {
            let parts = Phase::ALL.into_iter().map(Some).chain([None]);
            let medians = medians(&trials);
            let factors = parts.filter_map(|part| Some((part, fit(part, workers, &medians)?))).collect();
            let ranks = trials.iter().flat_map(|trial| trial.peak_bytes.iter().zip(&trial.forecast_bytes));
            let beside = ranks.map(|(peak, forecast)| peak.saturating_sub(*forecast)).max();
            (workers, Shown { factors, beside: beside.unwrap_or(0) as f64 })
        };
        Self(of_workers.into_iter().map(fit).collect())
    }

    /// Whether `workers` are more than whole jobs were trained on.
    pub(super) fn is_beyond(&self, workers: u32) -> bool {
        self.0.keys().next_back().is_some_and(|most| workers > *most)
    }

    /// Bytes that a rank may have beside those that its forecast counts: the most that was seen, since memory that is missing
    /// ends a job.
    pub(super) fn beside(&self, workers: u32) -> f64 {
        self.around(workers).into_iter().flatten().map(|(_, shown)| shown.beside).fold(0.0, f64::max)
    }

    /// What the nearest numbers of workers showed, below and above; twice the same where there were trials on so many.
    fn around(&self, workers: u32) -> [Option<(u32, &Shown)>; 2] {
        let below = self.0.range(..=workers).next_back();
        let above = self.0.range(workers..).next();
        [below, above].map(|shown| shown.map(|(workers, shown)| (*workers, shown)))
    }

    /// The parts of a step that come to `terms`. Between numbers of workers lines are straight; beyond, the last counts.
    pub(super) fn whole(&self, workers: u32, terms: &Parts, activations: f64) -> Parts {
        let [below, above] = self.around(workers);
        let (Some(low), Some(high)) = (below.or(above), above.or(below)) else { return terms.clone() };
        let share = match high.0 - low.0 {
            0 => 0.0,
            gap => f64::from(workers - low.0) / f64::from(gap),
        };
        let dense = terms.get(&Some(Phase::Dense)).copied().unwrap_or(0.0);
        let whole = |(part, seconds): (&Option<Phase>, &f64)| {
            let shape = shape(*part, workers, [*seconds, dense, activations]);
            let at = |shown: &Shown| match shown.factors.get(part) {
                Some(factors) => factors.iter().zip(shape).map(|(factor, value)| factor * value).sum(),
                None => *seconds,
            };
            (*part, at(low.1) * (1.0 - share) + at(high.1) * share)
        };
        terms.iter().map(whole).collect()
    }
}

/// The median run of each job, of two the faster.
fn medians<'a>(trials: &[&'a Trial]) -> Vec<&'a Trial> {
    let step = |trial: &Trial| trial.parts.iter().map(|part| part.measured.0).sum::<Duration>();
    let mut of_jobs: BTreeMap<&str, Vec<&Trial>> = BTreeMap::new();
    trials.iter().for_each(|trial| of_jobs.entry(&trial.job).or_default().push(trial));
    let median = |mut runs: Vec<&'a Trial>| {
        runs.sort_by_key(|run| step(run));
        runs[(runs.len() - 1) / 2]
    };
    of_jobs.into_values().map(median).collect()
}

/// What the factors of a part are multiplied with.
fn shape(part: Option<Phase>, workers: u32, [terms, dense, activations]: [f64; 3]) -> [f64; FACTORS] {
    match part {
        Some(Phase::Dense | Phase::Loss | Phase::Lookup | Phase::TableUpdate) => {
            [terms, 1.0, 0.0, activations]
        }
        Some(_) | None if workers > 1 => [terms, 1.0, dense, 0.0],
        Some(Phase::AllReduce) | None => [terms, 1.0, 0.0, 0.0],
        // One rank has nobody to exchange with.
        Some(_) => [0.0; FACTORS],
    }
}

/// The factors of a part; none where trials tell nothing of it.
fn fit(part: Option<Phase>, workers: u32, trials: &[&Trial]) -> Option<[f64; FACTORS]> {
    let rows = trials.iter().filter_map(|trial| {
        let of = |phase| trial.parts.iter().find(|known| known.phase == phase);
        let seconds = |part: &TrialPart| (part.terms.0.as_secs_f64(), part.measured.0.as_secs_f64());
        let step: f64 = trial.parts.iter().map(|part| seconds(part).1).sum();
        let (terms, measured) = seconds(of(part)?);
        let dense = of(Some(Phase::Dense)).map_or(0.0, |part| seconds(part).0);
        let weight = 1.0 / (measured.max(LEAST) * step.max(LEAST)).sqrt();
        let shape = shape(part, workers, [terms, dense, trial.activations]);
        (measured > LEAST).then(|| (shape.map(|value| value * weight), measured * weight))
    });
    let rows: Vec<([f64; FACTORS], f64)> = rows.collect();
    let most = if rows.len() >= ENOUGH { 1 << FACTORS } else { 2 };
    let solved = (1..most).filter_map(|active: u32| solve(&rows, |factor| active >> factor & 1 == 1));
    let error = |factors: &[f64; FACTORS]| -> f64 {
        let off = rows.iter().map(|(shape, measured)| {
            shape.iter().zip(factors).map(|(value, factor)| value * factor).sum::<f64>() - measured
        });
        off.map(|off| off * off).sum()
    };
    let solved = solved.filter(|factors| factors.iter().all(|factor| *factor >= 0.0));
    solved.map(|factors| (error(&factors), factors)).min_by(|a, b| a.0.total_cmp(&b.0)).map(|best| best.1)
}

/// The least squares with the active factors alone, by their normal equations; none where these have no single solution.
fn solve(rows: &[([f64; FACTORS], f64)], active: impl Fn(usize) -> bool) -> Option<[f64; FACTORS]> {
    let chosen: Vec<usize> = (0..FACTORS).filter(|factor| active(*factor)).collect();
    let product = |a: usize, b: usize| rows.iter().map(|row| row.0[a] * row.0[b]).sum::<f64>();
    // Columns are of very different sizes, so each is taken relative to its own.
    let size: Vec<f64> = chosen.iter().map(|factor| product(*factor, *factor).sqrt()).collect();
    if size.iter().any(|size| *size <= 0.0) {
        return None;
    }
    let mut matrix: Vec<Vec<f64>> = chosen
        .iter()
        .zip(&size)
        .map(|(a, of_a)| {
            let mut row: Vec<f64> =
                chosen.iter().zip(&size).map(|(b, of_b)| product(*a, *b) / (of_a * of_b)).collect();
            row.push(rows.iter().map(|row| row.0[*a] * row.1).sum::<f64>() / of_a);
            row
        })
        .collect();
    eliminate(&mut matrix)?;
    let mut factors = [0.0; FACTORS];
    for ((factor, size), row) in chosen.iter().zip(&size).zip(&matrix) {
        factors[*factor] = row[chosen.len()] / size;
    }
    Some(factors)
}

/// Leaves the solution of a symmetric positive system in its last column; none where a pivot is as good as 0.
fn eliminate(matrix: &mut [Vec<f64>]) -> Option<()> {
    let n = matrix.len();
    for pivot in 0..n {
        let scale = matrix[pivot][pivot];
        if scale < 1e-9 {
            return None;
        }
        matrix[pivot].iter_mut().for_each(|value| *value /= scale);
        let row = matrix[pivot].clone();
        for (other, values) in matrix.iter_mut().enumerate() {
            if other != pivot {
                let times = values[pivot];
                values.iter_mut().zip(&row).for_each(|(value, of_pivot)| *value -= times * of_pivot);
            }
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use muster_proto::measured::Elapsed;
    use proptest::prelude::*;

    use super::*;

    fn elapsed(seconds: f64) -> Elapsed {
        Elapsed(Duration::from_secs_f64(seconds))
    }

    /// Trials whose dense part and sum of gradients follow laws.
    fn trials(
        workers: u32,
        count: usize,
        dense: impl Fn(f64, f64) -> f64,
        sum: impl Fn(f64, f64) -> f64,
    ) -> Vec<Trial> {
        (1..=count)
            .map(|idx| {
                let (terms, activations) = (1e-3 * (idx * idx) as f64, 1e4 * (7 * idx % 5 + 1) as f64);
                let part = |phase, terms, measured| TrialPart {
                    phase,
                    terms: elapsed(terms),
                    measured: elapsed(measured),
                };
                let (own, of_dense) = (2e-4 * (1 + idx % 3) as f64, dense(terms, activations));
                let parts = vec![
                    part(Some(Phase::Dense), terms, of_dense),
                    part(Some(Phase::AllReduce), own, sum(own, terms)),
                ];
                Trial {
                    job: idx.to_string(),
                    workers,
                    activations,
                    parts,
                    forecast_bytes: vec![50, 60],
                    peak_bytes: vec![50 + workers as u64, 55],
                }
            })
            .collect()
    }

    fn parts(dense: f64, sum: f64) -> Parts {
        [(Some(Phase::Dense), dense), (Some(Phase::AllReduce), sum)].into()
    }

    proptest! {
        #[test]
        fn a_law_of_the_form_is_found(a in 0.5_f64..3.0, b in 0.0_f64..2e-3, c in 0.0_f64..0.5, d in 0.0_f64..1e-7) {
            let known = trials(2, 12, |terms, activations| a * terms + b + d * activations, |own, dense| a * own + b + c * dense);
            let whole = Trials::new(&known).whole(2, &parts(0.07, 0.003), 9e4);
            let near = |found: f64, law: f64| (found / law - 1.0).abs() < 1e-3;
            prop_assert!(near(whole[&Some(Phase::Dense)], a * 0.07 + b + d * 9e4), "{whole:?}");
            prop_assert!(near(whole[&Some(Phase::AllReduce)], a * 0.003 + b + c * 0.07), "{whole:?}");
        }
    }

    #[test]
    fn between_numbers_of_workers_lines_are_straight_and_beyond_the_last_counts() {
        let double = trials(2, 9, |terms, _| 2.0 * terms, |own, _| 2.0 * own);
        let fourfold = trials(4, 9, |terms, _| 4.0 * terms, |own, _| 4.0 * own);
        let known = Trials::new(&[double, fourfold].concat());
        let dense = |workers| known.whole(workers, &parts(1.0, 0.0), 0.0)[&Some(Phase::Dense)];
        for (workers, times) in [(1, 2.0), (2, 2.0), (3, 3.0), (4, 4.0), (9, 4.0)] {
            assert!((dense(workers) - times).abs() < 1e-6, "{workers}: {}", dense(workers));
        }
        assert!(known.is_beyond(5) && !known.is_beyond(3));
        assert_eq!([1, 2, 3, 9].map(|workers| known.beside(workers)), [2.0, 2.0, 4.0, 4.0]);
    }

    #[test]
    fn of_a_job_that_was_trained_several_times_the_median_run_counts_and_the_most_memory() {
        let runs = [2.0, 9.0, 1.0, 2.5, 1.9]
            .map(|times| trials(2, 9, |terms, _| times * terms, |own, _| times * own));
        let mut runs = runs.concat();
        runs[0].peak_bytes[0] += 1000;
        let known = Trials::new(&runs);
        let whole = known.whole(2, &parts(1.0, 0.5), 0.0);
        assert!((whole[&Some(Phase::Dense)] - 2.0).abs() < 1e-6, "{whole:?}");
        assert!((whole[&Some(Phase::AllReduce)] - 1.0).abs() < 1e-6, "{whole:?}");
        assert_eq!(known.beside(2), 1002.0);
    }

    #[test]
    fn few_trials_give_no_more_than_a_factor_and_none_change_nothing() {
        let few = Trials::new(&trials(1, 3, |terms, _| 1.5 * terms + 1e-4, |own, _| own));
        let dense = few.whole(1, &parts(1.0, 0.1), 1e9)[&Some(Phase::Dense)];
        assert!((1.5..1.6).contains(&dense), "{dense}");
        let terms = parts(1.0, 0.5);
        assert_eq!(Trials::new(&[]).whole(3, &terms, 1.0), terms);
    }
}

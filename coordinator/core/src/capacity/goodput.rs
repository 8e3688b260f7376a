//! What failures and checkpoints leave of the time: Daly's interval, his closed form, and a simulation.
//!
//! Failures are a Poisson process; a failure loses what was done since the last checkpoint and costs a restart, which may fail too.
//! Source: J. T. Daly, A higher order estimate of the optimum checkpoint interval, FGCS 22 (2006).

use super::random::Stream;

/// The least share of a run's time that it would take without failures, for it to make progress: below, a thousand hours are
/// spent for one.
const LEAST_PROGRESS: f64 = 1e-3;
/// The most failures of all runs of a simulation: a tenth of a second.
const MOST_FAILURES: f64 = 4e6;

/// How a cluster fails and how it goes on; all in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Failures {
    /// Mean time between failures of the whole cluster.
    pub mtbf: f64,
    /// How long a checkpoint holds training up.
    pub checkpoint: f64,
    /// From a failure to the first new step.
    pub restart: f64,
}

/// Quantiles of a simulation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Simulated {
    /// Mean seconds to the end.
    pub mean: f64,
    /// Half of the runs end by then, s.
    pub p50: f64,
    /// Nine of ten, s.
    pub p90: f64,
    /// 99 of 100, s.
    pub p99: f64,
}

impl Failures {
    /// Seconds of work between two checkpoints (Daly's higher order estimate); the MTBF where a checkpoint takes more than twice of it.
    #[must_use]
    pub fn interval(&self) -> f64 {
        let (c, m) = (self.checkpoint, self.mtbf);
        if c >= 2.0 * m {
            return m;
        }
        (2.0 * c * m).sqrt() * (1.0 + (c / (2.0 * m)).sqrt() / 3.0 + c / (18.0 * m)) - c
    }

    /// The same for `work` seconds of steps in equal parts: a run makes whole checkpoints, and the last one is its model.
    #[must_use]
    pub fn interval_of(&self, work: f64) -> f64 {
        work / (work / self.interval()).ceil().max(1.0)
    }

    /// Expected seconds of `work` seconds of steps, with checkpoints `interval` seconds apart (Daly's complete model).
    #[must_use]
    pub fn expected(&self, work: f64, interval: f64) -> f64 {
        let (c, m) = (self.checkpoint, self.mtbf);
        m * (self.restart / m).exp() * ((interval + c) / m).exp_m1() * work / interval
    }

    /// Whether a run comes to its end in a thousand times of what it would take without failures.
    #[must_use]
    pub fn make_progress(&self, work: f64, interval: f64) -> bool {
        let without = work + (work / interval).ceil() * self.checkpoint;
        without >= LEAST_PROGRESS * self.expected(work, interval)
    }

    /// Share of the time in which steps are made that count.
    #[must_use]
    pub fn goodput(&self, interval: f64) -> f64 {
        1.0 / self.expected(1.0, interval)
    }

    /// Runs the whole `runs` times, each with a stream of its own.
    ///
    /// What lies between two checkpoints does not depend on what was before, so of a run that has too many failures a part is
    /// run, and the quantiles are those that mean, variance and skewness of so many parts give (Cornish and Fisher 1938).
    ///
    /// # Panics
    /// With no runs, or where [`Self::make_progress`] denies it: the simulation would hardly end.
    #[must_use]
    pub fn simulate(&self, work: f64, interval: f64, runs: u32, seed: u64) -> Simulated {
        assert!(runs > 0, "a simulation needs a run");
        let expected = self.expected(work, interval);
        assert!(self.make_progress(work, interval), "a run that makes no progress is refused before");
        let parts = expected / self.mtbf * f64::from(runs) / MOST_FAILURES;
        let part = if parts > 1.0 { ((work / parts / interval).ceil() * interval).min(work) } else { work };
        let mut ends: Vec<f64> = (0..runs).map(|run| self.run(part, interval, seed, run)).collect();
        ends.sort_by(f64::total_cmp);
        let more = work / part;
        if more > 1.0 {
            return of_parts(&ends, more);
        }
        let at = |share: f64| ends[((share * ends.len() as f64).ceil() as usize).clamp(1, ends.len()) - 1];
        Simulated { mean: mean_of(&ends, |end| end), p50: at(0.5), p90: at(0.9), p99: at(0.99) }
    }

    fn run(&self, work: f64, interval: f64, seed: u64, run: u32) -> f64 {
        let mut stream = Stream::new(seed, u64::from(run));
        // Equal parts of a run add up to it but for rounding, which is no piece with a checkpoint of its own.
        let pieces = (work / interval - 1e-9).ceil().max(1.0);
        let last = work - (pieces - 1.0) * interval;
        let (mut now, mut done) = (0.0, 0.0);
        let mut failure = self.mtbf * stream.exponential();
        while done < pieces {
            // What ends before the next failure is passed over at once.
            let whole = ((failure - now) / (interval + self.checkpoint)).floor();
            let whole = whole.clamp(0.0, pieces - 1.0 - done);
            (now, done) = (now + whole * (interval + self.checkpoint), done + whole);
            // The last piece is as short as its work, but has its checkpoint: it is the model.
            let piece = if done + 1.0 < pieces { interval } else { last };
            let end = now + piece + self.checkpoint;
            if end <= failure {
                (now, done) = (end, done + 1.0);
                continue;
            }
            now = failure + self.restart;
            failure += self.mtbf * stream.exponential();
            while failure < now {
                now = failure + self.restart;
                failure += self.mtbf * stream.exponential();
            }
        }
        now
    }
}

fn mean_of(ends: &[f64], value: impl Fn(f64) -> f64) -> f64 {
    ends.iter().map(|end| value(*end)).sum::<f64>() / ends.len() as f64
}

/// A run of so many parts that take what `ends` say.
fn of_parts(ends: &[f64], parts: f64) -> Simulated {
    let mean = mean_of(ends, |end| end);
    let deviation = mean_of(ends, |end| (end - mean).powi(2)).sqrt();
    let skewness =
        if deviation > 0.0 { mean_of(ends, |end| ((end - mean) / deviation).powi(3)) } else { 0.0 };
    let (all, spread, skewness) = (mean * parts, deviation * parts.sqrt(), skewness / parts.sqrt());
    let at = |z: f64| all + spread * (z + (z * z - 1.0) * skewness / 6.0);
    // Half, nine of ten and 99 of 100 of a standard normal lie below these.
    Simulated { mean: all, p50: at(0.0), p90: at(1.281_552), p99: at(2.326_348) }
}

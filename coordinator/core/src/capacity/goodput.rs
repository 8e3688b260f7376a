//! What failures and checkpoints leave of the time: Daly's interval, his closed form, and a simulation.
//!
//! Failures are a Poisson process; a failure loses what was done since the last checkpoint and costs a restart, which may fail too.
//! Source: J. T. Daly, A higher order estimate of the optimum checkpoint interval, FGCS 22 (2006).

use super::random::Stream;

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

    /// Share of the time in which steps are made that count.
    #[must_use]
    pub fn goodput(&self, interval: f64) -> f64 {
        1.0 / self.expected(1.0, interval)
    }

    /// Runs the whole `runs` times, each with a stream of its own.
    ///
    /// # Panics
    /// With no runs.
    #[must_use]
    pub fn simulate(&self, work: f64, interval: f64, runs: u32, seed: u64) -> Simulated {
        assert!(runs > 0, "a simulation needs a run");
        let mut ends: Vec<f64> = (0..runs).map(|run| self.run(work, interval, seed, run)).collect();
        ends.sort_by(f64::total_cmp);
        let mean = ends.iter().sum::<f64>() / f64::from(runs);
        let at = |share: f64| ends[((share * ends.len() as f64).ceil() as usize).clamp(1, ends.len()) - 1];
        Simulated { mean, p50: at(0.5), p90: at(0.9), p99: at(0.99) }
    }

    fn run(&self, work: f64, interval: f64, seed: u64, run: u32) -> f64 {
        let mut stream = Stream::new(seed, u64::from(run));
        let (mut now, mut left) = (0.0, work);
        let mut failure = self.mtbf * stream.exponential();
        while left > 0.0 {
            // The last piece is as short as its work, but has its checkpoint: it is the model.
            let piece = left.min(interval);
            let end = now + piece + self.checkpoint;
            if end <= failure {
                (now, left) = (end, left - piece);
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

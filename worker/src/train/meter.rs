//! The meter of a step: where a rank's time goes, phase by phase, and how much memory its process had.
//!
//! Between two laps all time is one phase's; what the clock costs is a few dozen readings a step. Exchanges of rows are
//! told apart by the collectives in them, so nothing that exchanges has to know of the meter.

use std::time::{Duration, Instant};

use muster_collective::{AbortHandle, Collective, Dtype, Error, Flight, Receive, Root, Transport};
use muster_proto::capacity::Phase;
use muster_proto::measured::{Breakdown, Share};

use super::steal::Ticks;

/// Steps at the start whose buffers and caches are cold; they count only where there are no others.
const WARM_UP: u64 = 3;

/// Parts of a step: its phases, and the rest.
const PARTS: usize = Phase::ALL.len() + 1;

/// What some steps took, part by part.
#[derive(Debug, Clone, Copy, Default)]
pub struct Laps {
    steps: u64,
    parts: [Share; PARTS],
}

impl Laps {
    fn add(&mut self, other: &Self) {
        self.steps += other.steps;
        self.parts.iter_mut().zip(other.parts).for_each(|(sum, part)| *sum += part);
    }

    /// The mean of a step, with its part of what others had of the processors in between, and the most memory that this
    /// process had so far.
    fn mean(&self, since: Option<Ticks>, until: Option<Ticks>) -> Breakdown {
        let steps = u32::try_from(self.steps.max(1)).unwrap_or(u32::MAX);
        let mean = |part: &Share| Share { wall: part.wall / steps, inside: part.inside / steps };
        let timed = Phase::ALL.iter().zip(&self.parts).filter(|(_, part)| !part.wall.is_zero());
        let mut breakdown = Breakdown {
            steps: self.steps,
            phases: timed.map(|(phase, part)| (*phase, mean(part))).collect(),
            rest: mean(&self.parts[PARTS - 1]),
            steal: Duration::ZERO,
            peak_bytes: peak_bytes(),
        };
        if let (Some(since), Some(until)) = (since, until) {
            breakdown.steal = since.steal(until, breakdown.step());
        }
        breakdown
    }
}

/// Measures the steps of a rank.
#[derive(Debug)]
pub struct Meter {
    cold: Laps,
    warm: Laps,
    step: Laps,
    /// When the steps that count began.
    ticks: Option<Ticks>,
    since: Instant,
    inside: Duration,
}

impl Default for Meter {
    fn default() -> Self {
        let (cold, warm, step) = Default::default();
        Self { cold, warm, step, ticks: Ticks::now(), since: Instant::now(), inside: Duration::ZERO }
    }
}

impl Meter {
    /// A step begins.
    pub(crate) fn begin(&mut self, collective: &dyn Collective) {
        self.step = Laps { steps: 1, ..Laps::default() };
        (self.since, self.inside) = (Instant::now(), collective.inside());
    }

    /// The time since the lap before was that phase's; `None`: of no phase.
    pub(crate) fn lap(&mut self, phase: Option<Phase>, collective: &dyn Collective) {
        let share = self.lap_share(collective);
        self.add(phase, share);
    }

    /// The time since the lap before was spent on exchanges, each in its phase in turn (later ones in the last), and on
    /// `phase` beside them.
    pub(crate) fn lap_exchanges(&mut self, phase: Phase, exchanges: &[Phase], watched: &Watched<'_>) {
        let mut left = self.lap_share(&*watched.inner);
        for (place, time) in watched.exchanges.iter().enumerate() {
            let Some(exchange) = exchanges.get(place).or(exchanges.last()) else { break };
            self.add(Some(*exchange), Share { wall: *time, inside: *time });
            left.wall = left.wall.saturating_sub(*time);
            left.inside = left.inside.saturating_sub(*time);
        }
        self.add(Some(phase), left);
    }

    /// The step is done.
    pub(crate) fn end(&mut self) -> &Laps {
        if self.cold.steps < WARM_UP {
            self.cold.add(&self.step);
            self.ticks = if self.cold.steps == WARM_UP { Ticks::now() } else { self.ticks };
        } else {
            self.warm.add(&self.step);
        }
        &self.step
    }

    /// The step that was made last.
    #[must_use]
    pub fn last(&self) -> &Laps {
        &self.step
    }

    /// The mean of the steps so far.
    #[must_use]
    pub fn mean(&self) -> Breakdown {
        if self.warm.steps > 0 { &self.warm } else { &self.cold }.mean(self.ticks, Ticks::now())
    }

    fn lap_share(&mut self, collective: &dyn Collective) -> Share {
        let (now, inside) = (Instant::now(), collective.inside());
        let (since, before) = (std::mem::replace(&mut self.since, now), self.inside);
        self.inside = inside;
        Share { wall: now - since, inside: inside.saturating_sub(before) }
    }

    fn add(&mut self, phase: Option<Phase>, share: Share) {
        self.step.parts[phase.map_or(PARTS - 1, |phase| phase as usize)] += share;
    }
}

/// The sum of laps since they were told last.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sum {
    laps: Laps,
    /// When the first of them began.
    since: Option<Ticks>,
    /// When they were told first.
    told: Option<Ticks>,
}

impl Default for Sum {
    fn default() -> Self {
        Self { laps: Laps::default(), since: Ticks::now(), told: None }
    }
}

impl Sum {
    pub(crate) fn add(&mut self, laps: &Laps) {
        self.laps.add(laps);
    }

    /// Laps that come now are told next: since when these were told, another step is under way.
    pub(crate) fn renew(&mut self) {
        *self = Self { laps: Laps::default(), since: self.told, told: None };
    }

    /// The mean; none where nothing was added.
    pub(crate) fn mean(&mut self) -> Option<Breakdown> {
        self.told = self.told.or_else(Ticks::now);
        (self.laps.steps > 0).then(|| self.laps.mean(self.since, self.told))
    }
}

/// The most bytes that were resident in this process so far; 0 where the system does not say.
#[must_use]
pub fn peak_bytes() -> u64 {
    status_bytes("VmHWM:")
}

/// User and system time of this process so far, in seconds: clocks of 100 Hz, as Linux tells them; 0 where the system does not say.
#[must_use]
pub fn process_seconds() -> f64 {
    let status = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name before the other fields may have blanks.
    let fields: Vec<&str> =
        status.rsplit_once(") ").map(|(_, rest)| rest.split(' ').collect()).unwrap_or_default();
    let ticks = |at: usize| fields.get(at).and_then(|ticks| ticks.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

/// What the process's own code and its runtime take now, apart from data: pages of files, and memory of nothing else, as
/// `/proc/self/status` of Linux tells them; 0 where the system does not say.
#[must_use]
pub fn resident_bytes() -> (u64, u64) {
    (status_bytes("RssFile:"), status_bytes("RssAnon:"))
}

fn status_bytes(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes.unwrap_or(0) * 1024
}

/// A collective that notes how long each exchange took.
pub(crate) struct Watched<'a> {
    inner: &'a mut dyn Collective,
    exchanges: Vec<Duration>,
}

impl<'a> Watched<'a> {
    pub(crate) fn new(inner: &'a mut dyn Collective) -> Self {
        Self { inner, exchanges: Vec::new() }
    }

    /// How long each exchange took, in order.
    pub(crate) fn exchanges(&self) -> &[Duration] {
        &self.exchanges
    }
}

impl Collective for Watched<'_> {
    fn rank(&self) -> usize {
        self.inner.rank()
    }

    fn world_size(&self) -> usize {
        self.inner.world_size()
    }

    fn transport(&self) -> Transport {
        self.inner.transport()
    }

    fn all_to_all_bytes(
        &mut self,
        dtype: Dtype,
        send: &[&[u8]],
        recv: &mut dyn Receive,
    ) -> Result<(), Error> {
        let before = self.inner.inside();
        let done = self.inner.all_to_all_bytes(dtype, send, recv);
        self.exchanges.push(self.inner.inside().saturating_sub(before));
        done
    }

    fn all_gather_bytes(&mut self, dtype: Dtype, mine: &[u8], recv: &mut dyn Receive) -> Result<(), Error> {
        self.inner.all_gather_bytes(dtype, mine, recv)
    }

    fn broadcast_bytes(&mut self, dtype: Dtype, root: usize, data: &mut [u8]) -> Result<(), Error> {
        self.inner.broadcast_bytes(dtype, root, data)
    }

    fn all_reduce(&mut self, data: &mut [f32]) -> Result<(), Error> {
        self.inner.all_reduce(data)
    }

    fn all_reduce_tree(&mut self, roots: &[Root<'_>], leaves: usize, out: &mut [f32]) -> Result<(), Error> {
        self.inner.all_reduce_tree(roots, leaves, out)
    }

    fn reduce_scatter(&mut self, data: &[f32], mine: &mut [f32]) -> Result<(), Error> {
        self.inner.reduce_scatter(data, mine)
    }

    fn barrier(&mut self) -> Result<(), Error> {
        self.inner.barrier()
    }

    fn flights(&self) -> Vec<Flight> {
        self.inner.flights()
    }

    fn inside(&self) -> Duration {
        self.inner.inside()
    }

    fn abort_handle(&self) -> AbortHandle {
        self.inner.abort_handle()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(millis: u64) -> Laps {
        let mut laps = Laps { steps: 1, ..Laps::default() };
        laps.parts[Phase::Dense as usize].wall = Duration::from_millis(millis);
        laps
    }

    #[test]
    fn each_telling_of_a_sum_has_the_steal_time_of_its_own_steps() {
        let mut sum = Sum { laps: Laps::default(), since: Some(Ticks::of(0, 0)), told: None };
        sum.add(&step(80));
        sum.add(&step(120));
        sum.told = Some(Ticks::of(70, 30));
        let first = sum.mean().unwrap();
        assert_eq!((first.step(), first.steal), (Duration::from_millis(100), Duration::from_millis(30)));
        assert_eq!(sum.mean().unwrap().steal, first.steal, "told twice, nothing changes");
        sum.renew();
        assert_eq!(sum.laps.steps, 0);
        sum.add(&step(100));
        sum.told = Some(Ticks::of(160, 40));
        // 90 ticks of work and 10 that others had since the first telling, not since the beginning.
        assert_eq!(sum.mean().unwrap().steal, Duration::from_millis(10));
    }

    #[test]
    fn a_sum_of_no_steps_tells_nothing_and_a_system_without_ticks_no_steal() {
        assert_eq!(Sum { laps: Laps::default(), since: None, told: None }.mean(), None);
        let mut silent = Sum { laps: step(50), since: None, told: Some(Ticks::of(1, 1)) };
        assert_eq!(silent.mean().unwrap().steal, Duration::ZERO);
    }
}

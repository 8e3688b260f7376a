//! Gathering: a job waits for as many workers as it asks for, all alike.
//!
//! Which job is served is the pool's word; see `crate::pool`.

use std::collections::BTreeMap;
use std::fmt;

use muster_proto::control::{DeviceKind, Submission};
use muster_proto::ids::WorkerId;
use serde::{Deserialize, Serialize};

use crate::explain::{Group, NotReady};

/// The job waits.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Gathering {
    /// What it was last said to wait for.
    #[serde(skip)]
    pub(crate) reason: Option<NotReady>,
    /// Its place among those that wait for workers of its kind, from 1.
    #[serde(skip)]
    pub(crate) place: Option<u32>,
}

/// A worker without work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Candidate<'a> {
    pub(crate) worker: WorkerId,
    pub(crate) device: DeviceKind,
    pub(crate) numerics: &'a str,
}

/// What ranks of one job have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Kind<'a> {
    device: DeviceKind,
    /// `None` where the job does not mind.
    numerics: Option<&'a str>,
}

impl fmt::Display for Kind<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.numerics {
            Some(numerics) => write!(f, "{} with numerics {numerics}", self.device),
            None => write!(f, "{}", self.device),
        }
    }
}

/// How many workers a job asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wish {
    /// As many as it takes.
    pub(crate) want: usize,
    /// Fewer than these are of no use.
    pub(crate) need: usize,
}

/// Picks the workers of a job, in rank order, out of those without work.
///
/// `numerics` is what the job is bound to, if it is: by its checkpoint, or by the first workers it had. Of several groups of workers that are alike, the one that holds the longest-known worker is taken.
///
/// # Errors
/// Why the job has to wait.
pub(crate) fn choose(
    job: &Submission,
    wish: Wish,
    numerics: Option<&str>,
    idle: &[Candidate<'_>],
) -> Result<Vec<WorkerId>, NotReady> {
    let want = wish.need;
    if idle.len() < want {
        return Err(NotReady::TooFewWorkers { have: idle.len(), want, others: 0 });
    }
    let fits = |candidate: &&Candidate<'_>| {
        job.device.is_none_or(|device| device == candidate.device)
            && numerics.is_none_or(|numerics| numerics == candidate.numerics)
    };
    let pins_numerics = job.reproducible || numerics.is_some();
    let mut groups: BTreeMap<Kind<'_>, Vec<WorkerId>> = BTreeMap::new();
    for candidate in idle.iter().filter(fits) {
        let numerics = pins_numerics.then_some(candidate.numerics);
        groups.entry(Kind { device: candidate.device, numerics }).or_default().push(candidate.worker);
    }
    let enough = groups.values().filter(|workers| workers.len() >= want);
    if let Some(workers) = enough.min_by_key(|workers| workers[0]) {
        return Ok(workers[..workers.len().min(wish.want)].to_vec());
    }
    if groups.is_empty() {
        let numerics = numerics.map(str::to_owned);
        return Err(NotReady::NoneFits { idle: idle.len(), device: job.device, numerics });
    }
    let group = |(kind, workers): (&Kind<'_>, &Vec<WorkerId>)| Group {
        kind: kind.to_string(),
        workers: workers.clone(),
    };
    Err(NotReady::Unlike { want, groups: groups.iter().map(group).collect() })
}

//! What a pass knows: who waits, who holds what, and the rules.

use std::collections::BTreeMap;
use std::time::Duration;

pub use muster_proto::control::Class;
use muster_proto::ids::JobId;
use muster_proto::pool::{PoolRules, TeamRules};

/// A job without workers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The job; those with lower numbers came first.
    pub job: JobId,
    /// Its class.
    pub class: Class,
    /// The team that it counts for.
    pub team: String,
    /// Fewer workers are of no use to it; at least 1.
    pub min: u32,
    /// More are of no use to it.
    pub max: u32,
    /// Since it was submitted, or stopped for another.
    pub waited: Duration,
    /// How long it is likely to run with its minimum, by what it took before; none where nothing is known.
    pub expected: Option<Duration>,
}

/// A job with workers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// The job.
    pub job: JobId,
    /// Its class.
    pub class: Class,
    /// The team that it counts for.
    pub team: String,
    /// Workers that it has, those that it gives back among them.
    pub held: u32,
    /// How many of these it gives back already, and will be free soon.
    pub leaving: u32,
    /// Fewer workers are of no use to it.
    pub min: u32,
    /// More are of no use to it.
    pub max: u32,
    /// Since it was started: what the most recent one loses is least.
    pub ran: Duration,
    /// How long it is likely to run on, by what it took before; none where nothing is known.
    pub expected: Option<Duration>,
    /// How often it was stopped for another.
    pub stopped: u32,
}

impl Running {
    /// Workers that it has and keeps.
    #[must_use]
    pub fn keeps(&self) -> u32 {
        self.held.saturating_sub(self.leaving)
    }

    /// Workers that it could spare without being stopped.
    #[must_use]
    pub fn spare(&self) -> u32 {
        self.keeps().saturating_sub(self.min)
    }
}

/// The rules of a pool.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// How long the first in line lets smaller jobs pass.
    pub patience: Duration,
    /// How long a job waits until it rises by a class.
    pub aging: Duration,
    /// How often a job may be stopped for others.
    pub max_stops: u32,
    /// The most workers that a team may hold; teams that are not named have no limit.
    pub quotas: BTreeMap<String, u32>,
    /// A team with weight 2 may hold twice as much as one with 1 until it is behind it; 1 for those that are not named.
    pub weights: BTreeMap<String, f64>,
}

impl Default for Policy {
    fn default() -> Self {
        Self::from(&PoolRules::default())
    }
}

impl From<&PoolRules> for Policy {
    fn from(rules: &PoolRules) -> Self {
        let quota = |team: &TeamRules| Some((team.name.clone(), team.quota?));
        Self {
            patience: rules.patience,
            aging: rules.aging,
            max_stops: rules.max_stops,
            quotas: rules.teams.iter().filter_map(quota).collect(),
            weights: rules.teams.iter().map(|team| (team.name.clone(), team.weight)).collect(),
        }
    }
}

/// One pass's question, about workers of one kind.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem<'a> {
    /// Workers that nobody holds.
    pub free: u32,
    /// Jobs with workers.
    pub running: &'a [Running],
    /// Jobs without.
    pub waiting: &'a [Waiting],
    /// The rules.
    pub policy: &'a Policy,
}

impl Policy {
    /// The most workers that a team may hold.
    #[must_use]
    pub fn quota(&self, team: &str) -> u32 {
        self.quotas.get(team).copied().unwrap_or(u32::MAX)
    }
}

impl<'a> Problem<'a> {
    /// All workers.
    #[must_use]
    pub fn workers(&self) -> u32 {
        self.free + self.running.iter().map(|running| running.held).sum::<u32>()
    }

    /// Workers that each team holds.
    #[must_use]
    pub fn held_by_team(&self) -> BTreeMap<&'a str, u32> {
        let mut held = BTreeMap::new();
        for running in self.running {
            *held.entry(running.team.as_str()).or_default() += running.held;
        }
        held
    }
}

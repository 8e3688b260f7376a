//! The rules by which jobs share a coordinator's workers.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::reference::{Section, section};
use crate::config::{Problems, Spec};
use crate::units;

/// The most teams with rules of their own.
pub const MAX_TEAMS: usize = 1000;

crate::documented! {
    /// A file for `muster coordinator --pool`: the rules by which jobs share the workers.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    pub struct PoolRules {
        /// How long the first job in line lets smaller ones pass; then free workers are kept for it.
        #[serde(with = "units::duration")]
        pub patience: Duration,
        /// How long a job waits until it rises by a class: a backfill to the scheduled ones, these to the manual ones.
        #[serde(with = "units::duration")]
        pub aging: Duration,
        /// How often a job may be stopped at a checkpoint for jobs of a higher class.
        pub max_stops: u32,
        /// Teams that have rules of their own.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub teams: Vec<TeamRules>,
    }
}

crate::documented! {
    /// A team's share of the workers.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct TeamRules {
        /// Its name, as its jobs give it.
        pub name: String,
        /// The most workers that its jobs may hold together; no limit where absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub quota: Option<u32>,
        /// A team with weight 2 may hold twice as much as one with weight 1 before that one is served first.
        #[serde(default = "one")]
        pub weight: f64,
    }
}

fn one() -> f64 {
    1.0
}

impl Default for PoolRules {
    fn default() -> Self {
        Self {
            patience: Duration::from_secs(600),
            aging: Duration::from_secs(6 * 3600),
            max_stops: 3,
            teams: Vec::new(),
        }
    }
}

impl PoolRules {
    /// Its parts, for the reference.
    #[must_use]
    pub fn sections() -> Vec<Section> {
        vec![section::<Self>(""), section::<TeamRules>("teams[]")]
    }
}

impl Spec for PoolRules {
    fn validate(&self, p: &mut Problems) {
        p.check(self.aging >= Duration::from_secs(1), "aging", || "is less than a second");
        p.check(self.teams.len() <= MAX_TEAMS, "teams", || format!("has more than {MAX_TEAMS} teams"));
        let mut names = BTreeSet::new();
        for team in &self.teams {
            let is_new = names.insert(&team.name);
            p.check(!team.name.is_empty(), "teams", || "has a team without a name");
            p.check(is_new, "teams", || format!("has team {:?} twice", team.name));
            p.check(team.weight.is_finite() && team.weight > 0.0, "teams", || {
                format!("gives team {:?} the weight {}, which is not above 0", team.name, team.weight)
            });
            p.check(team.quota != Some(0), "teams", || {
                format!("gives team {:?} a quota of 0 workers: its jobs would wait for ever", team.name)
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn refused(text: &str) -> String {
        config::parse::<PoolRules>(text, "pool.toml", &[]).unwrap_err().to_string()
    }

    #[test]
    fn rules_that_would_keep_a_team_waiting_for_ever_are_refused() {
        let parsed: PoolRules =
            config::parse("patience = \"1m\"\n[[teams]]\nname = \"ads\"\nquota = 4\n", "pool.toml", &[])
                .unwrap();
        assert_eq!((parsed.patience, parsed.teams[0].weight), (Duration::from_secs(60), 1.0));
        assert!(refused("[[teams]]\nname = \"ads\"\nquota = 0\n").contains("wait for ever"));
        assert!(refused("[[teams]]\nname = \"ads\"\nweight = -1.0\n").contains("not above 0"));
        assert!(refused("[[teams]]\nname = \"a\"\n[[teams]]\nname = \"a\"\n").contains("twice"));
        assert!(refused("patienc = \"1m\"\n").contains("patience"));
    }
}

//! Which versions go, and which must not.

use std::collections::BTreeSet;

use jiff::Timestamp;
use muster_proto::schedule::RetentionSpec;

use super::history::Change;
use super::{Actor, Error, Registry, Version, VersionNumber};
use crate::Write;

impl Registry {
    /// Notes that a run works on a version, which is kept until it lets go.
    ///
    /// # Errors
    /// There is no such version.
    pub fn hold(&mut self, version: VersionNumber, run: &str) -> Result<Vec<Write>, Error> {
        self.version(version)?;
        self.holds.entry(version).or_default().insert(run.to_owned());
        Ok(vec![self.put_holds(version)])
    }

    /// Notes that a run no longer works on any version.
    pub fn let_go(&mut self, run: &str) -> Vec<Write> {
        let held: Vec<VersionNumber> =
            self.holds.iter().filter(|(_, runs)| runs.contains(run)).map(|(version, _)| *version).collect();
        let mut writes = Vec::new();
        for version in held {
            let runs = self.holds.entry(version).or_default();
            runs.remove(run);
            if runs.is_empty() {
                self.holds.remove(&version);
            }
            writes.push(self.put_holds(version));
        }
        writes
    }

    /// Who needs a version, in words; none if nobody does.
    #[must_use]
    pub fn needed_by(&self, version: VersionNumber) -> Option<String> {
        if let Some((alias, _)) = self.aliases().find(|(_, at)| *at == version) {
            return Some(format!("it is what alias {alias} names"));
        }
        let runs = self.holds.get(&version)?;
        runs.first().map(|run| format!("run {run} works on it"))
    }

    /// The versions that go by a policy at `now`, oldest first.
    #[must_use]
    pub fn plan_retention(&self, policy: &RetentionSpec, now: Timestamp) -> Vec<VersionNumber> {
        let free: Vec<&Version> =
            self.versions.values().filter(|version| self.needed_by(version.number).is_none()).collect();
        let mut going = BTreeSet::new();
        if let Some(keep) = policy.keep {
            let over = free.len().saturating_sub(keep as usize);
            going.extend(free[..over].iter().map(|version| version.number));
        }
        if let Some(age) = policy.max_age {
            // A version whose end is beyond the end of time is kept.
            let is_old = |version: &&&Version| version.created.checked_add(age.0).is_ok_and(|end| end <= now);
            going.extend(free.iter().filter(is_old).map(|version| version.number));
        }
        if let Some(most) = policy.max_size {
            let stays = |version: &&Version| !going.contains(&version.number);
            let mut bytes: u64 =
                self.versions.values().filter(stays).map(|version| version.model.bytes).sum();
            let staying: Vec<&&Version> =
                free.iter().filter(|version| !going.contains(&version.number)).collect();
            for version in staying {
                if bytes <= most.bytes() {
                    break;
                }
                bytes -= version.model.bytes;
                going.insert(version.number);
            }
        }
        going.into_iter().collect()
    }

    /// Forgets a version that nobody needs. Its files may go once this is durable.
    ///
    /// # Errors
    /// There is no such version, or somebody needs it.
    pub fn remove(&mut self, version: VersionNumber, actor: Actor<'_>) -> Result<Vec<Write>, Error> {
        let checkpoint = self.version(version)?.model.checkpoint.clone();
        if let Some(by) = self.needed_by(version) {
            return Err(Error::Needed { version, by });
        }
        self.versions.remove(&version);
        let mut writes = vec![self.delete_version(version)];
        writes.extend(self.note(actor, Change::Removed { version, checkpoint }));
        Ok(writes)
    }
}

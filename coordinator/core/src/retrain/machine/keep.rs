//! What is still to be done for no run: calls of hooks for what people did, and folders that may go.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::super::registry::VersionNumber;
use super::super::run::Call;
use super::restore::numbered;
use super::wanted::HookStage;
use super::{Machine, PREFIX, Writes};
use crate::Write;
use crate::stored::put;

/// Calls of hooks that may be owed.
const MOST_OWED: usize = 1000;
/// Folders that could not be removed of which is told.
const MOST_UNREMOVED: usize = 20;

/// A hook's call for what a person did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Owed {
    pub(super) model: String,
    pub(super) version: VersionNumber,
    pub(super) stage: HookStage,
    pub(super) hook: String,
    pub(super) call: Call,
    /// Calls after the first.
    pub(super) retries: u32,
    /// In seconds.
    pub(super) backoff: u64,
    /// What went wrong the last time.
    pub(super) error: Option<String>,
}

/// A folder that may go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Garbage(pub(super) String);

impl Machine {
    fn number(&mut self) -> (u64, Write) {
        self.last += 1;
        (self.last, put(format!("{PREFIX}last"), &self.last))
    }

    /// Owes the hook of a model's schedule a call, if it has one. An earlier one of the model that was not made yet is void.
    pub(super) fn owe(
        &mut self,
        model: &str,
        version: VersionNumber,
        stage: HookStage,
        now: Timestamp,
    ) -> Writes {
        let of_model = self.schedules.values().find_map(|scheduled| {
            let spec = &scheduled.applied.spec;
            if spec.model != model {
                return None;
            }
            Some((spec.promotion.hook.clone()?, spec.promotion.retries, spec.promotion.backoff.as_secs()))
        });
        let mut writes = self.void_owed(model);
        let Some((hook, retries, backoff)) = of_model else { return writes };
        if self.owed.len() >= MOST_OWED {
            return writes;
        }
        let (number, write) = self.number();
        let call = Call { attempt: 1, at: now };
        let owed =
            Owed { model: model.to_owned(), version, stage, hook, call, retries, backoff, error: None };
        writes.extend([write, put(numbered("owed", number), &owed)]);
        self.owed.insert(number, owed);
        writes
    }

    /// Calls that are owed for a model are not to be made any more.
    pub(super) fn void_owed(&mut self, model: &str) -> Writes {
        let void: Vec<u64> =
            self.owed.iter().filter(|(_, owed)| owed.model == model).map(|(number, _)| *number).collect();
        void.into_iter().flat_map(|number| self.settle(number)).collect()
    }

    /// Takes in how an owed call ended; one that failed as often as it may is kept as it is until somebody moves the champion.
    pub fn called(&mut self, number: u64, attempt: u32, end: Result<(), String>, now: Timestamp) -> Writes {
        let Some(owed) = self.owed.get_mut(&number).filter(|owed| owed.call.attempt == attempt) else {
            return Vec::new();
        };
        let Err(error) = end else { return self.settle(number) };
        owed.error = Some(error);
        let after = std::time::Duration::from_secs(owed.backoff);
        owed.call = Call { attempt: attempt + 1, at: now.checked_add(after).unwrap_or(Timestamp::MAX) };
        vec![put(numbered("owed", number), owed)]
    }

    fn settle(&mut self, number: u64) -> Writes {
        self.owed.remove(&number);
        vec![Write::Delete { key: numbered("owed", number) }]
    }

    /// Notes that a folder may go.
    pub(super) fn discard(&mut self, folder: String) -> Writes {
        let (number, write) = self.number();
        let garbage = Garbage(folder);
        let writes = vec![write, put(numbered("garbage", number), &garbage)];
        self.garbage.insert(number, garbage);
        writes
    }

    /// A folder could not be removed; it still may go.
    pub fn not_discarded(&mut self, number: u64, error: String) {
        self.unremoved.insert(number, error);
        while self.unremoved.len() > MOST_UNREMOVED {
            self.unremoved.pop_first();
        }
    }

    /// A folder is gone.
    pub fn discarded(&mut self, number: u64) -> Writes {
        self.unremoved.remove(&number);
        if self.garbage.remove(&number).is_none() {
            return Vec::new();
        }
        vec![Write::Delete { key: numbered("garbage", number) }]
    }
}

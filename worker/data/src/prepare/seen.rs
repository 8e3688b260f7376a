//! Which events repeat one that stays: the rules for duplicates, as a user's events come in the order of time.

use std::collections::{HashMap, HashSet};

use muster_proto::dataset::{CleaningSpec, Duplicates};

/// What an event is to those of its user before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    No,
    Duplicate,
    Near,
}

/// What of a user was seen, as far as the rules ask.
pub(super) struct Seen {
    rule: Duplicates,
    /// In milliseconds; 0 is no rule.
    near: i64,
    user: Option<u32>,
    time: i64,
    last_item: Option<u32>,
    events: HashSet<(u32, u32)>,
    /// When an event of an item and type was last seen that stays.
    last_times: HashMap<(u32, u32), i64>,
}

impl Seen {
    pub(super) fn new(spec: &CleaningSpec) -> Self {
        Self {
            rule: spec.duplicates,
            near: i64::try_from(spec.near_duplicates.as_millis()).unwrap_or(i64::MAX),
            user: None,
            time: 0,
            last_item: None,
            events: HashSet::new(),
            last_times: HashMap::new(),
        }
    }

    /// Looks at the next event in order.
    pub(super) fn look(&mut self, user: u32, item: u32, time: i64, kind: u32) -> Repeat {
        if self.user != Some(user) {
            (self.user, self.time, self.last_item) = (Some(user), time, None);
            self.events.clear();
            self.last_times.clear();
        }
        let is_new = match self.rule {
            Duplicates::Keep => true,
            Duplicates::Exact => {
                if self.time != time {
                    self.time = time;
                    self.events.clear();
                }
                self.events.insert((item, kind))
            }
            Duplicates::Consecutive => self.last_item.replace(item) != Some(item),
            Duplicates::Repeats => self.events.insert((item, 0)),
        };
        if !is_new {
            return Repeat::Duplicate;
        }
        if self.near > 0 {
            let last = self.last_times.entry((item, kind)).or_insert(i64::MIN);
            if *last != i64::MIN && time.saturating_sub(*last) <= self.near {
                return Repeat::Near;
            }
            *last = time;
        }
        Repeat::No
    }
}

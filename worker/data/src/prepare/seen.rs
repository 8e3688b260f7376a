//! Which events repeat one that stays: the rules for duplicates, as a user's events come in the order of time.

use std::collections::{HashMap, HashSet};

use foldhash::fast::RandomState;
use muster_proto::dataset::{CleaningSpec, Duplicates};

/// What an event is to those of its user before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    No,
    Duplicate,
    Near,
}

/// Events of one time that are looked through one by one; more go into a set.
const FEW: usize = 16;

/// What of a user was seen, as far as the rules ask.
pub(super) struct Seen {
    rule: Duplicates,
    /// In milliseconds; 0 is no rule.
    near: i64,
    time: i64,
    last_item: Option<u32>,
    /// Of the time at hand, as long as they are few.
    few: Vec<(u32, u32)>,
    events: HashSet<(u32, u32), RandomState>,
    /// When an event of an item and type was last seen that stays.
    last_times: HashMap<(u32, u32), i64, RandomState>,
}

impl Seen {
    pub(super) fn new(spec: &CleaningSpec) -> Self {
        Self {
            rule: spec.duplicates,
            near: i64::try_from(spec.near_duplicates.as_millis()).unwrap_or(i64::MAX),
            time: i64::MIN,
            last_item: None,
            few: vec![],
            events: HashSet::default(),
            last_times: HashMap::default(),
        }
    }

    /// Begins with another user.
    pub(super) fn begin(&mut self) {
        (self.time, self.last_item) = (i64::MIN, None);
        self.few.clear();
        self.events.clear();
        self.last_times.clear();
    }

    /// Looks at the user's next event in order.
    pub(super) fn look(&mut self, item: u32, time: i64, kind: u32) -> Repeat {
        let is_new = match self.rule {
            Duplicates::Keep => true,
            Duplicates::Exact => self.is_first_of_its_time(item, time, kind),
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

    fn is_first_of_its_time(&mut self, item: u32, time: i64, kind: u32) -> bool {
        if self.time != time {
            self.time = time;
            self.few.clear();
            self.events.clear();
        }
        let event = (item, kind);
        if self.few.contains(&event) {
            return false;
        }
        if self.few.len() < FEW {
            self.few.push(event);
            return true;
        }
        self.events.insert(event)
    }
}

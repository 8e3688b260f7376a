//! Users that are no people: which of a user's events are a bot's, by rate and by number.
//!
//! Held per user at a time: one flag an event and the times of one window.

use std::collections::VecDeque;

use muster_proto::dataset::{BotAction, BotsSpec};

/// What the rules say of a user's events, in the order of time.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Whether each event stays.
    pub(super) stays: Vec<bool>,
    /// How many go for the rate.
    pub(super) by_rate: u64,
    /// How many go for the number.
    pub(super) by_length: u64,
}

/// Judges a user by the times of the events, which ascend.
pub(super) fn judge(spec: &BotsSpec, times: &[i64]) -> Verdict {
    let events = times.len() as u64;
    let mut stays = vec![true; times.len()];
    if spec.action == BotAction::Cut {
        let by_rate = cut_rate(spec, times, &mut stays);
        let over = spec.max_events.map_or(0, |most| (events - by_rate).saturating_sub(most.into()));
        let kept = (0..times.len()).filter(|event| stays[*event]);
        let first: Vec<usize> = kept.take(over as usize).collect();
        first.into_iter().for_each(|event| stays[event] = false);
        return Verdict { stays, by_rate, by_length: over };
    }
    let is_fast = spec.rates().any(|(most, span)| {
        times.windows(most as usize + 1).any(|window| window[most as usize] - window[0] < span)
    });
    let is_long = spec.max_events.is_some_and(|most| events > u64::from(most));
    if is_fast || is_long {
        stays.fill(false);
    }
    Verdict {
        stays,
        by_rate: if is_fast { events } else { 0 },
        by_length: if is_long && !is_fast { events } else { 0 },
    }
}

/// Takes out each event with which a window would hold more than it may of those that stay; gives their number.
fn cut_rate(spec: &BotsSpec, times: &[i64], stays: &mut [bool]) -> u64 {
    let mut windows: Vec<(u32, i64, VecDeque<i64>)> =
        spec.rates().map(|(most, span)| (most, span, VecDeque::new())).collect();
    let mut cut = 0;
    for (time, stays) in times.iter().zip(stays) {
        for (_, span, window) in &mut windows {
            while window.front().is_some_and(|first| time - first >= *span) {
                window.pop_front();
            }
        }
        if windows.iter().any(|(most, _, window)| window.len() >= *most as usize) {
            *stays = false;
            cut += 1;
        } else {
            windows.iter_mut().for_each(|(.., window)| window.push_back(*time));
        }
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1000;

    fn spec(max_per_minute: Option<u32>, max_events: Option<u32>, action: BotAction) -> BotsSpec {
        BotsSpec { max_per_minute, max_per_hour: None, max_events, action }
    }

    #[test]
    fn a_minute_is_sixty_seconds_without_its_first_instant() {
        let at_the_bound = [0, 30 * SECOND, 60 * SECOND];
        let just_within = [0, 30 * SECOND, 60 * SECOND - 1];
        let spec = spec(Some(2), None, BotAction::Drop);
        assert_eq!(judge(&spec, &at_the_bound).by_rate, 0);
        assert_eq!(judge(&spec, &just_within), Verdict { stays: vec![false; 3], by_rate: 3, by_length: 0 });
    }

    #[test]
    fn a_cut_keeps_what_a_person_might_have_done() {
        let times: Vec<i64> = (0..8).map(|event| event * 20 * SECOND).collect();
        let found = judge(&spec(Some(2), Some(3), BotAction::Cut), &times);
        // Of 0, 20, 40, ... 140 s the rate keeps 0, 20, 60, 80, 120, 140; of these the latest three stay.
        assert_eq!(found.stays, [false, false, false, false, true, false, true, true]);
        assert_eq!((found.by_rate, found.by_length), (2, 3));
    }

    #[test]
    fn a_long_user_goes_whole_and_a_fast_one_counts_once() {
        let slow = [0, 100 * SECOND, 200 * SECOND];
        assert_eq!(judge(&spec(None, Some(2), BotAction::Drop), &slow).by_length, 3);
        let found = judge(&spec(Some(2), Some(2), BotAction::Drop), &[0, 0, 0]);
        assert_eq!((found.by_rate, found.by_length), (3, 0));
        assert!(judge(&BotsSpec::default(), &[]).stays.is_empty());
    }
}

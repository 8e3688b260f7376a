//! How far one dataset is from another: what a model that was trained on the other meets.
//!
//! Two measures of each distribution. The population stability index over few groups, the sum of `(p - q) ln(p / q)`, is read by
//! habit as: below 0.1 no change, above 0.25 a great one (N. Siddiqi, Credit Risk Scorecards, 2006); a group that one side lacks counts as
//! [`LEAST`] there. The Jensen-Shannon divergence in bits, the mean of both sides' Kullback-Leibler divergences from their
//! midpoint, is 0 for equal ones and 1 for those that share nothing (J. Lin, IEEE Trans. Inf. Theory 37, 1991).

use std::collections::BTreeMap;

use serde::Serialize;

use super::profile::Profile;
use super::weeks::{Week, by_week};
use crate::store::{Dataset, Error, Items};

/// What the share of a group is taken for that has none.
pub(super) const LEAST: f64 = 1e-4;

/// Groups of items, each with the same share of the other dataset's events.
const GROUPS: usize = 10;

/// How far apart two distributions are.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Distance {
    /// The population stability index; 0 for equal ones.
    pub psi: f64,
    /// The Jensen-Shannon divergence in bits, in 0..1.
    pub jensen_shannon: f64,
}

/// How far a dataset is from another one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Drift {
    /// Name of the other dataset.
    pub against: String,
    /// Of items' shares of events: the index over tenths of the other's events and the unknown items, the divergence over
    /// single items. None where one of both has no items.
    pub popularity: Option<Distance>,
    /// Of event types; none where one of both has none.
    pub event_types: Option<Distance>,
    /// Of hours of the day; none where one of both has no times.
    pub hours: Option<Distance>,
    /// Share of items that the other lacks, in 0..1.
    pub unknown_items: f64,
    /// Share of events with them, in 0..1.
    pub unknown_events: f64,
    /// The same by week.
    pub weeks: Vec<Week>,
    /// Event types of the other, the most frequent first.
    pub their_event_types: Vec<(String, u64)>,
    /// Hours of the other, `[24]`.
    pub their_hours: Option<Vec<u64>>,
}

/// Holds a dataset against another one.
///
/// # Errors
/// A file of one of both is missing or damaged.
pub fn drift(dataset: &Dataset, against: &Dataset) -> Result<Drift, Error> {
    let (ours, theirs) = (Profile::of(dataset)?, Profile::of(against)?);
    let has_items = |of: &Dataset| of.manifest().items_file.is_some();
    let mut found = Drift {
        against: against.manifest().name.clone(),
        popularity: None,
        event_types: by_name(&ours.named_types(), &theirs.named_types()),
        hours: ours.hours.as_ref().zip(theirs.hours.as_ref()).and_then(|(a, b)| distance(a, b)),
        unknown_items: 0.0,
        unknown_events: 0.0,
        weeks: vec![],
        their_event_types: theirs.named_types(),
        their_hours: theirs.hours.map(|hours| hours.to_vec()),
    };
    if !has_items(dataset) || !has_items(against) {
        return Ok(found);
    }
    let mapping = Mapping::new(dataset, &dataset.load_items()?, against, &against.load_items()?);
    found.popularity = mapping.distance(&ours.items, &theirs.items);
    let unknown = |counts: &mut dyn Iterator<Item = (&Option<u32>, &u64)>| {
        counts.filter(|(other, _)| other.is_none()).map(|(_, count)| *count).sum::<u64>()
    };
    let events: u64 = ours.items.iter().sum();
    let unknown_events = unknown(&mut mapping.other.iter().zip(&ours.items));
    let unknown_items = mapping.other.iter().filter(|other| other.is_none()).count();
    found.unknown_items = unknown_items as f64 / mapping.other.len().max(1) as f64;
    found.unknown_events = unknown_events as f64 / events.max(1) as f64;
    found.weeks = by_week(dataset, |item, _| mapping.other[item as usize].is_none())?;
    Ok(found)
}

/// From items of one dataset to those of another, by their keys.
struct Mapping {
    /// The other's id of each of our items.
    other: Vec<Option<u32>>,
}

impl Mapping {
    fn new(dataset: &Dataset, ours: &Items, against: &Dataset, theirs: &Items) -> Self {
        // The unknown item stands for many, which no key tells apart.
        let is_known = |of: &Dataset, id: u32| id > 0 || !of.manifest().unknown_item;
        let other = (0..ours.len() as u32)
            .map(|id| {
                let found = theirs.id(ours.key(id)).filter(|other| is_known(against, *other));
                found.filter(|_| is_known(dataset, id))
            })
            .collect();
        Self { other }
    }

    fn distance(&self, ours: &[u64], theirs: &[u64]) -> Option<Distance> {
        // Our counts in their order, and what they lack behind it, item by item.
        let mut mapped = vec![0; theirs.len()];
        let mut lacking = Vec::new();
        for (other, count) in self.other.iter().zip(ours) {
            match other {
                Some(other) => mapped[*other as usize] += count,
                None => lacking.push(*count),
            }
        }
        let unknown: u64 = lacking.iter().sum();
        let groups = tenths(theirs);
        let grouped = |counts: &[u64]| {
            let mut sums = vec![0; GROUPS + 1];
            groups.iter().zip(counts).for_each(|(group, count)| sums[*group] += count);
            sums
        };
        let mut ours_grouped = grouped(&mapped);
        ours_grouped[GROUPS] = unknown;
        let psi = distance(&ours_grouped, &grouped(theirs))?.psi;
        mapped.append(&mut lacking);
        let mut theirs = theirs.to_vec();
        theirs.resize(mapped.len(), 0);
        Some(Distance { psi, ..distance(&mapped, &theirs)? })
    }
}

/// The group of each item: items by falling count, cut where each tenth of all events is reached.
fn tenths(counts: &[u64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..counts.len()).collect();
    order.sort_by(|a, b| counts[*b].cmp(&counts[*a]).then(a.cmp(b)));
    let total: u64 = counts.iter().sum::<u64>().max(1);
    let mut groups = vec![0; counts.len()];
    let mut before = 0;
    for item in order {
        let group = before as u128 * GROUPS as u128 / u128::from(total);
        groups[item] = (group as usize).min(GROUPS - 1);
        before += counts[item];
    }
    groups
}

fn by_name(ours: &[(String, u64)], theirs: &[(String, u64)]) -> Option<Distance> {
    let mut counts: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    ours.iter().for_each(|(name, count)| counts.entry(name).or_default().0 += count);
    theirs.iter().for_each(|(name, count)| counts.entry(name).or_default().1 += count);
    let (ours, theirs): (Vec<u64>, Vec<u64>) = counts.into_values().unzip();
    distance(&ours, &theirs)
}

/// The distance of two distributions over the same groups; none where one of both has no events.
fn distance(ours: &[u64], theirs: &[u64]) -> Option<Distance> {
    let (our_sum, their_sum) = (ours.iter().sum::<u64>() as f64, theirs.iter().sum::<u64>() as f64);
    if our_sum == 0.0 || their_sum == 0.0 {
        return None;
    }
    let mut found = Distance { psi: 0.0, jensen_shannon: 0.0 };
    for (ours, theirs) in ours.iter().zip(theirs) {
        let (p, q) = (*ours as f64 / our_sum, *theirs as f64 / their_sum);
        if p == 0.0 && q == 0.0 {
            continue;
        }
        let (least_p, least_q) = (p.max(LEAST), q.max(LEAST));
        found.psi += (least_p - least_q) * (least_p / least_q).ln();
        let middle = f64::midpoint(p, q);
        let part = |share: f64| if share > 0.0 { share * (share / middle).log2() } else { 0.0 };
        found.jensen_shannon += f64::midpoint(part(p), part(q));
    }
    // Sums of rounded parts may be a hair outside.
    found.jensen_shannon = found.jensen_shannon.clamp(0.0, 1.0);
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn distances_are_those_of_the_formulas() {
        // p = (0.5, 0.5), q = (0.25, 0.75).
        let found = distance(&[2, 2], &[1, 3]).unwrap();
        let psi = 0.25 * 2_f64.ln() - 0.25 * (0.5_f64 / 0.75).ln();
        assert!((found.psi - psi).abs() < 1e-12, "{found:?}");
        let part = |p: f64, m: f64| p * (p / m).log2();
        let bits = (part(0.5, 0.375) + part(0.5, 0.625) + part(0.25, 0.375) + part(0.75, 0.625)) / 2.0;
        assert!((found.jensen_shannon - bits).abs() < 1e-12, "{found:?}");
    }

    #[test]
    fn what_shares_nothing_is_a_bit_apart() {
        let found = distance(&[5, 0], &[0, 9]).unwrap();
        assert!((found.jensen_shannon - 1.0).abs() < 1e-12 && found.psi > 10.0, "{found:?}");
        assert_eq!(distance(&[0, 0], &[1, 2]), None);
    }

    #[test]
    fn tenths_hold_a_tenth_of_the_events_each() {
        let groups = tenths(&[10; 100]);
        assert!((0..10).all(|group| groups.iter().filter(|found| **found == group).count() == 10));
        assert_eq!(tenths(&[1, 98, 1]), [9, 0, 9]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn distances_are_symmetric_and_zero_for_equals(pairs in prop::collection::vec((0_u64..50, 0_u64..50), 1..30)) {
            let (a, b): (Vec<u64>, Vec<u64>) = pairs.into_iter().unzip();
            if let (Some(there), Some(back)) = (distance(&a, &b), distance(&b, &a)) {
                prop_assert!((there.psi - back.psi).abs() < 1e-9 && there.psi >= 0.0);
                prop_assert!((there.jensen_shannon - back.jensen_shannon).abs() < 1e-9);
                prop_assert!((0.0..=1.0).contains(&there.jensen_shannon));
            }
            if let Some(same) = distance(&a, &a) {
                prop_assert!(same.psi.abs() < 1e-12 && same.jensen_shannon.abs() < 1e-12);
            }
        }
    }
}

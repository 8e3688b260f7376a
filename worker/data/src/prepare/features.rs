//! Derived columns: what can be said of an event by what came before it.
//!
//! They are made last, from the cleaned log, a partition at a time. Nothing looks at what comes after an event, and
//! an event of the same time is not before it; prices are cut where the training events say. Memory beyond a partition's
//! columns: the price bounds, and what [`items`] states.

mod items;

use muster_proto::dataset::{ColumnKind, DatasetSpec, Derived};

use super::error::Error;
use super::ingest::Ingested;
use super::quantile::{at_ranks, key_of, value_of};
use super::stage::Stage;
use crate::store::{Cut, Keys, Partition};
use items::ItemCounts;

/// The bucket of the longest time gap, 2^40 seconds.
const MAX_GAP: u32 = 40;
const DAY: i64 = 86_400_000;
const WEEKDAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// What an event counts as.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Kind {
    is_click: bool,
    is_buy: bool,
}

/// Makes the derived columns.
pub(super) struct Deriver<'s> {
    spec: &'s DatasetSpec,
    /// By provisional id of the event type; of a log without types, one for all.
    kinds: Vec<Kind>,
    /// Position of the price among the numeric columns.
    price: Option<usize>,
    /// Prices at which a bucket begins, but for the first.
    price_bounds: Vec<f32>,
    item_counts: Option<ItemCounts>,
}

impl<'s> Deriver<'s> {
    /// Learns what the columns need to know of the whole log.
    pub(super) fn new(
        spec: &'s DatasetSpec,
        ingested: &Ingested,
        stage: &Stage,
        cut: Cut,
    ) -> Result<Self, Error> {
        let derive = &spec.features.derive;
        let mut deriver = Self {
            spec,
            kinds: kinds(spec, ingested),
            price: ingested.numeric.iter().position(|name| name == "price"),
            price_bounds: vec![],
            item_counts: None,
        };
        if derive.contains(&Derived::PriceBucket) {
            deriver.price_bounds = deriver.price_bounds(stage, cut)?;
        }
        if derive.iter().any(|derived| derived.is_of_items()) {
            deriver.item_counts =
                Some(ItemCounts::count(stage, |partition, event| deriver.kind(partition, event))?);
        }
        Ok(deriver)
    }

    /// The names and vocabularies of the categorical columns, in the order of [`Deriver::derive`].
    pub(super) fn vocabularies(spec: &DatasetSpec) -> Vec<(&'static str, Keys)> {
        let numbers = |values: std::ops::RangeInclusive<u32>| values.map(|value| value.to_string()).collect();
        let of = |derived| -> Vec<String> {
            match derived {
                Derived::TimeGap => numbers(0..=MAX_GAP),
                Derived::Hour => numbers(0..=23),
                Derived::Weekday => WEEKDAYS.map(str::to_owned).into(),
                _ => numbers(1..=spec.features.price_buckets),
            }
        };
        let with_unknown = |derived: Derived| {
            let values = of(derived);
            let keys = std::iter::once("").chain(values.iter().map(String::as_str)).collect();
            (derived.name(), keys)
        };
        spec.features.of_kind(ColumnKind::Categorical).map(with_unknown).collect()
    }

    /// Appends the derived columns to those of a partition whose ids are the provisional ones.
    pub(super) fn derive(&self, index: usize, partition: &Partition) -> Result<DerivedColumns, Error> {
        let features = &self.spec.features;
        let categorical =
            features.of_kind(ColumnKind::Categorical).map(|derived| self.ids(derived, partition)).collect();
        let item_counts = match &self.item_counts {
            Some(counts) => counts.of(index, partition.items.len())?,
            None => items::Columns::default(),
        };
        let is_of_user = |derived: &Derived| matches!(derived, Derived::UserClicks | Derived::UserBuys);
        let of_user = if features.derive.iter().any(is_of_user) {
            self.user_counts(partition)
        } else {
            items::Columns::default()
        };
        let numeric = features
            .of_kind(ColumnKind::Numeric)
            .map(|derived| match derived {
                Derived::UserClicks => of_user.clicks.clone(),
                Derived::UserBuys => of_user.buys.clone(),
                Derived::ItemClicks => item_counts.clicks.clone(),
                Derived::ItemBuys => item_counts.buys.clone(),
                _ => self.sessions(partition),
            })
            .collect();
        Ok(DerivedColumns { categorical, numeric })
    }

    fn kind(&self, partition: &Partition, event: usize) -> Kind {
        let id = if self.spec.columns.event.is_some() { partition.categorical[0][event] as usize } else { 0 };
        self.kinds[id]
    }

    fn ids(&self, derived: Derived, partition: &Partition) -> Vec<u32> {
        let times = &partition.times;
        match derived {
            Derived::TimeGap => with_gaps(partition, |gap| gap.map_or(0, |gap| 1 + gap_bucket(gap))),
            Derived::Hour => times.iter().map(|time| 1 + (time.rem_euclid(DAY) / 3_600_000) as u32).collect(),
            // 1 January 1970 was a Thursday.
            Derived::Weekday => {
                times.iter().map(|time| 1 + (time.div_euclid(DAY) + 3).rem_euclid(7) as u32).collect()
            }
            _ => self.prices(partition).iter().map(|price| self.price_bucket(*price)).collect(),
        }
    }

    fn prices<'p>(&self, partition: &'p Partition) -> &'p [f32] {
        self.price.map_or(&[], |column| &partition.numeric[column])
    }

    /// 0 where the price is unknown, which is stored as 0.
    fn price_bucket(&self, price: f32) -> u32 {
        if price == 0.0 {
            return 0;
        }
        1 + self.price_bounds.partition_point(|bound| *bound <= price) as u32
    }

    /// The known prices of training events at the ranks that cut them into equal shares.
    fn price_bounds(&self, stage: &Stage, cut: Cut) -> Result<Vec<f32>, Error> {
        let visit_prices = |index: usize, visit: &mut dyn FnMut(u64)| -> Result<(), Error> {
            let partition = Partition { cut, ..stage.load(index)? };
            let prices = self.prices(&partition);
            for user in 0..partition.users() {
                let known = prices[partition.train(user)].iter().filter(|price| **price != 0.0);
                known.for_each(|price| visit(key_of(*price)));
            }
            Ok(())
        };
        let known = stage.sum(
            || 0_u64,
            |count, index| visit_prices(index, &mut |_| *count += 1),
            |total, part| *total += part,
        )?;
        if known == 0 {
            return Ok(vec![]);
        }
        let buckets = u64::from(self.spec.features.price_buckets);
        let ranks: Vec<u64> = (1..buckets)
            .map(|bucket| (u128::from(known) * u128::from(bucket) / u128::from(buckets)) as u64)
            .collect();
        let keys = at_ranks(stage, 32, &ranks, visit_prices)?;
        Ok(keys.into_iter().map(value_of).collect())
    }

    fn sessions(&self, partition: &Partition) -> Vec<f32> {
        let longest = i64::try_from(self.spec.features.session_gap.as_millis()).unwrap_or(i64::MAX);
        let mut session = 0.0;
        with_gaps(partition, |gap| {
            match gap {
                None => session = 1.0,
                Some(gap) if gap > longest => session += 1.0,
                Some(_) => {}
            }
            session
        })
    }

    /// Clicks and buys of each event's user at earlier times.
    fn user_counts(&self, partition: &Partition) -> items::Columns {
        let mut columns = items::Columns::default();
        for user in 0..partition.users() {
            let range = partition.range(user);
            let events = range.clone().map(|event| (partition.times[event], self.kind(partition, event)));
            for (clicks, buys) in items::earlier(events) {
                columns.clicks.push(clicks);
                columns.buys.push(buys);
            }
        }
        columns
    }
}

/// The derived columns of a partition.
pub(super) struct DerivedColumns {
    pub(super) categorical: Vec<Vec<u32>>,
    pub(super) numeric: Vec<Vec<f32>>,
}

fn kinds(spec: &DatasetSpec, ingested: &Ingested) -> Vec<Kind> {
    if spec.columns.event.is_none() {
        return vec![Kind { is_click: true, is_buy: false }];
    }
    let is_in = |names: &[String], key: &str| names.iter().any(|name| name == key);
    let kind = |key: &str| Kind {
        is_click: is_in(&spec.features.click_events, key),
        is_buy: is_in(&spec.features.buy_events, key),
    };
    ingested.categories[0].iter().map(kind).collect()
}

/// One value an event, from the milliseconds since the user's event before; none for the first.
fn with_gaps<T>(partition: &Partition, mut value: impl FnMut(Option<i64>) -> T) -> Vec<T> {
    let mut values = Vec::with_capacity(partition.times.len());
    for user in 0..partition.users() {
        let mut last = None;
        for time in &partition.times[partition.range(user)] {
            values.push(value(last.map(|last| time - last)));
            last = Some(*time);
        }
    }
    values
}

/// The whole part of log2(1 + whole seconds).
fn gap_bucket(gap: i64) -> u32 {
    let seconds = (gap / 1000).max(0).cast_unsigned();
    (seconds + 1).ilog2().min(MAX_GAP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_fall_into_powers_of_two() {
        let found: Vec<u32> =
            [0, 999, 1000, 2999, 3000, 7000, i64::MAX].iter().map(|gap| gap_bucket(*gap)).collect();
        assert_eq!(found, [0, 0, 1, 1, 2, 3, MAX_GAP]);
    }
}

//! Derived columns: what can be said of an event by what came before it.
//!
//! They are made last, from the cleaned log, a partition at a time. Nothing looks at what comes after an event, and
//! an event of the same time is not before it; prices are cut where the training events say. Memory beyond a partition's
//! columns: the price bounds, and what [`items`] states.

mod items;

use muster_proto::dataset::{ColumnKind, DatasetSpec, Derived};
use serde::{Deserialize, Serialize};

use super::boundaries::Boundaries;
use super::error::Error;
use super::pass::{Bench, Crew, Pass};
use super::quantile::{Digits, Ordered, at_ranks, value_of};
use crate::store::{Keys, Partition};
use items::Dealt;
pub(super) use items::{CountItems, DealByItem};

/// The bucket of the longest time gap, 2^40 seconds.
const MAX_GAP: u32 = 40;
const DAY: i64 = 86_400_000;
const WEEKDAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// What an event counts as.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Kind {
    is_click: bool,
    is_buy: bool,
}

/// What the events of a log count as.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Kinds {
    /// By provisional id of the event type; of a log without types, one for all.
    by_type: Vec<Kind>,
    has_types: bool,
}

impl Kinds {
    fn new(spec: &DatasetSpec, types: Option<&Keys>) -> Self {
        let (true, Some(types)) = (spec.columns.event.is_some(), types) else {
            return Self { by_type: vec![Kind { is_click: true, is_buy: false }], has_types: false };
        };
        let is_in = |names: &[String], key: &str| names.iter().any(|name| name == key);
        let kind = |key: &str| Kind {
            is_click: is_in(&spec.features.click_events, key),
            is_buy: is_in(&spec.features.buy_events, key),
        };
        Self { by_type: types.iter().map(kind).collect(), has_types: true }
    }

    fn of(&self, partition: &Partition, event: usize) -> Kind {
        self.by_type[if self.has_types { partition.categorical[0][event] as usize } else { 0 }]
    }
}

/// Makes the derived columns.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Deriver {
    kinds: Kinds,
    /// Position of the price among the numeric columns.
    price: Option<usize>,
    /// Prices at which a bucket begins, but for the first: their bits.
    price_bounds: Vec<u32>,
    /// What was counted of items, where that is asked for, see [`items`].
    item_counts: Option<Vec<Dealt>>,
}

impl Deriver {
    /// Learns what the columns need to know of the whole log, whose event types are `types` and numeric columns `numeric`.
    pub(super) fn new(
        crew: &impl Crew,
        bench: &Bench,
        (types, numeric): (Option<&Keys>, &[String]),
        boundaries: &Boundaries,
    ) -> Result<Self, Error> {
        let derive = &bench.spec.features.derive;
        let mut deriver = Self {
            kinds: Kinds::new(&bench.spec, types),
            price: numeric.iter().position(|name| name == "price"),
            price_bounds: vec![],
            item_counts: None,
        };
        if let (true, Some(column)) = (derive.contains(&Derived::PriceBucket), deriver.price) {
            let prices = TrainPrices { column, boundaries: boundaries.clone() };
            deriver.price_bounds =
                price_bounds(crew, bench, &prices)?.into_iter().map(f32::to_bits).collect();
        }
        if derive.iter().any(|derived| derived.is_of_items()) {
            deriver.item_counts = Some(items::count(crew, bench, &deriver.kinds)?);
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
    pub(super) fn derive(
        &self,
        bench: &Bench,
        index: usize,
        partition: &Partition,
    ) -> Result<DerivedColumns, Error> {
        let features = &bench.spec.features;
        let categorical =
            features.of_kind(ColumnKind::Categorical).map(|derived| self.ids(derived, partition)).collect();
        let item_counts = match &self.item_counts {
            Some(found) => items::of(&bench.stage, found, index, partition.items.len())?,
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
                _ => sessions(&bench.spec, partition),
            })
            .collect();
        Ok(DerivedColumns { categorical, numeric })
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
        1 + self.price_bounds.partition_point(|bound| f32::from_bits(*bound) <= price) as u32
    }

    /// Clicks and buys of each event's user at earlier times.
    fn user_counts(&self, partition: &Partition) -> items::Columns {
        let mut columns = items::Columns::default();
        for user in 0..partition.users() {
            let range = partition.range(user);
            let events = range.clone().map(|event| (partition.times[event], self.kinds.of(partition, event)));
            for (clicks, buys) in items::earlier(events) {
                columns.clicks.push(clicks);
                columns.buys.push(buys);
            }
        }
        columns
    }
}

/// The known prices of training events; a price that is unknown is stored as 0.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct TrainPrices {
    /// Position among the numeric columns.
    column: usize,
    boundaries: Boundaries,
}

impl TrainPrices {
    pub(super) fn visit(&self, bench: &Bench, index: usize, visit: &mut dyn FnMut(f32)) -> Result<(), Error> {
        let cut = self.boundaries.cut(&bench.spec);
        let partition = Partition { cut, ..bench.stage.load(index)? };
        let prices = &partition.numeric[self.column];
        for user in 0..partition.users() {
            prices[partition.train(user)]
                .iter()
                .filter(|price| **price != 0.0)
                .for_each(|price| visit(*price));
        }
        Ok(())
    }
}

/// Counts known prices.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct CountPrices {
    pub(super) prices: TrainPrices,
}

impl Pass for CountPrices {
    const NAME: &'static str = "count-prices";
    type Sum = u64;

    fn zero(&self, _: &Bench) -> u64 {
        0
    }

    fn add(&self, bench: &Bench, count: &mut u64, index: usize) -> Result<(), Error> {
        self.prices.visit(bench, index, &mut |_| *count += 1)
    }

    fn merge(total: &mut u64, part: u64) {
        *total += part;
    }
}

/// The prices at the ranks that cut those that are known into equal shares.
fn price_bounds(crew: &impl Crew, bench: &Bench, prices: &TrainPrices) -> Result<Vec<f32>, Error> {
    let known = crew.run(bench, &CountPrices { prices: prices.clone() })?;
    if known == 0 {
        return Ok(vec![]);
    }
    let buckets = u64::from(bench.spec.features.price_buckets);
    let ranks: Vec<u64> = (1..buckets)
        .map(|bucket| (u128::from(known) * u128::from(bucket) / u128::from(buckets)) as u64)
        .collect();
    let keys = at_ranks(32, &ranks, |place| {
        crew.run(bench, &Digits { place, of: Ordered::Prices(prices.clone()) })
    })?;
    Ok(keys.into_iter().map(value_of).collect())
}

/// The derived columns of a partition.
pub(super) struct DerivedColumns {
    pub(super) categorical: Vec<Vec<u32>>,
    pub(super) numeric: Vec<Vec<f32>>,
}

fn sessions(spec: &DatasetSpec, partition: &Partition) -> Vec<f32> {
    let longest = i64::try_from(spec.features.session_gap.as_millis()).unwrap_or(i64::MAX);
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

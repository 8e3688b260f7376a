//! Exact order statistics of more keys than fit into memory, by counting digits.
//!
//! Each pass over the data fixes the next 11 bits of all wanted keys (radix selection). Memory: 2,048 counters per
//! thread and distinct prefix, of which there are at most as many as wanted ranks.

use serde::{Deserialize, Serialize};

use super::error::Error;
use super::features::TrainPrices;
use super::pass::{Bench, Pass};

const DIGIT_BITS: u32 = 11;
const DIGITS: usize = 1 << DIGIT_BITS;

/// Keys whose order is asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Ordered {
    /// Times of events, as distances from the first.
    Times { first: i64 },
    /// Prices of training events.
    Prices(TrainPrices),
}

impl Ordered {
    fn visit(&self, bench: &Bench, index: usize, visit: &mut dyn FnMut(u64)) -> Result<(), Error> {
        match self {
            Self::Times { first } => {
                let times = bench.stage.load(index)?.times;
                times.iter().for_each(|time| visit(time.wrapping_sub(*first).cast_unsigned()));
                Ok(())
            }
            Self::Prices(prices) => prices.visit(bench, index, &mut |price| visit(key_of(price))),
        }
    }
}

/// Which digit is counted of which keys.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Place {
    /// The leading digits of keys that count, ascending.
    prefixes: Vec<u64>,
    /// Bits after the digit.
    shift: u32,
}

impl Place {
    fn zero(&self) -> Vec<u64> {
        vec![0; self.prefixes.len() * DIGITS]
    }

    /// Counts the digit of a key, if it is one that counts.
    fn count(&self, counts: &mut [u64], key: u64) {
        let rest = key >> self.shift;
        if let Ok(row) = self.prefixes.binary_search(&(rest >> DIGIT_BITS)) {
            counts[row * DIGITS + (rest as usize & (DIGITS - 1))] += 1;
        }
    }
}

/// Counts a digit of keys.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Digits {
    pub(super) place: Place,
    pub(super) of: Ordered,
}

impl Pass for Digits {
    const NAME: &'static str = "digits";
    type Sum = Vec<u64>;

    fn zero(&self, _: &Bench) -> Vec<u64> {
        self.place.zero()
    }

    fn add(&self, bench: &Bench, counts: &mut Vec<u64>, index: usize) -> Result<(), Error> {
        self.of.visit(bench, index, &mut |key| self.place.count(counts, key))
    }

    fn merge(total: &mut Vec<u64>, part: Vec<u64>) {
        total.iter_mut().zip(part).for_each(|(total, part)| *total += part);
    }
}

/// The keys at `ranks`, from 0, in the ascending order of all keys, of which `count` counts a digit. Keys have at most
/// `bits` bits, and there are more of them than any rank.
pub(super) fn at_ranks(
    bits: u32,
    ranks: &[u64],
    mut count: impl FnMut(Place) -> Result<Vec<u64>, Error>,
) -> Result<Vec<u64>, Error> {
    let mut wanted: Vec<Wanted> = ranks.iter().map(|rank| Wanted { prefix: 0, rank: *rank }).collect();
    for digit in (0..bits.div_ceil(DIGIT_BITS)).rev() {
        let mut prefixes: Vec<u64> = wanted.iter().map(|wanted| wanted.prefix).collect();
        prefixes.sort_unstable();
        prefixes.dedup();
        let counts = count(Place { prefixes: prefixes.clone(), shift: digit * DIGIT_BITS })?;
        for wanted in &mut wanted {
            let row = prefixes.partition_point(|prefix| *prefix < wanted.prefix);
            wanted.descend(&counts[row * DIGITS..(row + 1) * DIGITS]);
        }
    }
    Ok(wanted.into_iter().map(|wanted| wanted.prefix).collect())
}

/// What is known of a wanted key.
struct Wanted {
    /// Its leading digits.
    prefix: u64,
    /// Its rank among the keys that begin so.
    rank: u64,
}

impl Wanted {
    fn descend(&mut self, counts: &[u64]) {
        let mut digit = 0;
        while digit + 1 < DIGITS && self.rank >= counts[digit] {
            self.rank -= counts[digit];
            digit += 1;
        }
        self.prefix = self.prefix << DIGIT_BITS | digit as u64;
    }
}

/// A key of 32 bits that has the order of `total_cmp`.
pub(super) fn key_of(value: f32) -> u64 {
    let bits = value.to_bits();
    u64::from(if bits >> 31 == 1 { !bits } else { bits | 1 << 31 })
}

/// The number whose key is `key`.
pub(super) fn value_of(key: u64) -> f32 {
    let bits = key as u32;
    f32::from_bits(if bits >> 31 == 1 { bits & !(1 << 31) } else { !bits })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_key_at_a_rank_is_that_of_the_sorted_keys(
            mut keys in prop::collection::vec(prop_oneof![any::<u64>(), 0_u64..50], 1..60),
        ) {
            let ranks: Vec<u64> = (0..keys.len() as u64).collect();
            let found = at_ranks(64, &ranks, |place| {
                let mut counts = place.zero();
                keys.iter().for_each(|key| place.count(&mut counts, *key));
                Ok(counts)
            }).unwrap();
            keys.sort_unstable();
            prop_assert_eq!(found, keys);
        }

        #[test]
        fn keys_of_numbers_have_their_order_and_give_them_back(a in any::<f32>(), b in any::<f32>()) {
            prop_assert_eq!(key_of(a).cmp(&key_of(b)), a.total_cmp(&b));
            prop_assert_eq!(value_of(key_of(a)).to_bits(), a.to_bits());
        }
    }
}

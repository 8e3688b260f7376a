//! Exact order statistics of more keys than fit into memory, by counting digits.
//!
//! Each pass over the data fixes the next 11 bits of all wanted keys (radix selection). Memory: 2,048 counters per
//! thread and distinct prefix, of which there are at most as many as wanted ranks.

use super::error::Error;
use super::stage::Stage;

const DIGIT_BITS: u32 = 11;
const DIGITS: usize = 1 << DIGIT_BITS;

/// Takes keys of a partition.
pub(super) type Visit<'v> = &'v mut dyn FnMut(u64);

/// The keys at `ranks`, from 0, in the ascending order of all keys that `keys` gives per partition. Keys have at most
/// `bits` bits, and there are more of them than any rank.
pub(super) fn at_ranks(
    stage: &Stage,
    bits: u32,
    ranks: &[u64],
    keys: impl Fn(usize, Visit<'_>) -> Result<(), Error> + Sync,
) -> Result<Vec<u64>, Error> {
    let mut places: Vec<Place> = ranks.iter().map(|rank| Place { prefix: 0, rank: *rank }).collect();
    for digit in (0..bits.div_ceil(DIGIT_BITS)).rev() {
        let shift = digit * DIGIT_BITS;
        let mut prefixes: Vec<u64> = places.iter().map(|place| place.prefix).collect();
        prefixes.sort_unstable();
        prefixes.dedup();
        let counts = stage.sum(
            || vec![0_u64; prefixes.len() * DIGITS],
            |counts, index| {
                keys(index, &mut |key| {
                    let rest = key >> shift;
                    if let Ok(row) = prefixes.binary_search(&(rest >> DIGIT_BITS)) {
                        counts[row * DIGITS + (rest as usize & (DIGITS - 1))] += 1;
                    }
                })
            },
            |total, part| total.iter_mut().zip(part).for_each(|(total, part)| *total += part),
        )?;
        for place in &mut places {
            let row = prefixes.partition_point(|prefix| *prefix < place.prefix);
            place.descend(&counts[row * DIGITS..(row + 1) * DIGITS]);
        }
    }
    Ok(places.into_iter().map(|place| place.prefix).collect())
}

/// What is known of a wanted key.
struct Place {
    /// Its leading digits.
    prefix: u64,
    /// Its rank among the keys that begin so.
    rank: u64,
}

impl Place {
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
    use muster_proto::units::ByteSize;
    use proptest::prelude::*;

    use super::*;
    use crate::store::Shape;

    fn stage(partitions: usize) -> Stage {
        Stage {
            dir: "unused".into(),
            shape: Shape { categorical: 0, numeric: 0, is_series: false },
            partitions,
            pool: rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap(),
            workers: 2,
            memory: ByteSize::from_mib(64),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_key_at_a_rank_is_that_of_the_sorted_keys(
            mut keys in prop::collection::vec(prop_oneof![any::<u64>(), 0_u64..50], 1..60),
        ) {
            let ranks: Vec<u64> = (0..keys.len() as u64).collect();
            let found = at_ranks(&stage(3), 64, &ranks, |index, visit| {
                keys.iter().skip(index).step_by(3).for_each(|key| visit(*key));
                Ok(())
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

//! Known answers of the Random123 distribution, and the laws of what is built on them.

use proptest::prelude::*;

use super::*;

#[test]
fn philox_gives_the_known_answers_of_random123() {
    let all = u32::MAX;
    let cases = [
        ([0, 0], [0, 0, 0, 0], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
        ([all, all], [all, all, all, all], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
        (
            [0xa409_3822, 0x299f_31d0],
            [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
        ),
    ];
    for (key, counter, expected) in cases {
        assert_eq!(philox4x32(key, counter), expected);
    }
}

#[test]
fn streams_differ_by_seed_by_purpose_and_by_derivation() {
    let stream = Stream::new(1, 2);
    let others = [Stream::new(2, 2), Stream::new(1, 3), Stream::new(1 << 32 | 1, 2), stream.derive(0, 0)];
    for other in others {
        assert_ne!(stream.words(7, 9), other.words(7, 9));
    }
    assert_eq!(stream, Stream::new(1, 2));
}

#[test]
fn normal_numbers_have_mean_zero_and_variance_one() {
    let stream = Stream::new(3, 0);
    let numbers: Vec<f64> = (0..25_000).flat_map(|i| stream.normal(i, 0)).map(f64::from).collect();
    let n = numbers.len() as f64;
    let mean = numbers.iter().sum::<f64>() / n;
    let moment = |power: i32| numbers.iter().map(|x| (x - mean).powi(power)).sum::<f64>() / n;
    assert!(mean.abs() < 0.01, "mean {mean}");
    assert!((moment(2) - 1.0).abs() < 0.02, "variance {}", moment(2));
    assert!((moment(4) - 3.0).abs() < 0.15, "fourth moment {}", moment(4));
}

proptest! {
    #[test]
    fn a_permutation_holds_each_element_once(n in 0u64..600, key: u64) {
        let permutation = Permutation::new(n, key);
        let mut elements: Vec<u64> = (0..n).map(|i| permutation.at(i)).collect();
        elements.sort_unstable();
        prop_assert_eq!(elements, (0..n).collect::<Vec<_>>());
    }

    #[test]
    fn a_large_permutation_stays_in_range_and_keeps_neighbors_apart(n in 1u64 << 40..u64::MAX, key: u64) {
        let permutation = Permutation::new(n, key);
        let (x, y) = (permutation.at(0), permutation.at(1));
        prop_assert!(x < n && y < n && x != y);
    }

    #[test]
    fn bounded_and_uniform_numbers_stay_in_range(seed: u64, a: u64, b: u64, bound in 1u64..) {
        let stream = Stream::new(seed, 0);
        prop_assert!(stream.below(a, b, bound) < bound);
        prop_assert!(stream.uniform(a, b).iter().all(|x| (0.0..1.0).contains(x)));
    }
}

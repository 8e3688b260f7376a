//! Losses and dropout.

use muster_kernels::Error;
use muster_kernels::dropout::{Dropout, RowKey, dropout};
use muster_kernels::isa::Isa;
use muster_kernels::loss::{Loss, binary_cross_entropy, mean_squared_error};
use muster_kernels::reference;
use muster_kernels::rng::Stream;
use proptest::prelude::*;

use super::{assert_gradient, assert_same_bits, values, wide};

type Fast = fn(Loss<'_>, Isa) -> Result<f64, Error>;
type Plain = fn(&[f32], &[f32], f32) -> (f64, Vec<f32>);
type Wide = fn(&[f64], &[f64], f64) -> (f64, Vec<f64>);

const LOSSES: [(&str, Fast, Plain, Wide); 2] = [
    ("squared error", mean_squared_error, reference::mean_squared_error, reference::mean_squared_error),
    ("cross-entropy", binary_cross_entropy, reference::binary_cross_entropy, reference::binary_cross_entropy),
];

proptest! {
    #[test]
    fn losses_are_the_bits_of_the_reference(
        pairs in prop::collection::vec((-40f32..40.0, 0f32..=1.0), 0..70), scale in 0.001f32..2.0,
    ) {
        let (pred, target): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        for (name, fast, plain, _) in LOSSES {
            let (expected, expected_gradient) = plain(&pred, &target, scale);
            for isa in Isa::available() {
                let mut d_pred = vec![0.0; pred.len()];
                let loss = fast(Loss { pred: &pred, target: &target, scale, d_pred: &mut d_pred }, isa).unwrap();
                prop_assert_eq!(loss.to_bits(), expected.to_bits(), "{} at {}", name, isa);
                assert_same_bits(name, &d_pred, &expected_gradient);
            }
        }
    }

    #[test]
    fn dropout_is_the_bits_of_the_reference(
        rows in 0usize..4, width in 1usize..200, rate in 0f32..0.99, seed: u64,
    ) {
        let stream = Stream::new(seed, 1).derive(3, 0);
        let row_keys: Vec<RowKey> =
            (0..rows).map(|row| RowKey { sample: seed ^ row as u64, position: row as u32 }).collect();
        let input = values(rows * width, 2);
        let mut expected = input.clone();
        reference::dropout(stream, rate, &row_keys, &mut expected);
        for isa in Isa::available() {
            let mut got = input.clone();
            dropout(Dropout { stream, rate, row_keys: &row_keys, values: &mut got }, isa).unwrap();
            assert_same_bits("dropout", &got, &expected);
        }
    }
}

#[test]
fn gradients_of_losses_follow_finite_differences() {
    let (pred, target) = (wide(&values(20, 3)), wide(&values(20, 4)));
    let target: Vec<f64> = target.iter().map(|x| x.abs()).collect();
    for (name, _, _, plain) in LOSSES {
        let (_, gradient) = plain(&pred, &target, 1.0);
        assert_gradient(name, &pred, &gradient, |pred| plain(pred, &target, 1.0).0);
    }
}

#[test]
fn the_cross_entropy_of_a_sure_and_right_answer_is_tiny_but_not_zero() {
    let mut d_pred = [0.0];
    let args = Loss { pred: &[30.0], target: &[1.0], scale: 1.0, d_pred: &mut d_pred };
    let loss = binary_cross_entropy(args, Isa::detect()).unwrap();
    assert!((loss / (-30f64).exp() - 1.0).abs() < 1e-5, "loss {loss:e}");
}

#[test]
fn dropout_follows_the_logical_row_wherever_it_lies() {
    let stream = Stream::new(1, 0).derive(10, 2);
    let keys = [RowKey { sample: 5, position: 0 }, RowKey { sample: 1 << 40, position: 3 }];
    let run = |row_keys: &[RowKey]| {
        let mut values = vec![1.0; row_keys.len() * 128];
        dropout(Dropout { stream, rate: 0.25, row_keys, values: &mut values }, Isa::detect()).unwrap();
        values
    };
    let (both, swapped) = (run(&keys), run(&[keys[1], keys[0]]));
    assert_eq!(both[..128], swapped[128..]);
    assert_eq!(both[128..], swapped[..128]);
    assert_ne!(both[..128], both[128..]);
}

#[test]
fn dropout_keeps_its_share_and_the_mean() {
    let row_keys: Vec<RowKey> = (0..500).map(|sample| RowKey { sample, position: 0 }).collect();
    let mut values = vec![1.0; 500 * 96];
    let args = Dropout { stream: Stream::new(7, 0), rate: 0.3, row_keys: &row_keys, values: &mut values };
    dropout(args, Isa::detect()).unwrap();
    let zeros = values.iter().filter(|&&x| x == 0.0).count() as f64 / values.len() as f64;
    let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / values.len() as f64;
    assert!((zeros - 0.3).abs() < 0.01, "share of zeros {zeros}");
    assert!((mean - 1.0).abs() < 0.015, "mean {mean}");
}

#[test]
fn a_rate_of_one_and_lengths_that_do_not_fit_are_refused() {
    let keys = [RowKey { sample: 0, position: 0 }; 2];
    let run = |rate, values: &mut [f32]| {
        dropout(Dropout { stream: Stream::new(0, 0), rate, row_keys: &keys, values }, Isa::detect())
    };
    let error = run(1.0, &mut [0.0; 4]).unwrap_err();
    assert_eq!(error.to_string(), "dropout: rate is 1, expected in [0, 1)");
    assert!(run(0.5, &mut [0.0; 3]).is_err());
    let args = Loss { pred: &[1.0], target: &[], scale: 1.0, d_pred: &mut [0.0] };
    assert!(mean_squared_error(args, Isa::detect()).is_err());
}

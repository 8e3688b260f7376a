//! The affine layer.

use muster_kernels::gemm::Beta;
use muster_kernels::isa::Isa;
use muster_kernels::linear::{Backward, Forward, Weights, backward, forward};
use muster_kernels::matrix::MatrixRef;
use muster_kernels::reference::{self, Linear};
use muster_kernels::scratch::Scratch;
use proptest::prelude::*;

use super::{assert_gradient, assert_same_bits, values, wide};

fn assert_conforms(rows: usize, input: usize, output: usize) {
    let (x, w, b) = (values(rows * input, 1), values(output * input, 2), values(output, 3));
    let d_y = values(rows * output, 4);
    let view = MatrixRef::row_major(&w, output, input).unwrap();
    let plain = Linear { rows, w: view, b: &b, x: &x };
    let expected = plain.backward(&d_y);
    for isa in Isa::available() {
        let mut scratch = Scratch::new(isa);
        let mut weights = Weights::new(isa);
        weights.pack([output, input], &w, Some(&b)).unwrap();
        let mut y = vec![0.0; rows * output];
        forward(Forward { rows, weights: &weights, x: &x, y: &mut y }, &mut scratch).unwrap();
        assert_same_bits("y", &y, &plain.forward());

        let (mut d_x, mut d_w, mut d_b) = (vec![0.0; x.len()], vec![0.0; w.len()], vec![0.0; output]);
        let args = Backward {
            rows,
            weights: &weights,
            x: &x,
            d_y: &d_y,
            d_x: Some(&mut d_x),
            d_w: &mut d_w,
            d_b: Some(&mut d_b),
            beta: Beta::Overwrite,
        };
        backward(args, &mut scratch).unwrap();
        assert_same_bits("d_x", &d_x, &expected.x);
        assert_same_bits("d_w", &d_w, &expected.w);
        assert_same_bits("d_b", &d_b, &expected.b);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn the_layer_is_the_bits_of_the_reference(rows in 0usize..30, input in 0usize..40, output in 0usize..40) {
        assert_conforms(rows, input, output);
    }
}

#[test]
fn more_rows_than_a_block_of_sums_change_nothing() {
    assert_conforms(300, 9, 21);
}

#[test]
fn gradients_follow_finite_differences() {
    let (rows, input, output) = (3, 5, 4);
    let (x, w) = (wide(&values(rows * input, 1)), wide(&values(output * input, 2)));
    let (b, d_y) = (wide(&values(output, 3)), wide(&values(rows * output, 4)));
    let loss = |x: &[f64], w: &[f64], b: &[f64]| {
        let layer = Linear { rows, w: MatrixRef::row_major(w, output, input).unwrap(), b, x };
        layer.forward().iter().zip(&d_y).map(|(y, d)| y * d).sum::<f64>()
    };
    let layer = Linear { rows, w: MatrixRef::row_major(&w, output, input).unwrap(), b: &b, x: &x };
    let gradients = layer.backward(&d_y);
    assert_gradient("x", &x, &gradients.x, |x| loss(x, &w, &b));
    assert_gradient("w", &w, &gradients.w, |w| loss(&x, w, &b));
    assert_gradient("b", &b, &gradients.b, |b| loss(&x, &w, b));
    assert_eq!(reference::column_sums(&d_y, output), gradients.b);
}

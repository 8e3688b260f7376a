//! Sampled softmax and the dot scorer.

use super::{assert_slopes, bits, levels, normals, wide};
use crate::scratch::Scratch;
use crate::softmax::dot::{self, DotGrads, DotInput, dot_backward, dot_forward};
use crate::softmax::sampled::{
    Candidates, SampledBuffers, SampledGrads, SampledInput, reference, sampled_softmax,
};

/// One micro-batch whose negatives hit some targets.
struct Case<T> {
    dim: usize,
    hidden: Vec<T>,
    weights: Vec<T>,
    target_rows: Vec<T>,
    target_bias: Vec<T>,
    target_ids: Vec<u32>,
    target_log_q: Vec<T>,
    negative_rows: Vec<T>,
    negative_bias: Vec<T>,
    negative_ids: Vec<u32>,
    negative_log_q: Vec<T>,
}

fn case(n: usize, k: usize, dim: usize) -> Case<f32> {
    Case {
        dim,
        hidden: normals(1, n * dim, 1.0),
        weights: (0..n).map(|i| if i % 4 == 3 { 0.0 } else { 0.5 + i as f32 }).collect(),
        target_rows: normals(2, n * dim, 0.8),
        target_bias: normals(3, n, 0.3),
        target_ids: (0..n as u32).map(|i| i * 3 % 11).collect(),
        target_log_q: normals(4, n, 1.0),
        negative_rows: normals(5, k * dim, 0.8),
        negative_bias: normals(6, k, 0.3),
        negative_ids: (0..k as u32).map(|i| i * 5 % 13).collect(),
        negative_log_q: normals(7, k, 1.0),
    }
}

impl<T> Case<T> {
    fn input(&self) -> SampledInput<'_, T> {
        SampledInput {
            dim: self.dim,
            hidden: &self.hidden,
            weights: &self.weights,
            targets: Candidates {
                rows: &self.target_rows,
                bias: Some(&self.target_bias),
                ids: &self.target_ids,
                log_q: &self.target_log_q,
            },
            negatives: Candidates {
                rows: &self.negative_rows,
                bias: Some(&self.negative_bias),
                ids: &self.negative_ids,
                log_q: &self.negative_log_q,
            },
        }
    }

    /// Arrays for the gradients, in the order of [`places`].
    fn arrays(&self, value: T) -> [Vec<T>; 5]
    where
        T: Copy,
    {
        let like = |values: &[T]| vec![value; values.len()];
        [
            like(&self.hidden),
            like(&self.target_rows),
            like(&self.negative_rows),
            like(&self.target_bias),
            like(&self.negative_bias),
        ]
    }
}

fn places<T>(arrays: &mut [Vec<T>; 5]) -> SampledGrads<'_, T> {
    let [d_hidden, d_targets, d_negatives, d_target_bias, d_negative_bias] = arrays;
    SampledGrads {
        d_hidden,
        d_targets,
        d_negatives,
        d_target_bias: Some(d_target_bias),
        d_negative_bias: Some(d_negative_bias),
    }
}

#[test]
fn every_level_gives_the_reference_bit_for_bit() {
    let mut buffers = SampledBuffers::default();
    for (n, k, dim) in [(1, 1, 1), (9, 37, 12), (20, 64, 33), (5, 0, 8), (0, 7, 8), (3, 300, 4)] {
        let case = case(n, k, dim);
        let mut expected = case.arrays(0.0);
        let expected_loss = reference::sampled_softmax(case.input(), places(&mut expected));
        for isa in levels() {
            let mut scratch = Scratch::new(isa);
            let mut got = case.arrays(3.0);
            let loss = sampled_softmax(case.input(), places(&mut got), &mut buffers, &mut scratch).unwrap();
            assert_eq!(loss.to_bits(), expected_loss.to_bits(), "loss of {n} x {k} x {dim} at {isa}");
            for (i, (got, expected)) in got.iter().zip(&expected).enumerate() {
                assert_eq!(bits(got), bits(expected), "gradient {i} of {n} x {k} x {dim} at {isa}");
            }
        }
    }
}

#[test]
fn gradients_are_the_slopes_of_the_loss() {
    let narrow = case(4, 9, 3);
    let case = Case {
        dim: 3,
        hidden: wide(&narrow.hidden),
        weights: wide(&narrow.weights),
        target_rows: wide(&narrow.target_rows),
        target_bias: wide(&narrow.target_bias),
        target_ids: narrow.target_ids,
        target_log_q: wide(&narrow.target_log_q),
        negative_rows: wide(&narrow.negative_rows),
        negative_bias: wide(&narrow.negative_bias),
        negative_ids: narrow.negative_ids,
        negative_log_q: wide(&narrow.negative_log_q),
    };
    let loss = |input: SampledInput<'_, f64>| {
        let mut ignored = case.arrays(0.0);
        reference::sampled_softmax(input, places(&mut ignored))
    };
    let mut grads = case.arrays(0.0);
    reference::sampled_softmax(case.input(), places(&mut grads));
    let input = case.input();
    let targets = input.targets;
    let negatives = input.negatives;
    assert_slopes("d_hidden", &case.hidden, &grads[0], |hidden| loss(SampledInput { hidden, ..input }));
    assert_slopes("d_targets", &case.target_rows, &grads[1], |rows| {
        loss(SampledInput { targets: Candidates { rows, ..targets }, ..input })
    });
    assert_slopes("d_negatives", &case.negative_rows, &grads[2], |rows| {
        loss(SampledInput { negatives: Candidates { rows, ..negatives }, ..input })
    });
    assert_slopes("d_target_bias", &case.target_bias, &grads[3], |bias| {
        loss(SampledInput { targets: Candidates { bias: Some(bias), ..targets }, ..input })
    });
    assert_slopes("d_negative_bias", &case.negative_bias, &grads[4], |bias| {
        loss(SampledInput { negatives: Candidates { bias: Some(bias), ..negatives }, ..input })
    });
}

#[test]
fn an_accidental_hit_takes_no_part() {
    let mut case = case(1, 2, 4);
    case.weights = vec![1.0];
    case.target_ids = vec![5];
    case.negative_ids = vec![5, 6];
    let mut grads = case.arrays(1.0);
    let mut scratch = Scratch::new(levels()[0]);
    let loss =
        sampled_softmax(case.input(), places(&mut grads), &mut SampledBuffers::default(), &mut scratch)
            .unwrap();
    assert_eq!(grads[4][0], 0.0);
    assert_eq!(grads[2][..4], [0.0; 4]);
    assert!(loss > 0.0 && grads[4][1] > 0.0);
}

#[test]
fn dot_scores_and_their_gradients_follow_the_reference_and_the_slopes() {
    let (n, dim) = (5, 19);
    let (hidden, rows) = (normals(1, n * dim, 1.0), normals(2, n * dim, 1.0));
    let (bias, d_pred) = (normals(3, n, 1.0), normals(4, n, 1.0));
    let input = DotInput { dim, hidden: &hidden, rows: &rows, bias: Some(&bias) };
    for isa in levels() {
        let mut pred = vec![0.0; n];
        dot_forward(input, &mut pred, isa).unwrap();
        assert_eq!(bits(&pred), bits(&dot::reference::dot_forward(input)));
        let mut got = [vec![1.0; n * dim], vec![1.0; n * dim]];
        let mut expected = got.clone();
        let [d_hidden, d_rows] = &mut got;
        dot_backward(input, &d_pred, DotGrads { d_hidden, d_rows }, isa).unwrap();
        let [d_hidden, d_rows] = &mut expected;
        dot::reference::dot_backward(input, &d_pred, DotGrads { d_hidden, d_rows });
        assert_eq!((bits(&got[0]), bits(&got[1])), (bits(&expected[0]), bits(&expected[1])));
    }
    let (hidden, rows, d_pred) = (wide(&hidden), wide(&rows), wide(&d_pred));
    let (mut d_hidden, mut d_rows) = (vec![0.0; n * dim], vec![0.0; n * dim]);
    let input = DotInput { dim, hidden: &hidden, rows: &rows, bias: None };
    let grads = DotGrads { d_hidden: &mut d_hidden, d_rows: &mut d_rows };
    dot::reference::dot_backward(input, &d_pred, grads);
    let loss = |input: DotInput<'_, f64>| {
        dot::reference::dot_forward(input).iter().zip(&d_pred).map(|(p, d)| p * d).sum()
    };
    assert_slopes("d_hidden", &hidden, &d_hidden, |hidden| loss(DotInput { hidden, ..input }));
    assert_slopes("d_rows", &rows, &d_rows, |rows| loss(DotInput { rows, ..input }));
}

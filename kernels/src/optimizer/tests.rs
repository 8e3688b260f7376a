//! The optimizers against their references, bit for bit, and against ten steps of PyTorch's.

use proptest::prelude::*;

use super::*;
use crate::isa::Isa;
use crate::rng::Stream;

const SGD: Sgd = Sgd { lr: 0.1, momentum: 0.9, weight_decay: 0.05, nesterov: false };
const ADAM: Adam = Adam { lr: 0.01, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.05 };
const ADAMW: AdamW = AdamW { lr: 0.01, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.05 };
const ADAGRAD: Adagrad = Adagrad { lr: 0.1, lr_decay: 0.01, eps: 1e-10, weight_decay: 0.05 };
const ROWWISE: RowwiseAdagrad = RowwiseAdagrad { lr: 0.1, eps: 1e-8, weight_decay: 0.05 };

/// An optimizer with its state taken as a list, so that one test body serves all.
#[derive(Clone, Copy, Debug)]
enum Any {
    Sgd(Sgd),
    Adam(Adam),
    AdamW(AdamW),
    Adagrad(Adagrad),
    Rowwise(RowwiseAdagrad),
}

const ALL: [Any; 7] = [
    Any::Sgd(Sgd { momentum: 0.0, ..SGD }),
    Any::Sgd(SGD),
    Any::Sgd(Sgd { nesterov: true, ..SGD }),
    Any::Adam(ADAM),
    Any::AdamW(ADAMW),
    Any::Adagrad(ADAGRAD),
    Any::Rowwise(ROWWISE),
];

/// Parameters and state of `rows` rows.
#[derive(Clone, Debug, PartialEq)]
struct Model {
    dim: usize,
    params: Vec<f32>,
    state: Vec<Vec<f32>>,
}

impl Any {
    fn kind(&self) -> Kind {
        match self {
            Self::Sgd(_) => Kind::Sgd,
            Self::Adam(_) => Kind::Adam,
            Self::AdamW(_) => Kind::AdamW,
            Self::Adagrad(_) => Kind::Adagrad,
            Self::Rowwise(_) => Kind::RowwiseAdagrad,
        }
    }

    fn model(&self, params: Vec<f32>, dim: usize) -> Model {
        let rows = params.len() / dim;
        let state = state_slots(self.kind()).iter().map(|slot| vec![0.0; rows * slot.per_row.count(dim)]);
        Model { dim, state: state.collect(), params }
    }

    fn update(&self, step: u64, model: &mut Model, grads: &[f32], isa: Isa) {
        let Model { dim, params, state } = model;
        match (self, &mut state[..]) {
            (Self::Sgd(spec), [buffer]) => spec.update(params, grads, [buffer], isa),
            (Self::Adam(spec), [m, v]) => spec.update(step, params, grads, [m, v], isa),
            (Self::AdamW(spec), [m, v]) => spec.update(step, params, grads, [m, v], isa),
            (Self::Adagrad(spec), [sum]) => spec.update(step, params, grads, [sum], isa),
            (Self::Rowwise(spec), [sum]) => spec.update(*dim, params, grads, sum, isa),
            (_, state) => panic!("{} state arrays", state.len()),
        }
        .unwrap();
    }

    fn update_rows(&self, step: u64, model: &mut Model, rows: Rows<'_>, isa: Isa) {
        let Model { params, state, .. } = model;
        match (self, &mut state[..]) {
            (Self::Sgd(spec), [buffer]) => spec.update_rows(rows, params, [buffer], isa),
            (Self::Adam(spec), [m, v]) => spec.update_rows(step, rows, params, [m, v], isa),
            (Self::AdamW(spec), [m, v]) => spec.update_rows(step, rows, params, [m, v], isa),
            (Self::Adagrad(spec), [sum]) => spec.update_rows(step, rows, params, [sum], isa),
            (Self::Rowwise(spec), [sum]) => spec.update_rows(rows, params, sum, isa),
            (_, state) => panic!("{} state arrays", state.len()),
        }
        .unwrap();
    }

    fn reference(&self, step: u64, model: &mut Model, grads: &[f32]) {
        let Model { dim, params, state } = model;
        match (self, &mut state[..]) {
            (Self::Sgd(spec), [buffer]) => reference::sgd(spec, params, grads, buffer),
            (Self::Adam(spec), [m, v]) => reference::adam(spec, step, params, grads, [m, v]),
            (Self::AdamW(spec), [m, v]) => reference::adamw(spec, step, params, grads, [m, v]),
            (Self::Adagrad(spec), [sum]) => reference::adagrad(spec, step, params, grads, sum),
            (Self::Rowwise(spec), [sum]) => reference::rowwise_adagrad(spec, *dim, params, grads, sum),
            (_, state) => panic!("{} state arrays", state.len()),
        }
    }
}

fn normals(purpose: u32, len: usize) -> Vec<f32> {
    let stream = Stream::new(5, purpose);
    (0..len).map(|i| stream.normal(i as u64 / 4, 0)[i % 4]).collect()
}

proptest! {
    #[test]
    fn every_level_gives_the_reference_bit_for_bit(rows in 0usize..40, dim in 1usize..70) {
        for optimizer in ALL {
            for isa in Isa::available() {
                let mut got = optimizer.model(normals(1, rows * dim), dim);
                let mut expected = got.clone();
                for step in 1..4 {
                    let grads = normals(step as u32 + 1, rows * dim);
                    optimizer.update(step, &mut got, &grads, isa);
                    optimizer.reference(step, &mut expected, &grads);
                }
                prop_assert_eq!(&got, &expected, "{:?} at {}", optimizer, isa);
            }
        }
    }

    #[test]
    fn touched_rows_are_updated_as_alone_and_others_stay(dim in 1usize..40, mask in prop::collection::vec(any::<bool>(), 1..50)) {
        let ids: Vec<u32> = (0..mask.len() as u32).filter(|&id| mask[id as usize]).collect();
        let grads = normals(2, ids.len() * dim);
        for optimizer in ALL {
            let before = optimizer.model(normals(1, mask.len() * dim), dim);
            let mut got = before.clone();
            let rows = Rows { ids: &ids, grads: &grads, dim };
            optimizer.update_rows(3, &mut got, rows, Isa::detect());
            let mut expected = before.clone();
            for (i, &id) in ids.iter().enumerate() {
                let slice = |values: &[f32], per_row: usize| values[id as usize * per_row..][..per_row].to_vec();
                let mut one = optimizer.model(slice(&before.params, dim), dim);
                optimizer.update(3, &mut one, &grads[i * dim..(i + 1) * dim], Isa::detect());
                expected.params[id as usize * dim..][..dim].copy_from_slice(&one.params);
                for (all, own) in expected.state.iter_mut().zip(&one.state) {
                    all[id as usize * own.len()..][..own.len()].copy_from_slice(own);
                }
            }
            prop_assert_eq!(&got, &expected, "{:?}", optimizer);
        }
    }
}

#[test]
fn ten_steps_agree_with_pytorch() {
    let golden: serde_json::Value =
        serde_json::from_str(include_str!("../../testdata/golden_optim.json")).unwrap();
    let floats = |value: &serde_json::Value| -> Vec<f32> {
        value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect()
    };
    for (name, optimizer) in [
        ("sgd", Any::Sgd(Sgd { momentum: 0.0, ..SGD })),
        ("sgd_momentum", Any::Sgd(SGD)),
        ("sgd_nesterov", Any::Sgd(Sgd { weight_decay: 0.0, nesterov: true, ..SGD })),
        ("adam", Any::Adam(Adam { weight_decay: 0.0, ..ADAM })),
        ("adam_l2", Any::Adam(ADAM)),
        ("adamw", Any::AdamW(ADAMW)),
        ("adagrad", Any::Adagrad(ADAGRAD)),
        ("rowwise_adagrad", Any::Rowwise(ROWWISE)),
    ] {
        let case = &golden[name];
        let mut model = optimizer.model(floats(&case["start"]), 3);
        for (step, grads) in (1..).zip(case["grads"].as_array().unwrap()) {
            optimizer.update(step, &mut model, &floats(grads), Isa::detect());
        }
        assert_close(name, &model.params, &floats(&case["end"]));
        for (slot, state) in state_slots(optimizer.kind()).iter().zip(&model.state) {
            if let Some(expected) = case["state"].get(slot.name) {
                assert_close(&format!("{name}'s {}", slot.name), state, &floats(expected));
            }
        }
    }
}

/// Ten steps of a few roundings each, on values around 1.
fn assert_close(name: &str, got: &[f32], expected: &[f32]) {
    assert_eq!(got.len(), expected.len(), "{name}");
    for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
        assert!(
            (got - expected).abs() < 1e-6 * expected.abs().max(1.0),
            "{name}[{i}]: {got}, PyTorch {expected}"
        );
    }
}

#[test]
fn column_blocks_with_added_squares_equal_whole_rows() {
    let (dim, rows) = (32, 5);
    let (params, grads) = (normals(1, rows * dim), normals(2, rows * dim));
    let ids: Vec<u32> = (0..rows as u32).collect();
    let isa = Isa::detect();
    let mut whole = Any::Rowwise(ROWWISE).model(params.clone(), dim);
    Any::Rowwise(ROWWISE).update(1, &mut whole, &grads, isa);
    let block = |values: &[f32], b: usize| -> Vec<f32> {
        values.chunks(dim).flat_map(|row| row[b * 16..(b + 1) * 16].to_vec()).collect()
    };
    let mut total = vec![0.0; rows];
    for b in 0..2 {
        let (params, grads, mut squares) = (block(&params, b), block(&grads, b), vec![0.0; rows]);
        let rows = Rows { ids: &ids, grads: &grads, dim: 16 };
        ROWWISE.squares(rows, &params, &mut squares, isa).unwrap();
        total.iter_mut().zip(squares).for_each(|(total, square)| *total += square);
    }
    for b in 0..2 {
        let (mut params, grads, mut sum) = (block(&params, b), block(&grads, b), vec![0.0; rows]);
        let rows = Rows { ids: &ids, grads: &grads, dim: 16 };
        let squares = RowSquares { squares: &total, full_dim: dim };
        ROWWISE.update_rows_with_squares(rows, squares, &mut params, &mut sum, isa).unwrap();
        for (got, expected) in
            params.iter().zip(block(&whole.params, b)).chain(sum.iter().zip(whole.state[0].clone()))
        {
            assert!((got - expected).abs() < 1e-6, "{got} against {expected}");
        }
    }
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let isa = Isa::detect();
    let error = ADAM.update(0, &mut [], &[], [&mut [], &mut []], isa).unwrap_err();
    assert_eq!(error.to_string(), "adam: step is 0, expected 1 or more");
    let error = SGD.update(&mut [0.0; 2], &[0.0; 2], [&mut [0.0]], isa).unwrap_err();
    assert_eq!(error.to_string(), "sgd: length of a state array is 1, expected 2");
    let rows = Rows { ids: &[4], grads: &[0.0; 2], dim: 2 };
    let error = ADAGRAD.update_rows(1, rows, &mut [0.0; 6], [&mut [0.0; 6]], isa).unwrap_err();
    assert_eq!(error.to_string(), "adagrad: row id is 4 of 3 rows, expected a row of the table shard");
}

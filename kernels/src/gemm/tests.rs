//! The fast product against the reference, bit for bit, at every level of this machine.

use proptest::prelude::*;

use super::*;
use crate::isa::Isa;
use crate::reference;

fn values(len: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_769).wrapping_add(1);
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

fn operand(data: &[f32], shape: [usize; 2], transposed: bool) -> MatrixRef<'_> {
    let [rows, cols] = shape;
    if transposed {
        MatrixRef::row_major(data, cols, rows).unwrap().transposed()
    } else {
        MatrixRef::row_major(data, rows, cols).unwrap()
    }
}

fn assert_same_bits(shape: [usize; 3], transposed: [bool; 2], beta: Beta) {
    let [m, n, k] = shape;
    let (a, b, c) = (values(m * k, 1), values(k * n, 2), values(m * (n + 3), 3));
    let (a, b) = (operand(&a, [m, k], transposed[0]), operand(&b, [k, n], transposed[1]));
    let mut expected = c.clone();
    reference::gemm(a, b, &mut MatrixMut::strided(&mut expected, [m, n], n + 3).unwrap(), beta);
    for isa in Isa::available() {
        let mut scratch = Scratch::new(isa);
        let mut got = c.clone();
        let view = MatrixMut::strided(&mut got, [m, n], n + 3).unwrap();
        gemm(Gemm { a, b, c: view, beta }, &mut scratch).unwrap();
        assert_eq!(bits(&got), bits(&expected), "gemm at {isa}, {shape:?}");

        let mut got = c.clone();
        let mut packed = PackedB::new(isa);
        packed.pack(b);
        let middle = n.min(PackedB::COLUMN_MULTIPLE);
        for columns in [0..middle, middle..n] {
            let start = columns.start.min(got.len());
            let view = MatrixMut::strided(&mut got[start..], [m, columns.len()], n + 3).unwrap();
            gemm_packed(GemmPacked { a, b: &packed, columns, c: view, beta }, &mut scratch).unwrap();
        }
        assert_eq!(bits(&got), bits(&expected), "gemm_packed at {isa}, {shape:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_level_gives_the_bits_of_the_reference(
        m in 0usize..40, n in 0usize..70, k in prop_oneof![0usize..20, 250usize..270],
        transposed: [bool; 2], accumulate: bool,
    ) {
        // A packed range starts at a multiple of 32, so the split in the test needs n past that or one range.
        let n = if n < 32 { n } else { n.max(33) };
        let beta = if accumulate { Beta::Accumulate } else { Beta::Overwrite };
        if n >= 32 || n == 0 {
            assert_same_bits([m, n, k], transposed, beta);
        } else {
            assert_same_bits([m, n + 32, k], transposed, beta);
        }
    }
}

#[test]
fn blocks_of_rows_columns_and_steps_do_not_change_the_bits() {
    assert_same_bits([190, 1100, 40], [false, true], Beta::Overwrite);
    assert_same_bits([13, 40, 600], [true, false], Beta::Accumulate);
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let mut scratch = Scratch::new(Isa::detect());
    let data = values(64, 1);
    let mut out = vec![0.0; 64];
    let a = MatrixRef::row_major(&data, 4, 5).unwrap();
    let b = MatrixRef::row_major(&data, 6, 4).unwrap();
    let c = MatrixMut::row_major(&mut out, 4, 4).unwrap();
    let error = gemm(Gemm { a, b, c, beta: Beta::Overwrite }, &mut scratch).unwrap_err();
    assert_eq!(error.to_string(), "gemm: rows of b is 6, expected 5");
    assert!(MatrixRef::row_major(&data, 9, 8).is_err());
}

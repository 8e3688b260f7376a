//! The embedding ops against their references, bit for bit.

use proptest::prelude::*;

use super::*;
use crate::isa::Isa;
use crate::optimizer::RowwiseAdagrad;
use crate::rng::Stream;

const ADAGRAD: RowwiseAdagrad = RowwiseAdagrad { lr: 0.1, eps: 1e-8, weight_decay: 0.01 };

fn normals(purpose: u32, len: usize) -> Vec<f32> {
    let stream = Stream::new(11, purpose);
    (0..len).map(|i| stream.normal(i as u64 / 4, 0)[i % 4]).collect()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Ids with the skew that makes repeats common.
fn ids(n_rows: u32) -> impl Strategy<Value = Vec<u32>> {
    prop::collection::vec((0..n_rows, 0..n_rows).prop_map(|(a, b)| a.min(b)), 0..700)
}

fn offsets(ids: usize, cuts: &[prop::sample::Index]) -> Vec<usize> {
    let mut offsets: Vec<_> = cuts.iter().map(|cut| cut.index(ids + 1)).chain([0, ids]).collect();
    offsets.sort_unstable();
    offsets
}

proptest! {
    #[test]
    fn lookups_and_sums_of_gradients_follow_the_reference(ids in ids(90), dim in 0usize..20) {
        let rows = normals(1, 90 * dim);
        let table = Table { rows: &rows, dim };
        let mut out = vec![0.0; ids.len() * dim];
        gather(table, &ids, &mut out).unwrap();
        prop_assert_eq!(&out, &reference::gather(table, &ids));
        let grads = normals(2, ids.len() * dim);
        let mut buffers = SortBuffers::default();
        let (unique, sums) = reference::scatter_sum(&ids, &grads, dim);
        for _ in 0..2 {
            let got = scatter_sum(&ids, &grads, dim, &mut buffers).unwrap();
            prop_assert_eq!(got.ids, &unique);
            prop_assert_eq!(bits(got.grads), bits(&sums));
        }
    }

    #[test]
    fn pooled_lookups_and_their_updates_follow_the_reference(
        ids in ids(90),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
        dim in prop::sample::select(vec![1usize, 7, 8, 24, 64, 75]),
    ) {
        let offsets = offsets(ids.len(), &cuts);
        let bags = Bags { ids: &ids, offsets: &offsets };
        let rows = normals(1, 90 * dim);
        let expected = reference::bag_forward(Table { rows: &rows, dim }, bags);
        let d_out = normals(3, expected.len());
        let (mut wanted, mut wanted_sum) = (rows.clone(), vec![0.1; 90]);
        let table = RowwiseTable { rows: &mut wanted, sum: &mut wanted_sum, dim };
        reference::bag_backward_rowwise_adagrad(table, bags, &d_out, &ADAGRAD);
        for isa in Isa::available() {
            let mut out = vec![9.0; expected.len()];
            bag_forward(Table { rows: &rows, dim }, bags, &mut out, isa).unwrap();
            prop_assert_eq!(bits(&out), bits(&expected));
            let (mut got, mut sum) = (rows.clone(), vec![0.1; 90]);
            let table = RowwiseTable { rows: &mut got, sum: &mut sum, dim };
            bag_backward_rowwise_adagrad(table, bags, &d_out, &ADAGRAD, &mut SortBuffers::default(), isa).unwrap();
            prop_assert_eq!((bits(&got), bits(&sum)), (bits(&wanted), bits(&wanted_sum)));
        }
    }

    #[test]
    fn sorting_by_radix_is_a_stable_sort(ids in prop::collection::vec(any::<u32>(), 250..600)) {
        let grads: Vec<f32> = (0..ids.len()).map(|i| i as f32).collect();
        let mut buffers = SortBuffers::default();
        let got = scatter_sum(&ids, &grads, 1, &mut buffers).unwrap();
        let (unique, sums) = reference::scatter_sum(&ids, &grads, 1);
        prop_assert_eq!(got.ids, &unique);
        prop_assert_eq!(bits(got.grads), bits(&sums));
    }
}

#[test]
fn ids_outside_the_table_are_refused_by_name() {
    let rows = [0.0; 12];
    let table = Table { rows: &rows, dim: 4 };
    let error = gather(table, &[0, 3], &mut [0.0; 8]).unwrap_err();
    assert_eq!(error.to_string(), "gather: row id is 3 of 3 rows, expected a row of the table shard");
    let bags = Bags { ids: &[7], offsets: &[0, 1] };
    let error = bag_forward(table, bags, &mut [0.0; 4], Isa::detect()).unwrap_err();
    assert_eq!(error.to_string(), "bag_forward: row id is 7 of 3 rows, expected a row of the table shard");
}

#[test]
fn offsets_that_do_not_ascend_are_refused() {
    let rows = [0.0; 12];
    let bags = Bags { ids: &[0, 1], offsets: &[0, 2, 1, 2] };
    let error = bag_forward(Table { rows: &rows, dim: 4 }, bags, &mut [0.0; 12], Isa::detect()).unwrap_err();
    assert!(error.to_string().starts_with("bag_forward: offsets is"), "{error}");
}

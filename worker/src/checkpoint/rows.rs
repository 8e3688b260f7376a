//! A piece as what changed of it: some rows, to be laid over the piece of before.
//!
//! The rows are a safetensors file of the whole piece's tensors, each with these rows only, and `rows`, their numbers
//! in the shard. Laid over the bytes of the whole piece they give, byte for byte, the whole piece of after.

use std::collections::BTreeMap;
use std::ops::Range;

use muster_proto::job::OptimizerKind;
use safetensors::tensor::{Dtype, SafeTensors, TensorInfo, TensorView};

use super::pieces::{serialize, shard_tensors, view};
use crate::embedding::Shard;

/// Name of the tensor of row numbers.
const ROWS: &str = "rows";
/// Bytes before a safetensors header, which hold its length.
const LENGTH: usize = 8;

/// Some rows of a shard, ascending, with their optimizer state, as a file.
#[must_use]
pub fn encode_rows(shard: &Shard, rows: &[u32], kind: OptimizerKind) -> Vec<u8> {
    let picked: Vec<(String, Vec<usize>, Vec<f32>)> = shard_tensors(shard, kind)
        .into_iter()
        .map(|(name, mut shape, values)| {
            let width = values.len() / shard.rows.max(1);
            let mut picked = Vec::with_capacity(rows.len() * width);
            rows.iter().for_each(|row| picked.extend_from_slice(&values[span(*row, width)]));
            shape[0] = rows.len();
            (name, shape, picked)
        })
        .collect();
    let mut views: BTreeMap<String, TensorView<'_>> =
        picked.iter().map(|(name, shape, values)| (name.clone(), view(shape.clone(), values))).collect();
    let numbers = TensorView::new(Dtype::U32, vec![rows.len()], bytemuck::cast_slice(rows));
    views.insert(ROWS.to_owned(), numbers.expect("a list's shape covers it"));
    serialize(&views)
}

/// Lays rows over a whole piece.
///
/// # Errors
/// What does not fit, in words; the piece is then as it was.
pub fn apply_rows(whole: &mut [u8], delta: &[u8]) -> Result<(), String> {
    let Patch { rows, tensors } = Patch::of(whole, delta)?;
    for Tensor { width, to, from } in tensors {
        for (row, values) in rows.iter().zip(delta[from].chunks_exact(width)) {
            whole[to.clone()][span(*row, width)].copy_from_slice(values);
        }
    }
    Ok(())
}

/// Checks that rows can be laid over a whole piece.
///
/// # Errors
/// What does not fit, in words.
pub fn check_rows(whole: &[u8], delta: &[u8]) -> Result<(), String> {
    Patch::of(whole, delta).map(drop)
}

fn span(row: u32, width: usize) -> Range<usize> {
    row as usize * width..(row as usize + 1) * width
}

/// Which bytes of a file of rows go where in a whole piece.
struct Patch {
    rows: Vec<u32>,
    tensors: Vec<Tensor>,
}

struct Tensor {
    /// Bytes of a row.
    width: usize,
    /// Its bytes in the whole piece, and in the file of rows.
    to: Range<usize>,
    from: Range<usize>,
}

impl Patch {
    fn of(whole: &[u8], delta: &[u8]) -> Result<Self, String> {
        let (mut from, to) = (tensors_of(delta)?, tensors_of(whole)?);
        let (_, numbers) = from.remove(ROWS).ok_or("the numbers of its rows are missing")?;
        let number = |b: &[u8]| u32::from_le_bytes([b[0], b[1], b[2], b[3]]);
        let rows: Vec<u32> = delta[numbers].chunks_exact(4).map(number).collect();
        if !from.keys().eq(to.keys()) {
            let names = |of: &BTreeMap<String, _>| of.keys().cloned().collect::<Vec<_>>().join(", ");
            return Err(format!("its rows have {}, the whole piece has {}", names(&from), names(&to)));
        }
        let mut tensors = Vec::new();
        for ((name, (from_info, from)), (to_info, to)) in from.into_iter().zip(to.into_values()) {
            let fits = from_info.dtype == to_info.dtype
                && from_info.shape.first() == Some(&rows.len())
                && from_info.shape.get(1..) == to_info.shape.get(1..);
            let all = to_info.shape.first().copied().unwrap_or(0);
            if !fits || !rows.is_sorted_by(|a, b| a < b) || rows.last().is_some_and(|r| *r as usize >= all) {
                let (rows, shape) = (rows.len(), to_info.shape);
                return Err(format!("its {rows} rows do not fit tensor {name} of shape {shape:?}"));
            }
            // A tensor without columns has nothing to lay over.
            if let Some(width) = to.len().checked_div(all).filter(|width| *width > 0) {
                tensors.push(Tensor { width, to, from });
            }
        }
        Ok(Self { rows, tensors })
    }
}

/// The tensors of a file by name, each with its bytes in the file.
fn tensors_of(file: &[u8]) -> Result<BTreeMap<String, (TensorInfo, Range<usize>)>, String> {
    let (header, metadata) = SafeTensors::read_metadata(file).map_err(|e| e.to_string())?;
    let start = LENGTH + header;
    let place = |(name, info): (String, &TensorInfo)| {
        let (begin, end) = info.data_offsets;
        (name, (info.clone(), start + begin..start + end))
    };
    Ok(metadata.tensors().into_iter().map(place).collect())
}

#[cfg(test)]
mod tests {
    use muster_proto::sharding::TableDecl;
    use proptest::prelude::*;

    use super::super::pieces::encode_shard;
    use super::*;
    use crate::embedding::{Init, Mark};

    const KINDS: [OptimizerKind; 6] = [
        OptimizerKind::Sgd,
        OptimizerKind::Adam,
        OptimizerKind::LazyAdam,
        OptimizerKind::AdamW,
        OptimizerKind::Adagrad,
        OptimizerKind::RowWiseAdagrad,
    ];

    fn shard(rows: u64, dim: u32, bias: bool, kind: OptimizerKind) -> Shard {
        let (name, placement, columns) = ("item".into(), None, None);
        let decl = TableDecl { name, rows, dim, row_blocks: 1, bias, placement, columns };
        Shard::initial(&decl, 0, kind, Init { seed: 7, std: 1.0 })
    }

    /// Writes a row, its bias and its state, as an update would.
    fn write(shard: &mut Shard, row: usize, value: f32) {
        let Shard { rows, weight, bias, state, .. } = shard;
        let arrays = [weight, bias].into_iter().chain(&mut state.weight).chain(&mut state.bias);
        for array in arrays.filter(|array| !array.is_empty()) {
            let width = array.len() / *rows;
            array[row * width..(row + 1) * width].fill(value);
        }
        shard.dirty.touch(&[row as u32]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_whole_piece_with_its_rows_laid_over_is_the_whole_piece_of_after(
            (rows, touched) in (1_usize..150).prop_flat_map(|n| (Just(n), proptest::collection::vec(0..n, 0..n))),
            dim in 1_u32..5, bias: bool, kind in 0..KINDS.len(),
        ) {
            let kind = KINDS[kind];
            let mut shard = shard(rows as u64, dim, bias, kind);
            let mut whole = encode_shard(&shard, kind);
            shard.dirty.mark(Mark::Checkpoint, rows);
            for (place, row) in touched.iter().enumerate() {
                write(&mut shard, *row, place as f32 + 0.5);
            }
            let after = encode_shard(&shard, kind);
            match shard.dirty.few(Mark::Checkpoint, rows) {
                None => prop_assert!(shard.dirty.count(Mark::Checkpoint, rows) * 2 >= rows),
                Some(few) => {
                    let delta = encode_rows(&shard, &few, kind);
                    prop_assert_eq!(check_rows(&whole, &delta), Ok(()));
                    prop_assert_eq!(apply_rows(&mut whole, &delta), Ok(()));
                    prop_assert_eq!(whole, after);
                }
            }
        }
    }

    #[test]
    fn rows_of_another_shard_are_refused_and_change_nothing() {
        let kind = OptimizerKind::LazyAdam;
        let whole = encode_shard(&shard(10, 4, true, kind), kind);
        let others = [
            encode_rows(&shard(20, 4, true, kind), &[3, 15], kind),
            encode_rows(&shard(10, 3, true, kind), &[3], kind),
            encode_rows(&shard(10, 4, false, kind), &[3], kind),
            encode_rows(&shard(10, 4, true, OptimizerKind::Adagrad), &[3], OptimizerKind::Adagrad),
            encode_shard(&shard(10, 4, true, kind), kind),
            whole[..whole.len() - 1].to_vec(),
        ];
        for other in &others {
            let mut piece = whole.clone();
            assert!(apply_rows(&mut piece, other).is_err());
            assert!(check_rows(&whole, other).is_err());
            assert_eq!(piece, whole);
        }
    }
}

//! Pieces as safetensors: a table shard with its optimizer state, or all dense parameters with theirs.

use std::borrow::Cow;
use std::collections::BTreeMap;

use muster_kernels::optimizer::state_slots;
use muster_proto::job::OptimizerKind;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::pick::pick_dense;
use crate::embedding::{Shard, TableSet, kernel_kind};
use crate::model::Dense;

/// Name of the piece of dense parameters.
const DENSE: &str = "dense";

/// Name of the piece of a table shard.
#[must_use]
pub fn shard_piece(table: &str, block: u32) -> String {
    format!("table/{table}/{block:04}")
}

/// Name of the piece of the dense parameters.
#[must_use]
pub fn dense_piece() -> String {
    DENSE.to_owned()
}

/// File name of a piece.
pub(super) fn file_of(piece: &str) -> String {
    format!("{}.safetensors", piece.replace('/', "-"))
}

/// A piece in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encoded {
    /// All of it, as a full checkpoint has it.
    Whole(Vec<u8>),
    /// The rows that changed, as [`encode_rows`](super::encode_rows) writes them.
    Rows(Vec<u8>),
}

impl Encoded {
    /// The bytes, whatever they hold.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Whole(bytes) | Self::Rows(bytes) => bytes,
        }
    }
}

/// A tensor of a shard: its name, its shape (rows first) and its values.
pub(super) type ShardTensor<'a> = (String, Vec<usize>, &'a [f32]);

/// A shard as a file: `weight` `[rows, dim]`, `bias` `[rows]`, and `weight.exp_avg` and so on.
#[must_use]
pub fn encode_shard(shard: &Shard, kind: OptimizerKind) -> Vec<u8> {
    encode(&shard_tensors(shard, kind))
}

/// The tensors of a shard's file.
pub(super) fn shard_tensors(shard: &Shard, kind: OptimizerKind) -> Vec<ShardTensor<'_>> {
    let mut tensors = vec![("weight".to_owned(), vec![shard.rows, shard.dim], &shard.weight[..])];
    if !shard.bias.is_empty() {
        tensors.push(("bias".into(), vec![shard.rows], &shard.bias[..]));
    }
    for (place, slot) in state_slots(kernel_kind(kind)).iter().enumerate() {
        let values = &shard.state.weight[place][..];
        let shape = if values.len() == shard.rows && shard.dim != 1 {
            vec![shard.rows]
        } else {
            vec![shard.rows, shard.dim]
        };
        tensors.push((format!("weight.{}", slot.name), shape, values));
        if let Some(values) = shard.state.bias.get(place) {
            tensors.push((format!("bias.{}", slot.name), vec![shard.rows], &values[..]));
        }
    }
    tensors
}

/// The dense parameters as a file, under PyTorch's names, with `NAME.exp_avg` and so on beside them.
#[must_use]
pub fn encode_dense(dense: &Dense, kind: OptimizerKind) -> Vec<u8> {
    let mut tensors = Vec::new();
    for tensor in &dense.layout.tensors {
        let values = &dense.values[tensor.range.clone()];
        tensors.push((tensor.name.clone(), tensor.shape.clone(), values));
        for (slot, state) in state_slots(kernel_kind(kind)).iter().zip(&dense.state) {
            let values = &state[tensor.range.clone()];
            tensors.push((format!("{}.{}", tensor.name, slot.name), tensor.shape.clone(), values));
        }
    }
    encode(&tensors)
}

fn encode(tensors: &[ShardTensor<'_>]) -> Vec<u8> {
    let views = tensors.iter().map(|(name, shape, values)| (name.clone(), view(shape.clone(), values)));
    serialize(&views.collect())
}

pub(super) fn view(shape: Vec<usize>, values: &[f32]) -> TensorView<'_> {
    TensorView::new(Dtype::F32, shape, bytemuck::cast_slice(values))
        .expect("a tensor's shape covers its values")
}

pub(super) fn serialize(views: &BTreeMap<String, TensorView<'_>>) -> Vec<u8> {
    safetensors::serialize(views, None).expect("tensors that were just viewed serialize")
}

/// Fills a shard from a file's bytes.
///
/// # Errors
/// What does not fit, in words.
pub fn decode_shard(bytes: &[u8], shard: &mut Shard, kind: OptimizerKind) -> Result<(), String> {
    let file = SafeTensors::deserialize(bytes).map_err(|e| e.to_string())?;
    fill(&file, "weight", &mut shard.weight)?;
    if !shard.bias.is_empty() {
        fill(&file, "bias", &mut shard.bias)?;
    }
    for (place, slot) in state_slots(kernel_kind(kind)).iter().enumerate() {
        fill(&file, &format!("weight.{}", slot.name), &mut shard.state.weight[place])?;
        if let Some(values) = shard.state.bias.get_mut(place) {
            fill(&file, &format!("bias.{}", slot.name), values)?;
        }
    }
    Ok(())
}

/// Fills the dense parameters from a file's bytes.
///
/// # Errors
/// What does not fit, in words.
pub fn decode_dense(bytes: &[u8], dense: &mut Dense, kind: OptimizerKind) -> Result<(), String> {
    pick_dense(bytes, dense, Some(kind))
}

/// Fills all shards of `set` and the dense parameters; `bytes_of` gives a piece's bytes, `unfit` makes an error of a piece
/// whose bytes are not its own.
///
/// # Errors
/// Theirs.
pub(crate) fn fill_pieces<'b, E>(
    set: &mut TableSet,
    dense: &mut Dense,
    kinds: (OptimizerKind, OptimizerKind),
    mut bytes_of: impl FnMut(&str) -> Result<Cow<'b, [u8]>, E>,
    unfit: impl Fn(&str, String) -> E,
) -> Result<(), E> {
    for table in &mut set.tables {
        for (block, shard) in &mut table.shards {
            let piece = shard_piece(&table.decl.name, *block);
            shard.dirty.touch_all();
            decode_shard(&bytes_of(&piece)?, shard, kinds.0).map_err(|problem| unfit(&piece, problem))?;
        }
    }
    let piece = dense_piece();
    decode_dense(&bytes_of(&piece)?, dense, kinds.1).map_err(|problem| unfit(&piece, problem))
}

pub(super) fn fill(file: &SafeTensors<'_>, name: &str, values: &mut [f32]) -> Result<(), String> {
    let tensor = file.tensor(name).map_err(|_| format!("tensor {name} is missing"))?;
    if tensor.dtype() != Dtype::F32 || tensor.data().len() != values.len() * 4 {
        let (dtype, found) = (tensor.dtype(), tensor.data().len() / 4);
        return Err(format!(
            "tensor {name} has {found} values of type {dtype:?}, expected {} of F32",
            values.len()
        ));
    }
    for (value, bytes) in values.iter_mut().zip(tensor.data().chunks_exact(4)) {
        *value = f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    }
    Ok(())
}

//! Taking only some rows of a piece, or parameters without the optimizer's state.

use muster_kernels::optimizer::state_slots;
use muster_proto::job::OptimizerKind;
use safetensors::tensor::{Dtype, SafeTensors};

use super::pieces::fill;
use crate::embedding::{Shard, kernel_kind};
use crate::model::Dense;

/// Copies rows of a shard's file, which has `rows_there` of them, into a shard, by pairs of the row here and the row there;
/// with the state of an optimizer of this kind if one is given.
///
/// # Errors
/// What does not fit, in words.
pub(crate) fn pick_rows(
    bytes: &[u8],
    rows_there: usize,
    shard: &mut Shard,
    kind: Option<OptimizerKind>,
    pairs: &[(u32, u32)],
) -> Result<(), String> {
    let file = SafeTensors::deserialize(bytes).map_err(|e| e.to_string())?;
    let Shard { rows, weight, bias, state, .. } = shard;
    let mut arrays = vec![("weight".to_owned(), weight)];
    let has_bias = !bias.is_empty();
    if has_bias {
        arrays.push(("bias".to_owned(), bias));
    }
    let slots = kind.map(|kind| state_slots(kernel_kind(kind))).unwrap_or_default();
    for (slot, values) in slots.iter().zip(&mut state.weight) {
        arrays.push((format!("weight.{}", slot.name), values));
    }
    for (slot, values) in slots.iter().zip(&mut state.bias).filter(|_| has_bias) {
        arrays.push((format!("bias.{}", slot.name), values));
    }
    for (name, values) in arrays {
        let width = values.len() / (*rows).max(1);
        let tensor = file.tensor(&name).map_err(|_| format!("tensor {name} is missing"))?;
        if tensor.dtype() != Dtype::F32 || tensor.data().len() != rows_there * width * 4 {
            let (found, expected) = (tensor.data().len() / 4, rows_there * width);
            return Err(format!(
                "tensor {name} has {found} values of type {:?}, expected {expected} of F32",
                tensor.dtype()
            ));
        }
        let bytes = width * 4;
        for (here, there) in pairs.iter().map(|(here, there)| (*here as usize, *there as usize)) {
            let from = &tensor.data()[there * bytes..(there + 1) * bytes];
            for (value, bytes) in
                values[here * width..(here + 1) * width].iter_mut().zip(from.chunks_exact(4))
            {
                *value = f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            }
        }
    }
    Ok(())
}

/// Fills the dense parameters from a file's bytes, with the state of an optimizer of this kind if one is given.
///
/// # Errors
/// What does not fit, in words.
pub(crate) fn pick_dense(bytes: &[u8], dense: &mut Dense, kind: Option<OptimizerKind>) -> Result<(), String> {
    let file = SafeTensors::deserialize(bytes).map_err(|e| e.to_string())?;
    let slots = kind.map(|kind| state_slots(kernel_kind(kind))).unwrap_or_default();
    for tensor in &dense.layout.tensors {
        fill(&file, &tensor.name, &mut dense.values[tensor.range.clone()])?;
        for (slot, state) in slots.iter().zip(&mut dense.state) {
            fill(&file, &format!("{}.{}", tensor.name, slot.name), &mut state[tensor.range.clone()])?;
        }
    }
    Ok(())
}

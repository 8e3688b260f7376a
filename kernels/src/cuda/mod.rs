//! The ops on an NVIDIA GPU: kernels of ours (`kernels/cuda/*.cu`), cuBLAS for products, NCCL between GPUs.
//!
//! Each op has the name, the shapes and the checks of its CPU op, which is its specification. A call checks its
//! arguments on the host, launches on the compute stream and returns; nothing waits for the device but
//! [`Device::download`] and [`Device::synchronize`]. Libraries are loaded at run time: [`probe::devices`] says in one
//! sentence what is missing, and nothing else here may be called before it succeeded ([`Device::open`] asks it).
//!
//! # Memory
//!
//! A [`Buffer`] comes from a pool with a bound and goes back to it when dropped; [`View`] and [`ViewMut`] are slices of
//! device memory with the lifetime of their buffer. Ids that kernels index with are [`embedding::Ids`] or
//! [`softmax::Targets`]: they know a bound of their values from the host, so indices are checked without a round trip.
//!
//! # A training step
//!
//! One micro-batch on one GPU, lookup to update; `kernels/tests/cuda_step.rs` runs such a step and holds it against the
//! CPU. With several GPUs, [`exchange`] and [`nccl`] stand between owners and users of rows, and statistics of the
//! softmax are gathered before [`softmax::combine_shards`].
//!
//! ```no_run
//! # use muster_kernels::cuda::{*, embedding::*, lstm::{self, Recurrence}, softmax::{self, *}};
//! # use muster_kernels::{gemm::Beta, optimizer::{Adam, RowwiseAdagrad}};
//! # struct Model { table: Buffer<f32>, sum: Buffer<f32>, dense: Buffer<f32>, m: Buffer<f32>, v: Buffer<f32>,
//! #     every_row: Segments, n_rows: usize, dim: usize, hidden: usize }
//! # fn parameters(model: &Model) -> lstm::Parameters<'_> { unimplemented!() }
//! # fn gradients(model: &Model, flat: &mut Buffer<f32>) -> lstm::Gradients<'static> { unimplemented!() }
//! # fn step(device: &Device, model: &mut Model, layout: &lstm::Layout, ids: &Ids, targets: &Targets,
//! #     adam: Adam, adagrad: RowwiseAdagrad, weights: View<'_, f32>, step: u64) -> Result<f64, Error> {
//! let (tokens, dim, hidden) = (layout.host().tokens(), model.dim, model.hidden);
//! let mut loss = device.zeros(1)?;
//! // Lookup: rows of the table, in the order of the tokens.
//! let mut x = device.buffer(tokens * dim)?;
//! let table = Table { rows: model.table.view(), dim };
//! gather(device, table, ids, &mut x.view_mut(), dim, Combine::Replace)?;
//! // LSTM, in one launch where w_hh fits the device.
//! let (mut gates, mut c) = (device.buffer(tokens * 4 * hidden)?, device.buffer(tokens * hidden)?);
//! let mut h = device.buffer(tokens * hidden)?;
//! let recurrence = Recurrence::Auto;
//! lstm::forward(device, lstm::Forward {
//!     layout, parameters: parameters(model), x: x.view(), h0: None, c0: None,
//!     gates: gates.view_mut(), c: c.view_mut(), h: h.view_mut(), recurrence,
//! })?;
//! // Softmax over the item table, a block of positions at a time.
//! let (mut d_h, mut d_rows) = (device.buffer(tokens * hidden)?, device.buffer(model.table.len())?);
//! let shard = TableShard { rows: model.table.view(), bias: None, rounded: None, n_rows: model.n_rows, dim };
//! let block = softmax::block_of(model.n_rows, 256 << 20);
//! for first in (0..tokens).step_by(block) {
//!     let len = block.min(tokens - first);
//!     let span = first * dim..(first + len) * dim;
//!     let positions = Positions { hidden: h.view().range(span.clone()), targets, first, len };
//!     let scan = softmax_scan(device, shard, positions)?;
//!     let combined = combine_shards(device, &[scan.stats()])?;
//!     let weights = weights.range(first..first + len);
//!     softmax_loss(device, &combined, weights, &mut loss.view_mut())?;
//!     let beta = if first == 0 { Beta::Overwrite } else { Beta::Accumulate };
//!     let (d_hidden, d_rows) = (d_h.view_mut(), d_rows.view_mut());
//!     # let mut d_hidden = d_hidden;
//!     let grads = SoftmaxGrads { d_hidden: d_hidden.range(span), d_rows, d_bias: None, beta };
//!     softmax_gradient(device, shard, positions, SoftmaxWeights { combined: &combined, weights }, scan, grads)?;
//! }
//! // LSTM backward.
//! let (mut d_x, mut flat) = (device.buffer(tokens * dim)?, device.buffer(model.dense.len())?);
//! lstm::backward(device, lstm::Backward {
//!     layout, parameters: parameters(model), x: x.view(), h0: None, c0: None, gates: gates.view_mut(),
//!     c: c.view(), h: h.view(), d_h: d_h.view(), d_x: Some(d_x.view_mut()),
//!     d_parameters: gradients(model, &mut flat), recurrence,
//! })?;
//! // The lookup's gradient, summed per row in a fixed order, joins the head's. (With a head that does not score all
//! // rows, `update_rows` takes `of_lookup` itself: sum and update in one pass.)
//! let segments = Segments::of_ids(device, ids)?;
//! let of_lookup = RowGradients { segments: &segments, grads: d_x.view(), dim, stride: dim, factor: None };
//! add_rows(device, of_lookup, &mut d_rows.view_mut())?;
//! // Clipping by the norm of all gradients.
//! let (mut squares, mut factor) = (device.zeros(1)?, device.buffer(1)?);
//! norm::sum_of_squares(device, flat.view(), &mut squares.view_mut())?;
//! norm::sum_of_squares(device, d_rows.view(), &mut squares.view_mut())?;
//! norm::clip_factor(device, squares.view(), 1.0, &mut factor.view_mut())?;
//! let factor = Some(factor.view());
//! // The table, then the dense parameters, all of them in one flat buffer.
//! let of_all = RowGradients { segments: &model.every_row, grads: d_rows.view(), dim, stride: dim, factor };
//! let rule = RowRule::RowwiseAdagrad(adagrad, model.sum.view_mut());
//! update_rows(device, of_all, &mut model.table.view_mut(), rule)?;
//! let rule = DenseRule::Adam(adam, step, [model.m.view_mut(), model.v.view_mut()]);
//! update_dense(device, &mut model.dense.view_mut(), flat.view(), factor, rule)?;
//! Ok(device.download(loss.view())?[0])
//! # }
//! ```

pub mod bf16;
mod blas;
mod device;
pub mod dropout;
pub mod embedding;
mod error;
pub mod exchange;
mod graph;
mod launch;
pub mod linear;
pub mod loss;
pub mod lstm;
mod memory;
mod module;
pub mod nccl;
pub mod norm;
mod optimizer;
mod pinned;
mod prefetch;
pub mod probe;
pub mod reduce;
mod row_cache;
mod signatures;
pub mod softmax;
mod streams;
mod topology;

pub use blas::{Factor, Operand, gemm};
pub use device::{Device, Limits, Settings};
pub use error::Error;
pub use graph::Graph;
pub use memory::{Buffer, Scalar, Usage, View, ViewMut};
pub use optimizer::{DenseRule, update_dense};
pub use pinned::Pinned;
pub use prefetch::{Prefetch, Sent};
pub use row_cache::{CacheUse, HostRows, HostRowsMut, RowCache};
pub use topology::Gpu;

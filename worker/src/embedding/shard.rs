//! One table shard: weights, optimizer state and the gradient of the current step.

use muster_kernels::optimizer::Kind;
use muster_proto::job::OptimizerKind;
use muster_proto::sharding::TableDecl;

use super::dirty::Dirty;
use super::init::init_row;
use super::table::Init;

/// Optimizer state of a shard, slot by slot as the kernel names them.
#[derive(Debug, Clone, Default)]
pub struct OptimizerState {
    /// Per slot of the weights: its values.
    pub weight: Vec<Vec<f32>>,
    /// Per slot of the bias: its values; empty without a bias.
    pub bias: Vec<Vec<f32>>,
}

/// One table shard.
#[derive(Debug, Clone)]
pub struct Shard {
    /// Rows of this shard.
    pub rows: usize,
    /// Columns.
    pub dim: usize,
    /// Columns of a whole row: more, where this is of a column block.
    pub whole_dim: usize,
    /// `[rows, dim]`.
    pub weight: Vec<f32>,
    /// `[rows]`, or empty.
    pub bias: Vec<f32>,
    /// State of the optimizer.
    pub state: OptimizerState,
    /// Gradient of the current step.
    pub gradient: ShardGradient,
    /// Rows written since the last copy in memory and the last full checkpoint.
    pub dirty: Dirty,
}

/// The gradient of a shard in one step.
#[derive(Debug, Clone, Default)]
pub struct ShardGradient {
    /// Whether `weight` and `bias` hold a dense gradient.
    pub dense: bool,
    /// `[rows, dim]` where dense.
    pub weight: Vec<f32>,
    /// `[rows]` where dense and biased.
    pub bias: Vec<f32>,
    /// Touched local rows, ascending and unique, where not dense.
    pub ids: Vec<u32>,
    /// `[ids, dim]`.
    pub rows: Vec<f32>,
    /// `[ids]`, or empty.
    pub row_bias: Vec<f32>,
    /// Of a column block under an optimizer that goes by the squares of whole rows: these, summed over all blocks, `[ids]`.
    pub whole_squares: Option<Vec<f32>>,
}

impl ShardGradient {
    /// Forgets the gradient; what was allocated for it is kept.
    pub fn clear(&mut self) {
        self.dense = false;
        self.ids.clear();
        self.rows.clear();
        self.row_bias.clear();
        self.whole_squares = None;
    }
}

impl Shard {
    /// The shard with its initial values: weights from N(0, std²), biases 0, state as the optimizer begins.
    #[must_use]
    pub fn initial(decl: &TableDecl, block: u32, kind: OptimizerKind, init: Init) -> Self {
        let (rows, dim) = (decl.rows_in_block(block) as usize, decl.dim as usize);
        let mut weight = vec![0.0; rows * dim];
        let first = decl.first_column() as usize;
        for (local, values) in weight.chunks_exact_mut(dim.max(1)).enumerate() {
            let row = decl.global_row(block, local as u64);
            init_row(init.seed, decl.table(), row, init.std, first..first + dim, values);
        }
        let bias = if decl.bias { vec![0.0; rows] } else { Vec::new() };
        let state = OptimizerState {
            weight: slots(kind, rows, dim),
            bias: if decl.bias { slots(kind, rows, 1) } else { Vec::new() },
        };
        let (gradient, dirty) = Default::default();
        Self { rows, dim, whole_dim: decl.whole_dim() as usize, weight, bias, state, gradient, dirty }
    }

    /// A copy without the gradient and without marks.
    #[must_use]
    pub fn without_gradient(&self) -> Self {
        Self {
            rows: self.rows,
            dim: self.dim,
            whole_dim: self.whole_dim,
            weight: self.weight.clone(),
            bias: self.bias.clone(),
            state: self.state.clone(),
            gradient: ShardGradient::default(),
            dirty: Dirty::default(),
        }
    }

    /// Adds the sparse gradient onto a dense one, making it dense first if it is not.
    pub fn densify_gradient(&mut self) {
        let gradient = &mut self.gradient;
        if !gradient.dense {
            gradient.weight.clear();
            gradient.weight.resize(self.rows * self.dim, 0.0);
            gradient.bias.clear();
            gradient.bias.resize(self.bias.len(), 0.0);
            gradient.dense = true;
        }
        for (place, id) in gradient.ids.iter().enumerate() {
            let (row, dim) = (*id as usize, self.dim);
            let from = &gradient.rows[place * dim..(place + 1) * dim];
            for (sum, value) in gradient.weight[row * dim..(row + 1) * dim].iter_mut().zip(from) {
                *sum += value;
            }
            if let Some(value) = gradient.row_bias.get(place) {
                gradient.bias[row] += value;
            }
        }
        gradient.ids.clear();
        gradient.rows.clear();
        gradient.row_bias.clear();
    }
}

/// The kernel's rule for the job's.
#[must_use]
pub(crate) fn kernel_kind(kind: OptimizerKind) -> Kind {
    match kind {
        OptimizerKind::Sgd => Kind::Sgd,
        OptimizerKind::Adam | OptimizerKind::LazyAdam => Kind::Adam,
        OptimizerKind::AdamW => Kind::AdamW,
        OptimizerKind::Adagrad => Kind::Adagrad,
        OptimizerKind::RowWiseAdagrad => Kind::RowwiseAdagrad,
    }
}

fn slots(kind: OptimizerKind, rows: usize, dim: usize) -> Vec<Vec<f32>> {
    use muster_kernels::optimizer::{PerRow, state_slots};
    let length = |per_row: &PerRow| match per_row {
        PerRow::Element => rows * dim,
        PerRow::Row => rows,
    };
    state_slots(kernel_kind(kind)).iter().map(|slot| written_zeros(length(&slot.per_row))).collect()
}

/// Zeros whose memory is there from the start: that a row is written for the first time costs no page fault in a step, and
/// what a worker holds does not grow as it trains.
fn written_zeros(len: usize) -> Vec<f32> {
    // The compiler would make one call of both, for memory that comes page by page as it is written.
    let mut values = std::hint::black_box(Vec::with_capacity(len));
    values.resize(len, 0.0);
    values
}

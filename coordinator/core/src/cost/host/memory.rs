//! The most memory that each rank's process has.

use muster_proto::checkpoint::copies_bytes;
use muster_proto::job::OptimizerKind;

use super::step::Ranks;
use super::tables::is_sparse;

/// Bytes of a value.
const VALUE: f64 = 4.0;
/// Allocators round up and keep some of what was freed.
const SLACK: f64 = 1.01;

/// Values of optimizer state for each value that is trained.
fn slots(kind: OptimizerKind) -> f64 {
    match kind {
        OptimizerKind::Sgd | OptimizerKind::Adagrad => 1.0,
        OptimizerKind::Adam | OptimizerKind::AdamW | OptimizerKind::LazyAdam => 2.0,
        OptimizerKind::RowWiseAdagrad => 0.0,
    }
}

/// Peak bytes of each rank.
pub(super) fn peaks(ranks: &Ranks<'_>) -> Vec<u64> {
    (0..ranks.n() as u32).map(|rank| (Held { ranks, rank }.peak() * SLACK).ceil() as u64).collect()
}

/// What one rank holds.
struct Held<'a> {
    ranks: &'a Ranks<'a>,
    rank: u32,
}

impl Held<'_> {
    /// Bytes of weights, and of their optimizer state, of the tables on this rank.
    fn model(&self) -> (f64, f64) {
        self.tables(|table| self.ranks.values(table, self.rank))
    }

    fn tables(&self, values: impl Fn(usize) -> f64) -> (f64, f64) {
        let kind = self.ranks.job.table_optimizer().kind;
        let tables = self.ranks.workload.tables.iter().enumerate();
        tables.fold((0.0, 0.0), |(weights, state), (table, decl)| {
            let values = values(table);
            let rows = values / f64::from(decl.dim + u32::from(decl.bias));
            let by_row = if kind == OptimizerKind::RowWiseAdagrad { rows } else { 0.0 };
            (weights + values * VALUE, state + (values * slots(kind) + by_row) * VALUE)
        })
    }

    /// Bytes of the pieces that `rank` answers for.
    fn pieces(&self, rank: u32) -> f64 {
        let (weights, state) = self.tables(|table| {
            let plan = &self.ranks.plan.tables[&self.ranks.workload.tables[table].name];
            let owned = plan.owners.iter().filter(|owner| **owner == rank).count() as f64;
            let decl = &self.ranks.workload.tables[table];
            let all = decl.rows as f64 * f64::from(decl.dim + u32::from(decl.bias));
            all * owned / plan.owners.len().max(1) as f64
        });
        weights + state
    }

    fn gradients(&self) -> f64 {
        let kind = self.ranks.job.table_optimizer().kind;
        let whole = |table: &usize| self.ranks.is_scored_whole(*table) || !is_sparse(kind);
        let tables = (0..self.ranks.workload.tables.len()).filter(whole);
        tables.map(|table| self.ranks.values(table, self.rank) * VALUE).sum()
    }

    fn dense(&self) -> f64 {
        self.ranks.workload.parameters as f64 * VALUE
    }

    /// Bytes that live from step to step beside the model: activations of the rank's micro-batches, their gradients, and what
    /// a softmax keeps of a block.
    fn activations(&self) -> f64 {
        let model = &self.ranks.job.model;
        let (hidden, head) = (f64::from(model.hidden_size), f64::from(model.head_input()));
        let first = f64::from(self.ranks.workload.input);
        let layers = f64::from(model.layers);
        // Per layer: its input, gates, cells, hidden states; then what the head gets, its gradient and that of the input.
        let token = first + (layers - 1.0) * hidden + layers * 6.0 * hidden + 2.0 * head + 2.0 * first;
        let mine = self.ranks.plan.micro_batches_of(self.rank);
        let of_step = |step: &muster_proto::measured::StepShape| -> f64 {
            mine.clone().map(|micro| step.micro[micro as usize].tokens()).sum()
        };
        let tokens = self.ranks.workload.steps.iter().map(of_step).fold(0.0, f64::max);
        let micro_batches = mine.len() as f64;
        // Four packed forms of each weight, the gradients of each micro-batch, and their sum.
        tokens * token * VALUE + self.dense() * (micro_batches + 4.0) + self.scores()
    }

    fn scores(&self) -> f64 {
        let Some((table, decl)) = self.ranks.output() else { return 0.0 };
        if !self.ranks.is_scored_whole(table) {
            return 0.0;
        }
        let plan = &self.ranks.plan.tables[&decl.name];
        let owned = plan.owners.iter().filter(|owner| **owner == self.rank).count() as f64;
        let rows = decl.rows as f64 * owned / plan.owners.len().max(1) as f64;
        let dim = f64::from(decl.dim);
        let tokens = |step: &muster_proto::measured::StepShape| step.micro.iter().map(|m| m.tokens()).sum::<f64>();
        let positions = self.ranks.workload.steps.iter().map(tokens).fold(0.0, f64::max);
        let at_once = f64::from(self.ranks.job.batch.score_block).min(positions);
        let partials = positions * dim * (owned + 2.0);
        (at_once * rows + partials + at_once * owned * 2.0 * dim) * VALUE
    }

    fn peak(&self) -> f64 {
        let (weights, state) = self.model();
        let dense = self.dense();
        let dense_state = dense * slots(self.ranks.job.optimizer.kind);
        let resident = self.ranks.workload.resident.get(self.rank as usize).copied().unwrap_or_default();
        let held = self.ranks.curves.process + resident.data + weights + state + dense + dense_state
            + self.gradients()
            + self.activations();
        // The parameters of the best validation are kept until the end, when the last checkpoint is taken: a copy of the
        // rank's pieces, of which one is encoded at a time.
        let best = weights + dense;
        let own = self.pieces(self.rank);
        let shards = f64::from(self.ranks.job.tables.row_blocks) * self.ranks.workload.tables.len().max(1) as f64;
        let own_dense = if self.rank == 0 { dense + dense_state } else { 0.0 };
        let encoded = 2.0 * (own / shards).max(own_dense);
        let checkpoint = own + own_dense + encoded;
        held + best + checkpoint + self.copies(own)
    }

    /// Copies that ranks keep of each other's pieces.
    fn copies(&self, own: f64) -> f64 {
        let n = self.ranks.n() as u32;
        if n == 1 || !self.ranks.job.checkpoint.memory_copies {
            return 0.0;
        }
        let neighbour = self.pieces((self.rank + n - 1) % n);
        let dense = self.dense() * (1.0 + slots(self.ranks.job.optimizer.kind));
        // Without a checkpoint under way one more copy may be there while it is not known to be whole; the larger counts.
        copies_bytes(own, neighbour, dense, 0.0)
    }
}

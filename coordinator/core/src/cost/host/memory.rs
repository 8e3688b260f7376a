//! The most memory that each rank's process has.

use muster_proto::checkpoint::copies_bytes;
use muster_proto::job::OptimizerKind;
use muster_proto::measured::{MicroShape, StepShape, Term};

use super::step::Ranks;

/// Bytes of a value.
const VALUE: f64 = 4.0;
/// Allocators round up and keep some of what was freed.
const SLACK: f64 = 1.02;
/// Bytes of the shared memory that each rank writes its messages to and all of its host read.
const SHARED: f64 = 2_101_248.0;
/// Bytes of a copy that one rank sends to another at a time.
const PART: f64 = 16_777_216.0;

/// Values of optimizer state for each value that is trained.
fn slots(kind: OptimizerKind) -> f64 {
    match kind {
        OptimizerKind::Sgd | OptimizerKind::Adagrad => 1.0,
        OptimizerKind::Adam | OptimizerKind::AdamW | OptimizerKind::LazyAdam => 2.0,
        OptimizerKind::RowWiseAdagrad => 0.0,
    }
}

/// Peak bytes of each rank of a job whose steps take `step` seconds.
pub(super) fn peaks(ranks: &Ranks<'_>, step: f64) -> Vec<u64> {
    let beside = ranks.curves.trials.beside(ranks.n() as u32);
    let peak = |rank| (Held { ranks, rank, step }.peak() * SLACK + beside).ceil() as u64;
    (0..ranks.n() as u32).map(peak).collect()
}

/// What one rank holds.
struct Held<'a> {
    ranks: &'a Ranks<'a>,
    rank: u32,
    step: f64,
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
        let whole = |table: &usize| self.ranks.is_scored_whole(*table) || !kind.is_sparse();
        let tables = (0..self.ranks.workload.tables.len()).filter(whole);
        tables.map(|table| self.ranks.values(table, self.rank) * VALUE).sum()
    }

    fn dense(&self) -> f64 {
        self.ranks.workload.parameters as f64 * VALUE
    }

    fn dense_with_state(&self) -> f64 {
        self.dense() * (1.0 + slots(self.ranks.job.optimizer.kind))
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
        let of_step =
            |step: &StepShape| -> f64 { mine.clone().map(|micro| step.micro[micro as usize].tokens()).sum() };
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
        let tokens = |step: &StepShape| step.micro.iter().map(MicroShape::tokens).sum::<f64>();
        let positions = self.ranks.workload.steps.iter().map(tokens).fold(0.0, f64::max);
        let at_once = f64::from(self.ranks.job.batch.score_block).min(positions);
        let partials = positions * dim * (owned + 2.0);
        (at_once * rows + partials + at_once * owned * 2.0 * dim) * VALUE
    }

    /// Rows and gradients on their way in a step: as looked up and laid out; as gradients by micro-batch, packed, received, and
    /// sorted into shards.
    fn on_the_way(&self) -> f64 {
        let workload = self.ranks.workload;
        let mine = self.ranks.plan.micro_batches_of(self.rank);
        let of_step = |step: &StepShape| -> f64 {
            let of_table = |(place, table): (usize, &usize)| {
                let dim = f64::from(workload.tables[*table].dim);
                let looked_up =
                    step.ranks.get(self.rank as usize).map_or(0.0, |rank| f64::from(rank.rows[place]));
                let given: f64 =
                    mine.clone().map(|micro| f64::from(step.micro[micro as usize].rows[place])).sum();
                let occurrences: f64 = mine
                    .clone()
                    .map(|micro| {
                        let micro = &step.micro[micro as usize];
                        micro.tokens() + self.ranks.scored_of(micro, *table)
                    })
                    .sum();
                (2.0 * looked_up + 2.0 * occurrences + 4.0 * given) * dim * VALUE
            };
            workload.looked_up.iter().enumerate().map(of_table).sum()
        };
        workload.steps.iter().map(of_step).fold(0.0, f64::max)
    }

    /// The most of: making a copy, an evaluation, and the last checkpoint.
    fn peak(&self) -> f64 {
        let (weights, state) = self.model();
        let resident = self.ranks.workload.resident.get(self.rank as usize).copied().unwrap_or_default();
        let model = weights + state + self.dense_with_state() + self.gradients();
        let n = self.ranks.n() as f64;
        let shared = if n > 1.0 { n * SHARED } else { 0.0 };
        let held = self.ranks.curves.process
            + shared
            + resident.data
            + model
            + self.activations()
            + self.on_the_way();
        let after = (self.evaluated_again(weights) + self.evaluation()).max(self.end(weights));
        held + self.copying().max(self.copies() + after)
    }

    /// Parameters of the best validation, while there is a later one.
    fn evaluated_again(&self, weights: f64) -> f64 {
        let training = &self.ranks.job.training;
        let again = training.epochs > training.validate_every && training.max_steps.is_none();
        if again { self.best(weights) } else { 0.0 }
    }

    /// The parameters of the best validation, which only a job that may stop early keeps.
    fn best(&self, weights: f64) -> f64 {
        if self.ranks.job.training.early_stopping.is_some() { weights + self.dense() } else { 0.0 }
    }

    /// At the end the last checkpoint is written: a copy of the rank's pieces, of which one at a time is encoded.
    fn end(&self, weights: f64) -> f64 {
        let dense = self.dense_with_state();
        let on_first = if self.rank == 0 { dense } else { 0.0 };
        let encoded = self.largest_piece().max(on_first);
        self.best(weights) + self.pieces(self.rank) + on_first + encoded
    }

    /// The copy of its pieces, its neighbour's and the dense parameters that a rank keeps.
    fn copies(&self) -> f64 {
        let dense = self.dense_with_state();
        let all = copies_bytes(self.pieces(self.rank), self.neighbour(), dense, 0.0);
        if self.keeps_copies() { all } else { 0.0 }
    }

    /// Bytes that a round of an evaluation keeps: the rows of its histories, those on their way from and to other ranks, and
    /// what the network computes for a call on each thread.
    fn evaluation(&self) -> f64 {
        let model = &self.ranks.job.model;
        let resident = self.ranks.workload.resident.get(self.rank as usize).copied().unwrap_or_default();
        let (hidden, layers) = (f64::from(model.hidden_size), f64::from(model.layers));
        let first = f64::from(self.ranks.workload.input);
        let token = first + (layers - 1.0) * hidden + layers * 6.0 * hidden + f64::from(model.head_input());
        let elsewhere = 1.0 - 1.0 / self.ranks.n() as f64;
        let rows = resident.round_items * f64::from(model.embedding_dim) * (1.0 + 2.0 * elsewhere);
        (resident.call_tokens * token * self.ranks.machine.threads as f64 + rows) * VALUE
    }

    /// While a copy is made, what goes into it is encoded and sent, and the neighbour's received, part by part; the copy before
    /// is there too, if there is one.
    fn copying(&self) -> f64 {
        if !self.keeps_copies() {
            return 0.0;
        }
        let (own, neighbour) = (self.pieces(self.rank), self.neighbour());
        let dense = self.dense_with_state();
        let making = |share: f64| {
            (own + neighbour) * share + (own * share).min(PART) + (neighbour * share).min(PART) + dense
        };
        let later = self.copies() + making(self.written());
        making(1.0).max(if self.lasts(own + neighbour) { later } else { 0.0 })
    }

    /// The share of the pieces that a later copy is made of: from half of a shard's rows on, all of it.
    fn written(&self) -> f64 {
        let tables = &self.ranks.workload.tables;
        let bytes = |table: usize| tables[table].bytes() as f64;
        let of = |table: usize| {
            let all = self.ranks.is_scored_whole(table) || !self.ranks.job.table_optimizer().kind.is_sparse();
            let touched = self.ranks.workload.touched.get(table).copied().unwrap_or(1.0);
            if all || touched >= 0.5 { 1.0 } else { touched }
        };
        let all: f64 = (0..tables.len()).map(bytes).sum();
        (0..tables.len()).map(|table| bytes(table) * of(table)).sum::<f64>() / all.max(1.0)
    }

    /// Whether the job goes on until a second copy is due: copies take a twentieth of the time at most.
    fn lasts(&self, bytes: f64) -> bool {
        let of_copy = self.ranks.alone(Term::Copy, &[], 3.0 * bytes).unwrap_or(0.0);
        let training = &self.ranks.job.training;
        let steps = training.max_steps.map_or(f64::INFINITY, |steps| steps as f64);
        steps * self.step > 1.0_f64.max(20.0 * of_copy)
    }

    fn keeps_copies(&self) -> bool {
        self.ranks.n() > 1 && self.ranks.job.checkpoint.memory_copies
    }

    fn neighbour(&self) -> f64 {
        let n = self.ranks.n() as u32;
        self.pieces((self.rank + n - 1) % n)
    }

    /// Bytes of the largest table shard with its optimizer state.
    fn largest_piece(&self) -> f64 {
        let one = |table: usize| {
            let decl = &self.ranks.workload.tables[table];
            let (weights, state) = self.tables(|other| {
                let all = decl.rows as f64 * f64::from(decl.dim + u32::from(decl.bias));
                if other == table { all / f64::from(decl.row_blocks) } else { 0.0 }
            });
            weights + state
        };
        (0..self.ranks.workload.tables.len()).map(one).fold(0.0, f64::max)
    }
}

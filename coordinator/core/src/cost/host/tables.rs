//! Rows of tables: looked up at their owners, given back as gradients, updated.

use muster_proto::measured::calibration::spread;
use muster_proto::measured::{StepShape, Term};
use muster_proto::sharding::Placement;

use super::curves::{Ask, Error};
use super::step::Ranks;

/// How a table lies on ranks, as the points of exchanges say it.
pub(super) fn spread_of(placement: Placement, ranks: usize) -> f64 {
    match placement {
        _ if ranks == 1 => spread::SHARED,
        Placement::TableWise | Placement::ColumnWise => spread::ONE,
        Placement::RowWise | Placement::TableRowWise | Placement::Grid => spread::SHARED,
        Placement::DataParallel => spread::REPLICATED,
    }
}

/// Seconds of the parts of a lookup.
#[derive(Debug, Default)]
pub(super) struct LookUp {
    pub(super) ids: f64,
    pub(super) read: f64,
    pub(super) rows: f64,
}

/// Seconds of the parts of what happens to gradients of rows.
#[derive(Debug, Default)]
pub(super) struct Update {
    pub(super) exchange: f64,
    pub(super) own: f64,
}

impl Ranks<'_> {
    fn spread(&self, table: usize) -> f64 {
        let name = &self.workload.tables[table].name;
        spread_of(self.plan.tables[name].placement, self.n())
    }

    /// One exchange has the messages of all tables, so its start is paid once: what a table adds is what its size adds.
    fn exchange(&self, term: Term, sizes: &[(f64, f64)]) -> Result<f64, Error> {
        if self.n() == 1 {
            return Ok(0.0);
        }
        let (mut start, mut more) = (0.0_f64, 0.0);
        for spread in [spread::ONE, spread::SHARED, spread::REPLICATED] {
            let size: f64 = sizes.iter().filter(|(of, _)| *of == spread).map(|(_, size)| size).sum();
            if size > 0.0 {
                let least = self.alone(term, &[spread], 1.0)?;
                start = start.max(least);
                more += self.alone(term, &[spread], size)? - least;
            }
        }
        Ok(start + more)
    }

    /// The lookup of a step.
    pub(super) fn look_up(&self, step: &StepShape) -> Result<LookUp, Error> {
        let (mut ids, mut values, mut read) = (Vec::new(), Vec::new(), 0.0);
        for (place, table) in self.workload.looked_up.iter().enumerate() {
            let needed = step.ranks.iter().map(|rank| f64::from(rank.rows[place])).fold(0.0, f64::max);
            let (dim, spread) = (f64::from(self.workload.tables[*table].dim), self.spread(*table));
            read += self.alone(Term::LookUpRead, &[dim, spread], needed)?;
            read += self.sorted(step, *table, needed)?;
            ids.push((spread, needed));
            values.push((spread, needed * dim));
        }
        Ok(LookUp {
            ids: self.exchange(Term::LookUpIds, &ids)?,
            read,
            rows: self.exchange(Term::LookUpRows, &values)?,
        })
    }

    /// Sorting the ids that a rank's micro-batches have of a table; what a head scores is sorted in with them.
    fn sorted(&self, step: &StepShape, table: usize, needed: f64) -> Result<f64, Error> {
        let tokens = self.most_tokens(step);
        let scored = self.scored(step, table);
        let inputs = if self.is_input(table) { tokens } else { 0.0 };
        let again = if scored > 0.0 { needed.min(inputs) + scored } else { 0.0 };
        Ok(self.alone(Term::Distinct, &[], inputs)? + self.alone(Term::Distinct, &[], again)?)
    }

    /// Gradients of rows, from those of the network's input to the tables, and both optimizers.
    pub(super) fn update(&self, step: &StepShape) -> Result<Update, Error> {
        let mut update = Update { own: self.row_gradients(step)?, ..Update::default() };
        let mut values = Vec::new();
        for (place, table) in self.workload.looked_up.iter().enumerate() {
            let given = self.per_rank(|micro| f64::from(step.micro[micro].rows[place]));
            let (dim, spread) = (f64::from(self.workload.tables[*table].dim), self.spread(*table));
            update.own += self.alone(Term::PushSum, &[dim, spread], given)?;
            if self.is_scored_whole(*table) {
                // The head left a dense gradient, to which sums of rows are added at once, by the rank's own thread.
                let touched = self.touched(step, *table) * self.largest_share(*table);
                update.own +=
                    self.busy(Term::AddRows, (&[dim], touched), self.machine.cores.min(self.n() as f64))?;
            }
            values.push((spread, given * dim));
        }
        update.exchange = self.exchange(Term::PushRows, &values)?;
        if self.job.training.clip_norm.is_some() {
            update.own += self.alone(Term::Words, &[], 1.0)?;
            update.own += self.alone(Term::Clip, &[], self.clipped(step))?;
        }
        update.own += self.optimizers(step)?;
        Ok(update)
    }

    fn row_gradients(&self, step: &StepShape) -> Result<f64, Error> {
        let busy = self.pool_busy();
        let tasks = self.of_micro(step, |micro| {
            let of_table = |table: &usize| {
                let dim = f64::from(self.workload.tables[*table].dim);
                let inputs = if self.is_input(*table) { micro.tokens() } else { 0.0 };
                let occurrences = inputs + self.scored_of(micro, *table);
                let parts = if f64::from(self.workload.input) > dim { 2.0 } else { 1.0 };
                self.busy(Term::RowGradients, (&[dim, parts], occurrences), busy)
            };
            self.workload.looked_up.iter().map(of_table).sum()
        })?;
        Ok(self.machine.seconds(&tasks) + self.fork()?)
    }

    /// Values of a rank's gradients that are clipped.
    fn clipped(&self, step: &StepShape) -> f64 {
        let of_table = |table: usize| {
            let decl = &self.workload.tables[table];
            let share = self.largest_share(table);
            let rows = if self.is_scored_whole(table) { decl.rows as f64 } else { self.touched(step, table) };
            rows * f64::from(decl.dim) * share
        };
        (0..self.workload.tables.len()).map(of_table).sum::<f64>() + self.workload.parameters as f64
    }

    /// Rows of a table that a step touches on all ranks together, at most.
    fn touched(&self, step: &StepShape, table: usize) -> f64 {
        let place = self.workload.looked_up.iter().position(|known| *known == table);
        let touched: f64 =
            place.map_or(0.0, |place| step.ranks.iter().map(|r| f64::from(r.rows[place])).sum());
        touched.min(self.workload.tables[table].rows as f64)
    }

    /// The largest share of a table's rows that a rank has.
    pub(super) fn largest_share(&self, table: usize) -> f64 {
        (0..self.n() as u32).map(|rank| self.share(table, rank)).fold(0.0, f64::max)
    }

    /// The share of a table's rows that a rank has.
    pub(super) fn share(&self, table: usize, rank: u32) -> f64 {
        let plan = &self.plan.tables[&self.workload.tables[table].name];
        let owned = plan.owners.iter().filter(|owner| **owner == rank).count() as f64;
        match plan.placement {
            Placement::DataParallel => 1.0,
            _ => owned / plan.owners.len().max(1) as f64,
        }
    }

    /// Both optimizers: table shards and the dense parameters are tasks of one list.
    fn optimizers(&self, step: &StepShape) -> Result<f64, Error> {
        let busy = self.machine.busy((0..self.n()).map(|_| self.machine.threads));
        let kind = self.job.table_optimizer().kind;
        let ask = |term, kind, at: &[f64], size| {
            self.curves.seconds(Ask { term, optimizer: Some(kind), at, size, busy })
        };
        let mut tasks = vec![Vec::new(); self.n()];
        for (rank, tasks) in tasks.iter_mut().enumerate() {
            let rank = rank as u32;
            let all: f64 = (0..self.workload.tables.len()).map(|table| self.values(table, rank)).sum();
            for (table, decl) in self.workload.tables.iter().enumerate() {
                let shards = f64::from(decl.row_blocks) * self.share(table, rank);
                let values = self.values(table, rank);
                let whole = self.is_scored_whole(table);
                let seconds = if whole || !kind.is_sparse() {
                    // All shards pass through the caches one after the other, so that their sum decides how fast.
                    let fill = self.curves.seconds(Ask::new(Term::Densify, &[], all, busy))?;
                    let fill = if whole { 0.0 } else { fill };
                    let add = if whole { 0.0 } else { self.touched(step, table) * self.share(table, rank) };
                    let add = self.busy(Term::AddRows, (&[f64::from(decl.dim)], add), busy)?;
                    (ask(Term::UpdateAll, kind, &[], all)? + fill) * values / all.max(1.0) + add
                } else {
                    let touched = self.touched(step, table) * self.share(table, rank);
                    ask(Term::UpdateRows, kind, &[f64::from(decl.dim)], touched)?
                };
                let shards = shards.round().max(1.0) as usize;
                tasks.extend(std::iter::repeat_n(seconds / shards as f64, shards));
            }
            let parameters = self.workload.parameters as f64;
            tasks.push(ask(Term::UpdateAll, self.job.optimizer.kind, &[], parameters)?);
        }
        Ok(self.machine.seconds(&tasks) + self.fork()?)
    }

    /// Values of a table that a rank has, biases among them.
    pub(super) fn values(&self, table: usize, rank: u32) -> f64 {
        let decl = &self.workload.tables[table];
        decl.rows as f64 * f64::from(decl.dim + u32::from(decl.bias)) * self.share(table, rank)
    }
}

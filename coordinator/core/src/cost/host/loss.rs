//! Heads: the full softmax over table shards, and the heads that look rows up.

use muster_proto::job::Head;
use muster_proto::job::tables::{ITEM, OUTPUT};
use muster_proto::measured::{MicroShape, StepShape, Term};
use muster_proto::sharding::{Placement, TableDecl};

use super::curves::Error;
use super::step::Ranks;
use super::tables::spread_of;

impl Ranks<'_> {
    /// The table that items are scored against.
    pub(super) fn output(&self) -> Option<(usize, &TableDecl)> {
        let name = if self.job.model.head.tied() { ITEM } else { OUTPUT };
        self.workload.tables.iter().enumerate().find(|(_, table)| table.name == name)
    }

    /// Whether a table is scored whole in each step.
    pub(super) fn is_scored_whole(&self, table: usize) -> bool {
        let softmax = matches!(self.job.model.head, Head::Softmax { .. });
        softmax && self.output().is_some_and(|(output, _)| output == table)
    }

    /// Seconds of the head of a step.
    pub(super) fn loss(&self, step: &StepShape) -> Result<f64, Error> {
        match &self.job.model.head {
            Head::Softmax { .. } => self.full_softmax(step),
            _ => {
                let busy = self.pool_busy();
                let tasks = self.of_micro(step, |micro| {
                    let tokens = micro.tokens();
                    let dim = f64::from(self.job.model.head_input());
                    match &self.job.model.head {
                        Head::SampledSoftmax { negatives, .. } => {
                            self.busy(Term::SampledSoftmax, (&[dim, f64::from(*negatives)], tokens), busy)
                        }
                        Head::Regression {} => self.busy(
                            Term::Pointwise,
                            (&[f64::from(self.workload.outputs)], micro.sequences()),
                            busy,
                        ),
                        _ => self.busy(Term::Pointwise, (&[dim], tokens), busy),
                    }
                })?;
                Ok(self.machine.seconds(&tasks) + self.fork()? + self.alone(Term::Words, &[], 1.0)?)
            }
        }
    }

    /// Scores block after block of positions; the owners of table shards meet after each.
    fn full_softmax(&self, step: &StepShape) -> Result<f64, Error> {
        let Some((_, table)) = self.output() else { return Ok(0.0) };
        let positions: f64 = step.micro.iter().map(MicroShape::tokens).sum();
        let plan = &self.plan.tables[&table.name];
        let dim = f64::from(table.dim);
        let blocks = f64::from(table.row_blocks);
        let spread = match plan.placement {
            Placement::DataParallel => self.shared(),
            placement => spread_of(placement, self.n()),
        };
        let mut seconds = self.alone(Term::SoftmaxFrame, &[dim, blocks, spread], positions)?;
        if plan.placement == Placement::DataParallel && self.n() > 1 {
            let values = table.rows as f64 * (dim + f64::from(u8::from(table.bias)));
            seconds += self.alone(Term::ShareGradients, &[], values)?;
        }
        let owned: Vec<Vec<f64>> = (0..self.n() as u32)
            .map(|rank| {
                let mine = (0..table.row_blocks).filter(|block| plan.owners[*block as usize] == rank);
                mine.map(|block| table.rows_in_block(block) as f64).collect()
            })
            .collect();
        let busy = self.machine.busy(owned.iter().map(Vec::len));
        let at_once = f64::from(self.job.batch.score_block);
        let (whole, last) = ((positions / at_once).floor(), positions % at_once);
        for (times, positions) in [(whole, at_once), (1.0, last)] {
            if positions <= 0.0 || times <= 0.0 {
                continue;
            }
            let task = |rows: &f64| self.busy(Term::Softmax, (&[dim, positions], *rows), busy);
            let tasks = owned.iter().map(|rows| rows.iter().map(task).collect());
            seconds += times * self.machine.seconds(&tasks.collect::<Result<Vec<Vec<f64>>, Error>>()?);
        }
        Ok(seconds)
    }
}

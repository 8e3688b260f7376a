//! The network on one micro-batch, forward and backward.

use muster_proto::job::{Combine, ModelSpec};
use muster_proto::measured::calibration::tail;
use muster_proto::measured::{MicroShape, Term, Workload};

use super::curves::{Ask, Curves, Error};

/// The network of a job, asked with so many threads at work.
#[derive(Debug, Clone, Copy)]
pub(super) struct Network<'a> {
    pub(super) curves: &'a Curves,
    pub(super) model: &'a ModelSpec,
    pub(super) workload: &'a Workload,
    pub(super) busy: f64,
}

impl Network<'_> {
    fn ask(&self, term: Term, at: &[f64], size: f64) -> Result<f64, Error> {
        self.curves.seconds(Ask::new(term, at, size, self.busy))
    }

    /// Seconds of a micro-batch forward, from looked-up rows to what the head gets.
    pub(super) fn forward(&self, micro: &MicroShape) -> Result<f64, Error> {
        let tokens = micro.tokens();
        let mut seconds = self.assemble(tokens)? + self.dropouts(tokens)?;
        for input in self.inputs() {
            seconds += self.ask(Term::InputForward, &[input, self.hidden()], tokens)?;
            seconds += self.recurrence(Term::LstmForward, micro)?;
        }
        for (input, output, rows) in self.linears(micro) {
            seconds += self.ask(Term::InputForward, &[input, output / 4.0], rows)?;
        }
        Ok(seconds)
    }

    /// Seconds of a micro-batch backward, from the gradient of what the head got to that of rows.
    pub(super) fn backward(&self, micro: &MicroShape) -> Result<f64, Error> {
        let tokens = micro.tokens();
        let mut seconds = self.dropouts(tokens)?;
        for input in self.inputs() {
            seconds += self.ask(Term::InputBackward, &[input, self.hidden()], tokens)?;
            seconds += self.recurrence(Term::LstmBackward, micro)?;
        }
        for (input, output, rows) in self.linears(micro) {
            seconds += self.ask(Term::InputBackward, &[input, output / 4.0], rows)?;
        }
        Ok(seconds)
    }

    fn hidden(&self) -> f64 {
        f64::from(self.model.hidden_size)
    }

    /// Columns of each layer's input.
    fn inputs(&self) -> impl Iterator<Item = f64> {
        let (first, hidden) = (f64::from(self.workload.input), self.hidden());
        (0..self.model.layers).map(move |layer| if layer == 0 { first } else { hidden })
    }

    /// A layer's recurrence: each time step costs as it does with so many sequences alive.
    fn recurrence(&self, term: Term, micro: &MicroShape) -> Result<f64, Error> {
        let tokens = micro.tokens();
        if tokens == 0.0 {
            return Ok(0.0);
        }
        let (hidden, tail) = tail::of(self.model.hidden_size);
        let each = micro.alive.chunk_by(|a, b| a == b).map(|alike| {
            let alive = f64::from(alike[0]);
            let whole = self.ask(term, &[hidden, alive, tail], tokens)?;
            Ok(whole * alive * alike.len() as f64 / tokens)
        });
        each.sum()
    }

    /// Input and output columns of the projection and of a linear head, with the rows that they take.
    fn linears(&self, micro: &MicroShape) -> Vec<(f64, f64, f64)> {
        let head = f64::from(self.model.head_input());
        let projection = self.model.projection.map(|_| (self.hidden(), head, micro.tokens()));
        let outputs = f64::from(self.workload.outputs);
        let linear = (outputs > 0.0).then_some((head, outputs, micro.sequences()));
        projection.into_iter().chain(linear).collect()
    }

    fn assemble(&self, tokens: f64) -> Result<f64, Error> {
        let item = (!self.model.head.is_regression()).then_some(self.model.embedding_dim);
        let features = self.model.features.iter().map(|feature| match self.model.combine {
            Combine::Concat => feature.dim.unwrap_or(1),
            Combine::Add => self.model.embedding_dim,
        });
        item.into_iter().chain(features).map(|dim| self.ask(Term::Assemble, &[f64::from(dim)], tokens)).sum()
    }

    fn dropouts(&self, tokens: f64) -> Result<f64, Error> {
        let ModelSpec { dropout_embedding, dropout_layers, dropout_output, layers, .. } = *self.model;
        let places = [
            (dropout_embedding, f64::from(self.workload.input)),
            (dropout_layers, self.hidden() * f64::from(layers.saturating_sub(1))),
            (dropout_output, f64::from(self.model.head_input())),
        ];
        let used = places.into_iter().filter(|(rate, _)| *rate > 0.0);
        used.map(|(_, width)| self.ask(Term::Dropout, &[], tokens * width)).sum()
    }
}

//! Names and sizes of the optimizers' state arrays, for whoever allocates, moves or saves them.

/// The optimizers that exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Stochastic gradient descent, with or without momentum.
    Sgd,
    /// Adam with L2 weight decay; on rows, lazy Adam.
    Adam,
    /// Adam with decoupled weight decay.
    AdamW,
    /// Adagrad with one accumulator per element.
    Adagrad,
    /// Adagrad with one accumulator per row.
    RowwiseAdagrad,
}

/// How many values of a state array belong to one row of parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PerRow {
    /// As many as the row has parameters.
    Element,
    /// One.
    Row,
}

impl PerRow {
    /// Returns the number of values per row of `dim` parameters.
    pub fn count(self, dim: usize) -> usize {
        match self {
            Self::Element => dim,
            Self::Row => 1,
        }
    }
}

/// A state array of an optimizer, under PyTorch's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateSlot {
    /// Name in checkpoints.
    pub name: &'static str,
    /// Its size.
    pub per_row: PerRow,
}

impl StateSlot {
    const fn new(name: &'static str, per_row: PerRow) -> Self {
        Self { name, per_row }
    }
}

/// Returns the state arrays of an optimizer, in the order in which its update takes them.
pub fn state_slots(kind: Kind) -> &'static [StateSlot] {
    const MOMENTUM: &[StateSlot] = &[StateSlot::new("momentum_buffer", PerRow::Element)];
    const MOMENTS: &[StateSlot] =
        &[StateSlot::new("exp_avg", PerRow::Element), StateSlot::new("exp_avg_sq", PerRow::Element)];
    const SUM: &[StateSlot] = &[StateSlot::new("sum", PerRow::Element)];
    const ROW_SUM: &[StateSlot] = &[StateSlot::new("sum", PerRow::Row)];
    match kind {
        Kind::Sgd => MOMENTUM,
        Kind::Adam | Kind::AdamW => MOMENTS,
        Kind::Adagrad => SUM,
        Kind::RowwiseAdagrad => ROW_SUM,
    }
}

//! From looked-up rows and numeric features to the first layer's input, and back.

use muster_proto::job::{Combine, ModelSpec};

use crate::batch::MicroBatch;
use crate::embedding::{LookupRequest, Rows};

/// One part of an event's input vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputPart {
    /// The item's row in table `table`.
    Item {
        /// Index of the table.
        table: usize,
    },
    /// The row of the `feature`-th categorical feature of the batch in table `table`.
    Categorical {
        /// Index of the table.
        table: usize,
        /// Index among the batch's categorical features.
        feature: usize,
    },
    /// All numeric columns.
    Numeric {
        /// How many there are.
        width: usize,
    },
}

impl InputPart {
    /// The table that the part comes from and its ids in a batch; none for numeric columns.
    pub(crate) fn lookup<'b>(&self, batch: &'b MicroBatch) -> Option<(usize, &'b [u32])> {
        match *self {
            Self::Item { table } => Some((table, &batch.items)),
            Self::Categorical { table, feature } => Some((table, &batch.categorical[feature])),
            Self::Numeric { .. } => None,
        }
    }
}

/// How an event becomes one vector.
#[derive(Debug, Clone)]
pub struct Inputs {
    parts: Vec<(InputPart, usize)>,
    combine: Combine,
    width: usize,
}

impl Inputs {
    /// The input of a job: the item (unless it has none), its categorical features in table order, and `numeric`
    /// numeric columns.
    #[must_use]
    pub fn new(spec: &ModelSpec, numeric: usize) -> Self {
        let mut parts = Vec::new();
        if !spec.head.is_regression() {
            parts.push((InputPart::Item { table: 0 }, spec.embedding_dim as usize));
            let dims = spec.features.iter().filter_map(|f| f.dim);
            for (feature, dim) in dims.enumerate() {
                parts.push((InputPart::Categorical { table: feature + 1, feature }, dim as usize));
            }
        }
        if numeric > 0 {
            parts.push((InputPart::Numeric { width: numeric }, numeric));
        }
        let width = match spec.combine {
            Combine::Concat => parts.iter().map(|(_, w)| w).sum(),
            Combine::Add => parts.first().map_or(0, |(_, w)| *w),
        };
        Self { parts, combine: spec.combine, width }
    }

    /// Columns of the combined vector.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// Whether the parts of an event are added up, not laid side by side.
    pub(crate) fn adds(&self) -> bool {
        self.combine == Combine::Add
    }

    /// The parts with their first column in the combined vector and their number of columns.
    pub(crate) fn places(&self) -> Vec<(InputPart, usize, usize)> {
        let mut offset = 0;
        let place = |(part, width): &(InputPart, usize)| {
            let place = if self.combine == Combine::Concat { offset } else { 0 };
            offset += width;
            (*part, place, *width)
        };
        self.parts.iter().map(place).collect()
    }

    /// The tables that inputs come from, with the ids that a batch needs of each.
    pub fn tables<'b>(&self, batch: &'b MicroBatch) -> Vec<(usize, &'b [u32])> {
        self.parts.iter().filter_map(|(part, _)| part.lookup(batch)).collect()
    }

    /// One request a table for the inputs of all `batches`.
    #[must_use]
    pub fn requests(&self, batches: &[MicroBatch]) -> Vec<LookupRequest> {
        let empty = MicroBatch::with_features(self.parts.len());
        let tables = self.tables(&empty).into_iter().map(|(table, _)| table);
        let ids = |table: usize| {
            batches
                .iter()
                .flat_map(move |b| self.tables(b).into_iter().filter(move |(t, _)| *t == table))
                .flat_map(|(_, ids)| ids.iter().copied())
        };
        tables.map(|table| LookupRequest::of(table, ids(table))).collect()
    }

    /// Fills the input `x` `[tokens, width]` of a batch from looked-up rows, one `Rows` a table in order.
    pub fn assemble(&self, batch: &MicroBatch, looked_up: &[Rows], x: &mut [f32]) {
        if self.combine == Combine::Add {
            x.fill(0.0);
        }
        for (part, place, width) in self.places() {
            let Some((table, ids)) = part.lookup(batch) else {
                self.add_rows(x, place, width, batch.numeric.chunks_exact(width));
                continue;
            };
            let rows = &looked_up[table];
            let row = |id: &u32| {
                let slot = rows.slot(*id);
                &rows.rows[slot * width..(slot + 1) * width]
            };
            self.add_rows(x, place, width, ids.iter().map(row));
        }
    }

    fn add_rows<'r>(&self, x: &mut [f32], place: usize, width: usize, rows: impl Iterator<Item = &'r [f32]>) {
        for (to, row) in x.chunks_exact_mut(self.width).zip(rows) {
            let to = &mut to[place..place + width];
            match self.combine {
                Combine::Concat => to.copy_from_slice(row),
                Combine::Add => to.iter_mut().zip(row).for_each(|(to, value)| *to += value),
            }
        }
    }

    /// The gradient of each table's looked-up rows, `[tokens, dim]`, from the gradient of the input.
    #[must_use]
    pub fn table_gradients(&self, d_x: &[f32]) -> Vec<(usize, Vec<f32>)> {
        let mut gradients = Vec::new();
        for (part, place, width) in self.places() {
            let (InputPart::Item { table } | InputPart::Categorical { table, .. }) = part else { continue };
            let rows = if width == self.width {
                d_x.to_vec()
            } else {
                d_x.chunks_exact(self.width)
                    .flat_map(|row| row[place..place + width].iter().copied())
                    .collect()
            };
            gradients.push((table, rows));
        }
        gradients
    }
}

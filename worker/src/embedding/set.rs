//! The tables of a job on one rank: as they are declared, and as the model sees them.
//!
//! A table that is cut into column blocks is several declared ones, each with shards, owners and pieces of its own. To the
//! model it is one: [`look_up`](super::look_up) and [`push_gradients`](super::push_gradients) take the model's tables, and put
//! rows side by side or take gradients apart.

use std::ops::Range;

use super::table::Table;

/// A table as the model sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelTable {
    /// Its name.
    pub name: String,
    /// Number of rows.
    pub rows: u64,
    /// Columns of a whole row.
    pub dim: usize,
    /// The declared tables that it consists of: itself, or its column blocks in order.
    pub parts: Range<usize>,
}

impl ModelTable {
    /// Whether it is cut into column blocks.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.parts.len() > 1
    }
}

/// The tables of a job on one rank, in the job's order.
#[derive(Debug, Clone, Default)]
pub struct TableSet {
    /// The tables as they are declared.
    pub tables: Vec<Table>,
    model: Vec<ModelTable>,
}

impl TableSet {
    /// From the declared tables; column blocks of one table come one after the other.
    #[must_use]
    pub fn new(tables: Vec<Table>) -> Self {
        let mut model: Vec<ModelTable> = Vec::new();
        for (index, Table { decl, .. }) in tables.iter().enumerate() {
            match model.last_mut().filter(|last| last.name == decl.table()) {
                Some(last) => last.parts.end = index + 1,
                None => model.push(ModelTable {
                    name: decl.table().to_owned(),
                    rows: decl.rows,
                    dim: decl.whole_dim() as usize,
                    parts: index..index + 1,
                }),
            }
        }
        Self { tables, model }
    }

    /// The tables as the model sees them.
    #[must_use]
    pub fn of_model(&self) -> &[ModelTable] {
        &self.model
    }

    /// The index of the model's table called `name`.
    #[must_use]
    pub fn index(&self, name: &str) -> Option<usize> {
        self.model.iter().position(|table| table.name == name)
    }

    /// The declared tables that a table of the model consists of.
    #[must_use]
    pub fn parts(&self, table: usize) -> &[Table] {
        &self.tables[self.model[table].parts.clone()]
    }

    /// Whether some table is cut into column blocks.
    #[must_use]
    pub fn has_cut(&self) -> bool {
        self.model.iter().any(ModelTable::is_cut)
    }
}

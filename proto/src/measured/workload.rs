//! The shape of a job's steps: what a step computes, sends and holds, counted and not timed.
//!
//! The batches of a job follow from the job and the dataset alone, so the shape of its steps can be counted before it runs.

use serde::{Deserialize, Serialize};

use crate::sharding::TableDecl;

/// The steps of a job on so many ranks.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Workload {
    /// Ranks.
    pub world_size: u32,
    /// The tables, in the job's order.
    pub tables: Vec<TableDecl>,
    /// The tables whose rows are looked up, by their place among the tables, in the order of exchanges.
    pub looked_up: Vec<usize>,
    /// Columns of the network's input.
    pub input: u32,
    /// Values that a linear head predicts; 0 without one.
    pub outputs: u32,
    /// Numeric columns of an event.
    pub numeric: u32,
    /// Dense parameters.
    pub parameters: u64,
    /// Some steps of the first epoch, evenly apart.
    pub steps: Vec<StepShape>,
    /// Share of each table's rows that the run writes, in the order of the tables.
    pub touched: Vec<f64>,
    /// What each rank holds of the dataset.
    pub resident: Vec<Resident>,
}

/// One step.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StepShape {
    /// Its micro-batches, in order.
    pub micro: Vec<MicroShape>,
    /// Its ranks, in order.
    pub ranks: Vec<RankShape>,
}

/// One micro-batch.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct MicroShape {
    /// Sequences that are alive at each time; their sum is the number of tokens.
    pub alive: Vec<u32>,
    /// Distinct rows of each looked-up table that get a gradient.
    pub rows: Vec<u32>,
}

impl MicroShape {
    /// Tokens.
    #[must_use]
    pub fn tokens(&self) -> f64 {
        self.alive.iter().map(|alive| f64::from(*alive)).sum()
    }

    /// Sequences.
    #[must_use]
    pub fn sequences(&self) -> f64 {
        self.alive.first().map_or(0.0, |alive| f64::from(*alive))
    }
}

/// What one rank needs of the tables in a step.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RankShape {
    /// Distinct rows of each looked-up table, over all of its micro-batches.
    pub rows: Vec<u32>,
}

/// What a rank holds of the dataset all the time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Resident {
    /// Bytes of events, users and samples.
    pub data: f64,
    /// Tokens of the largest call of the network in an evaluation.
    pub call_tokens: f64,
    /// Most distinct items of a round of an evaluation, whose rows are looked up together.
    pub round_items: f64,
}

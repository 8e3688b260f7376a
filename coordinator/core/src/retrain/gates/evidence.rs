//! What is known of a candidate when it is judged.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A candidate beside the champion, on one holdout.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// The candidate.
    pub candidate: Measured,
    /// The champion, scored again on the same holdout; none where there is no champion yet.
    pub champion: Option<Measured>,
    /// Parts of the holdout, that users name by their place here.
    pub slices: Vec<Slice>,
    /// The holdout's users, each once; their order does not matter.
    pub users: Vec<UserScore>,
    /// What people said.
    pub approvals: Vec<Approval>,
}

/// What was measured of a model. What was not is absent, or has no name in `metrics`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// The digest over its pieces.
    pub model_digest: String,
    /// Metrics of the holdout, among them `Coverage@K` and `Novelty@K`.
    pub metrics: BTreeMap<String, f64>,
    /// Parameters that are no numbers; none where nobody looked.
    pub non_finite: Option<u64>,
    /// The Euclidean norm of the longest row of an embedding table.
    pub longest_row: Option<f64>,
    /// Bytes of its files.
    pub bytes: Option<u64>,
    /// The time that 99 of 100 answers took at most, when it was loaded and asked.
    pub latency: Option<Duration>,
}

/// A part of the holdout.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Slice {
    /// What users are told apart by: a column, `new_users`, `new_items`.
    pub by: String,
    /// Its value.
    pub value: String,
}

/// What a user's held-out event gave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UserScore {
    /// The user, by number in the dataset.
    pub user: u32,
    /// The metric of the candidate's ranking.
    pub candidate: f64,
    /// The metric of the champion's; none where there is no champion.
    pub champion: Option<f64>,
    /// The parts that the user is in, by their places.
    pub slices: Vec<u32>,
}

/// A person's word on a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Of which model: the digest over its pieces.
    pub model_digest: String,
}

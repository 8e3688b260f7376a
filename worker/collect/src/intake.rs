//! What both ways in share: check, queue, wait, and say what became of each event.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use muster_proto::collect::{CollectSpec, LimitsSpec};
use muster_proto::wire;
use serde::Serialize;
use tokio::sync::watch;

use crate::event::Fields;
use crate::metrics::Metrics;
use crate::queue::{Kept, Queue, Refused};
use crate::schema::{Checked, Schema};
use crate::writer::now;

/// The most refusals that an answer lists.
pub(crate) const MAX_REASONS: usize = 1000;

/// What handlers work with.
#[derive(Debug, Clone)]
pub(crate) struct Intake {
    pub(crate) schema: Arc<Schema>,
    pub(crate) queue: Queue,
    pub(crate) limits: LimitsSpec,
    pub(crate) metrics: Arc<Metrics>,
    /// Turns true when the process is about to end.
    pub(crate) ending: watch::Receiver<bool>,
}

/// What became of the events of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Answer {
    pub(crate) accepted: u64,
    pub(crate) duplicates: u64,
    pub(crate) rejected: u64,
    pub(crate) reasons: Vec<Rejected>,
}

/// An event that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Rejected {
    pub(crate) index: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) field: String,
    pub(crate) reason: String,
}

impl Intake {
    pub(crate) fn new(
        spec: &CollectSpec,
        queue: Queue,
        metrics: Arc<Metrics>,
        ending: watch::Receiver<bool>,
    ) -> Self {
        Self { schema: Arc::new(Schema::new(spec)), queue, limits: spec.limits.clone(), metrics, ending }
    }

    /// The events that may be kept, and an answer with the others; the first event has number `from`.
    pub(crate) fn sift(
        &self,
        events: impl IntoIterator<Item = Result<Fields, String>>,
        from: u64,
    ) -> (Vec<Checked>, Answer) {
        let now = now();
        let (mut good, mut answer) = (Vec::new(), Answer::default());
        for (index, event) in (from..).zip(events) {
            let checked = match event {
                Ok(fields) => {
                    self.schema.check(fields, now).map_err(|refusal| (refusal.field, refusal.reason))
                }
                Err(reason) => Err((String::new(), reason)),
            };
            match checked {
                Ok(event) => good.push(event),
                Err((field, reason)) => answer.reject(Rejected { index, field, reason }),
            }
        }
        self.metrics.rejected.fetch_add(answer.rejected, Ordering::Relaxed);
        (good, answer)
    }

    /// Counts a request that is told to come again.
    pub(crate) fn turned_away(&self, refused: &Refused) {
        match refused {
            Refused::Full => self.metrics.full.fetch_add(1, Ordering::Relaxed),
            Refused::Unwritable { .. } | Refused::Ending => {
                self.metrics.unwritable.fetch_add(1, Ordering::Relaxed)
            }
        };
    }
}

impl Answer {
    fn reject(&mut self, rejected: Rejected) {
        self.rejected += 1;
        if self.reasons.len() < MAX_REASONS {
            self.reasons.push(rejected);
        }
    }

    pub(crate) fn keep(&mut self, kept: Kept) {
        self.accepted += kept.accepted;
        self.duplicates += kept.duplicates;
    }

    /// Adds what became of a later part of the same request.
    pub(crate) fn add(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.duplicates += other.duplicates;
        self.rejected += other.rejected;
        let room = MAX_REASONS - self.reasons.len();
        self.reasons.extend(other.reasons.into_iter().take(room));
    }
}

impl From<Answer> for wire::CollectResponse {
    fn from(answer: Answer) -> Self {
        let reason = |rejected: Rejected| wire::RejectedEvent {
            index: rejected.index,
            field: rejected.field,
            reason: rejected.reason,
        };
        Self {
            accepted: answer.accepted,
            duplicates: answer.duplicates,
            rejected: answer.rejected,
            reasons: answer.reasons.into_iter().map(reason).collect(),
        }
    }
}

//! The registry: each rule by example, and what holds whatever is asked of it.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod laws;
mod rules;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use muster_core::Write;
use muster_core::retrain::registry::{Actor, Lineage, Model, Registry, VersionNumber};

/// So many hours after midnight.
fn hours(hours: i64) -> Timestamp {
    "2026-11-28T00:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_hours(hours)
}

fn ana(at: i64) -> Actor<'static> {
    Actor { by: "ana", at: hours(at) }
}

/// A model of so many bytes, another one for each digest.
fn model(digest: &str, bytes: u64) -> Model {
    Model {
        model_digest: digest.to_owned(),
        checkpoint: format!("runs/{digest}"),
        checkpoint_digest: format!("manifest of {digest}"),
        bytes,
        dataset: String::new(),
        folder: None,
        lineage: Lineage::default(),
        metrics: [("NDCG@10".to_owned(), 0.25)].into(),
        cost: Default::default(),
        judgement: None,
    }
}

/// What a store has after writes.
fn apply(store: &mut BTreeMap<String, Vec<u8>>, writes: Vec<Write>) {
    for write in writes {
        match write {
            Write::Put { key, value } => drop(store.insert(key, value)),
            Write::Delete { key } => drop(store.remove(&key)),
        }
    }
}

/// A registry of models `m1`, `m2`, ... that were registered an hour apart, of 100 bytes each.
fn registry(versions: u64) -> Registry {
    let mut registry = Registry::new("shop").unwrap();
    for number in 1..=versions {
        let (given, _) = registry.register(model(&format!("m{number}"), 100), ana(number as i64)).unwrap();
        assert_eq!(given, VersionNumber(number));
    }
    registry
}

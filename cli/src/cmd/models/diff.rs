//! Two versions side by side.

use std::collections::{BTreeMap, BTreeSet};

use muster_core::retrain::registry::Version;
use serde_json::{Value, json};

use crate::capacity::question::spoken;
use crate::metrics;
use crate::output::Report;
use crate::table::{Table, mebibytes};
use crate::when::shown;

/// What differs between two versions.
#[derive(Debug)]
pub(super) struct Diff {
    model: String,
    versions: (u64, u64),
    /// By name: the value of one and of the other, where they have it.
    metrics: Vec<(String, Option<f64>, Option<f64>)>,
    facts: Vec<Pair>,
    /// Keys of the job files.
    job: Vec<Pair>,
}

/// Something that differs: its name, what it is in one and in the other.
type Pair = (String, String, String);

impl Diff {
    /// Compares two versions of a model.
    pub(super) fn of(model: &str, from: &Version, to: &Version) -> Self {
        let (one, other) = (&from.model, &to.model);
        let names: BTreeSet<&str> =
            one.metrics.keys().chain(other.metrics.keys()).map(String::as_str).collect();
        let metric =
            |name: &str| (name.to_owned(), one.metrics.get(name).copied(), other.metrics.get(name).copied());
        let facts = facts(from).into_iter().zip(facts(to));
        let facts = facts.map(|((name, one), (_, other))| (name.to_owned(), one, other));
        Self {
            model: model.to_owned(),
            versions: (from.number.0, to.number.0),
            metrics: metrics::ordered(names.into_iter()).into_iter().map(metric).collect(),
            facts: facts.filter(|(_, one, other)| one != other).collect(),
            job: differing(&one.lineage.job, &other.lineage.job),
        }
    }
}

/// What is worth comparing besides metrics, always in the same order.
fn facts(version: &Version) -> [(&'static str, String); 13] {
    let (model, lineage) = (&version.model, &version.model.lineage);
    let window = lineage.window.map(|(from, until)| format!("{} to {}", shown(from), shown(until)));
    let gates = model.judgement.as_ref().map(|judgement| judgement.outcome.to_string());
    [
        ("made", shown(version.created)),
        ("gates", gates.unwrap_or_default()),
        ("window", window.unwrap_or_default()),
        ("files", lineage.files.to_string()),
        ("files' digest", lineage.files_digest.clone()),
        ("dataset", lineage.dataset.clone()),
        ("model digest", model.model_digest.clone()),
        ("size", mebibytes(model.bytes)),
        ("processors", spoken(model.cost.cpu_seconds)),
        ("code", lineage.code.clone()),
        ("numerics", lineage.numerics.clone()),
        ("seed", lineage.seed.to_string()),
        ("parent", lineage.parent.map_or_else(String::new, |parent| parent.to_string())),
    ]
}

/// Dotted keys of two files that have other values; a text that is no TOML differs as a whole.
fn differing(one: &str, other: &str) -> Vec<Pair> {
    let (one, other) = (keys_of(one), keys_of(other));
    let all: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    let value = |of: &BTreeMap<String, String>, key: &String| of.get(key).cloned().unwrap_or_default();
    let pairs = all.into_iter().map(|key| (key.clone(), value(&one, key), value(&other, key)));
    pairs.filter(|(_, one, other)| one != other).collect()
}

fn keys_of(text: &str) -> BTreeMap<String, String> {
    let mut keys = BTreeMap::new();
    match text.parse::<toml::Table>() {
        Ok(table) => collect("", &toml::Value::Table(table), &mut keys),
        Err(_) => {
            keys.insert(String::new(), text.to_owned());
        }
    }
    keys
}

fn collect(path: &str, value: &toml::Value, keys: &mut BTreeMap<String, String>) {
    match value {
        toml::Value::Table(table) => {
            for (key, value) in table {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                collect(&path, value, keys);
            }
        }
        value => {
            keys.insert(path.to_owned(), value.to_string());
        }
    }
}

impl Report for Diff {
    fn text(&self) -> String {
        let (from, to) = (format!("version {}", self.versions.0), format!("version {}", self.versions.1));
        let mut parts = vec![format!("model {}", self.model)];
        if !self.metrics.is_empty() {
            let mut table = Table::new(["metric", &from, &to, "change"]);
            for (name, one, other) in &self.metrics {
                let shown =
                    |value: &Option<f64>| value.map_or_else(String::new, |value| format!("{value:.4}"));
                let change = one.zip(*other).map(|(one, other)| format!("{:+.4}", other - one));
                table.row([name.clone(), shown(one), shown(other), change.unwrap_or_default()]);
            }
            parts.push(table.render());
        }
        for (what, pairs) in [("what differs", &self.facts), ("key of the job", &self.job)] {
            if !pairs.is_empty() {
                let mut table = Table::new([what, &from, &to]);
                pairs.iter().for_each(|(name, one, other)| table.row([name, one, other].map(String::as_str)));
                parts.push(table.render());
            }
        }
        parts.join("\n\n")
    }

    fn json(&self) -> Value {
        let pairs = |pairs: &[Pair]| -> Vec<Value> {
            pairs.iter().map(|(name, from, to)| json!({"name": name, "from": from, "to": to})).collect()
        };
        let metrics: Vec<Value> = self
            .metrics
            .iter()
            .map(|(name, from, to)| json!({"name": name, "from": from, "to": to}))
            .collect();
        json!({
            "model": self.model, "from": self.versions.0, "to": self.versions.1, "metrics": metrics,
            "differences": pairs(&self.facts), "job": pairs(&self.job),
        })
    }
}

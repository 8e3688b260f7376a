//! What a training run came to: the workers' own summary, with the files that belong to it.

use std::path::Path;

use muster_proto::control::Spent;
use muster_proto::measured::{Breakdown, Forecast};
use serde_json::{Map, Value, json};

use crate::metrics;
use crate::output::Report;
use crate::scored::Scored;
use crate::table::grouped;

/// The summary of a run, as rank 0 gave it, with the paths of its files.
#[derive(Debug, Clone)]
pub struct Summary(Map<String, Value>);

impl Summary {
    /// Adds the run directory and the curves to what rank 0 said.
    pub fn new(summary: Value, run_dir: &Path, curves: &Path) -> Self {
        let mut fields = match summary {
            Value::Object(fields) => fields,
            other => Map::from_iter([("summary".to_owned(), other)]),
        };
        fields.insert("run".to_owned(), Value::from(run_dir.display().to_string()));
        fields.insert("curves".to_owned(), Value::from(curves.display().to_string()));
        Self(fields)
    }

    /// Adds what the steps were forecast to take, and how far that is from what they took.
    #[must_use]
    pub fn scored(mut self, forecast: Option<&Forecast>) -> Self {
        let measured = self.measured();
        let scored = Scored { forecast, measured: &measured };
        self.0.insert("scored".to_owned(), scored.json());
        self.0.insert("forecast".to_owned(), json!(forecast));
        self
    }

    /// What the steps were forecast and measured to take.
    pub fn steps(&self) -> Value {
        let part = |name: &str| self.0.get(name).cloned().unwrap_or_default();
        json!({"forecast": part("forecast"), "measured": part("measured"), "scored": part("scored")})
    }

    /// What each rank's steps took.
    pub fn measured(&self) -> Vec<Breakdown> {
        let told = self.0.get("measured").cloned().unwrap_or_default();
        serde_json::from_value(told).unwrap_or_default()
    }

    /// The digest over all pieces of the model.
    pub fn digest(&self) -> String {
        self.shown("model_digest")
    }

    /// What the job's time was spent on, where the coordinator said.
    pub fn spent(&self) -> Option<Spent> {
        serde_json::from_value(self.0.get("spent")?.clone()).ok()
    }

    /// A metric of the run on held-out events.
    pub fn metric(&self, name: &str) -> Option<f64> {
        self.0.get("metrics")?.get(name)?.as_f64()
    }

    fn shown(&self, key: &str) -> String {
        match self.0.get(key) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => match number.as_u64() {
                Some(count) => grouped(count),
                None => format!("{:.1}", number.as_f64().unwrap_or_default()),
            },
            Some(other) => other.to_string(),
            None => String::new(),
        }
    }
}

impl Report for Summary {
    fn text(&self) -> String {
        let keys = [
            "run",
            "world_size",
            "generation",
            "steps",
            "samples",
            "tokens_per_second",
            "model_digest",
            "checkpoint",
            "curves",
        ];
        let present = keys.iter().filter(|key| self.0.contains_key(**key));
        let mut lines: Vec<String> =
            present.map(|key| format!("  {:<18} {}", key.replace('_', " "), self.shown(key))).collect();
        let forecast =
            self.0.get("forecast").and_then(|told| serde_json::from_value::<Forecast>(told.clone()).ok());
        let measured = self.measured();
        let scored = Scored { forecast: forecast.as_ref(), measured: &measured };
        // The catalogue knows no host well enough to be shown unasked.
        if forecast.as_ref().is_some_and(|forecast| !forecast.peak_bytes.is_empty()) {
            lines.extend([String::new(), scored.text()]);
        }
        if let Some(Value::Object(metrics)) = self.0.get("metrics")
            && !metrics.is_empty()
        {
            let named: Vec<(&str, f64)> =
                metrics.iter().filter_map(|(name, value)| Some((name.as_str(), value.as_f64()?))).collect();
            lines.push(String::new());
            lines.push(metrics::table(&named).render());
        }
        lines.join("\n")
    }

    fn json(&self) -> Value {
        Value::Object(self.0.clone())
    }
}

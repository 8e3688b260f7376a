//! One version, with all that is known of it.

use muster_core::retrain::registry::Version;
use muster_core::retrain::view::ModelView;
use serde_json::{Value, json};

use super::show::aliases_of;
use crate::capacity::question::spoken;
use crate::cmd::schedules::gates;
use crate::metrics;
use crate::output::Report;
use crate::table::{grouped, mebibytes};
use crate::when::shown;

/// A version of a model.
#[derive(Debug)]
pub(super) struct One {
    /// The model.
    pub(super) model: ModelView,
    /// The version.
    pub(super) version: Version,
}

impl Report for One {
    fn text(&self) -> String {
        let Version { number, created, model, notes, labels } = &self.version;
        let lineage = &model.lineage;
        let aliases = aliases_of(&self.model, number.0);
        let mut lines = vec![format!("{number} of model {}", self.model.name)];
        let mut say = |name: &str, text: String| {
            if !text.is_empty() {
                lines.push(format!("  {name:11} {text}"));
            }
        };
        say("aliases", aliases);
        say("made", shown(*created));
        say("run", lineage.run.clone().unwrap_or_default());
        say("parent", lineage.parent.map_or_else(String::new, |parent| parent.to_string()));
        say("checkpoint", format!("{}, {}", model.checkpoint, mebibytes(model.bytes)));
        say("digest", model.model_digest.clone());
        let window =
            lineage.window.map(|(from, until)| format!(", from {}, before {}", shown(from), shown(until)));
        say("dataset", format!("{}{}", model.dataset, window.unwrap_or_default()));
        say("", format!("digest {}, of {} files", lineage.dataset, grouped(lineage.files)));
        say("code", format!("muster {}, numerics {}, seed {}", lineage.code, lineage.numerics, lineage.seed));
        let cost = &model.cost;
        let (workers, processors) = (spoken(cost.worker_seconds), spoken(cost.cpu_seconds));
        say(
            "cost",
            format!(
                "{workers} of workers, {processors} of processors, {} in all",
                spoken(cost.wall.as_secs_f64())
            ),
        );
        labels.iter().for_each(|(name, value)| say("label", format!("{name} = {value}")));
        for (metric, (mean, samples)) in self.model.reported.get(&number.0).into_iter().flatten() {
            say("in service", format!("{metric} {mean} over {} samples", grouped(*samples)));
        }
        for note in notes {
            say("note", format!("{} by {}: {}", shown(note.at), note.by, note.text));
        }
        if !model.metrics.is_empty() {
            let named: Vec<(&str, f64)> =
                model.metrics.iter().map(|(name, value)| (name.as_str(), *value)).collect();
            lines.push(metrics::table(&named).render());
        }
        lines.extend(model.judgement.as_ref().map(gates));
        lines.join("\n")
    }

    fn json(&self) -> Value {
        let reported = self.model.reported.get(&self.version.number.0);
        let aliases: Vec<&String> = self
            .model
            .aliases
            .iter()
            .filter(|(_, at)| **at == self.version.number.0)
            .map(|(alias, _)| alias)
            .collect();
        json!({"model": self.model.name, "aliases": aliases, "version": self.version, "reported": reported})
    }
}

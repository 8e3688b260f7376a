//! Models, all at a glance and one by one.

use muster_core::retrain::registry::{CHAMPION, PREVIOUS, Version};
use muster_core::retrain::view::ModelView;
use serde_json::{Value, json};

use crate::capacity::question::spoken;
use crate::metrics;
use crate::output::Report;
use crate::table::{Table, mebibytes};
use crate::when::shown;

/// Metrics that a list of versions has room for.
const METRICS: usize = 2;

/// All models.
#[derive(Debug)]
pub(super) struct Models(pub(super) Vec<ModelView>);

impl Report for Models {
    fn text(&self) -> String {
        if self.0.is_empty() {
            return "no models; the runs of schedules make them".to_owned();
        }
        let mut table =
            Table::new(["model", "champion", "previous", "other aliases", "versions", "newest", "made"]);
        for model in &self.0 {
            let at = |alias: &str| model.aliases.get(alias).map_or_else(String::new, u64::to_string);
            let others =
                model.aliases.iter().filter(|(alias, _)| ![CHAMPION, PREVIOUS].contains(&alias.as_str()));
            let newest = model.versions.first();
            table.row([
                model.name.clone(),
                at(CHAMPION),
                at(PREVIOUS),
                others.map(|(alias, at)| format!("{alias} {at}")).collect::<Vec<_>>().join(", "),
                model.n_versions.to_string(),
                newest.map_or_else(String::new, |version| version.number.0.to_string()),
                newest.map_or_else(String::new, |version| shown(version.created)),
            ]);
        }
        table.render()
    }

    fn json(&self) -> Value {
        json!({"models": self.0})
    }
}

/// A model with its versions.
#[derive(Debug)]
pub(super) struct Model(pub(super) ModelView);

impl Report for Model {
    fn text(&self) -> String {
        let model = &self.0;
        if model.versions.is_empty() {
            return format!("model {} has no version yet", model.name);
        }
        let named = metrics_of(&model.versions);
        let columns = ["version", "made", "aliases", "gates"].into_iter().map(str::to_owned);
        let more = ["size", "processors", "parent", "run"].into_iter().map(str::to_owned);
        let mut table = Table::new(columns.chain(named.iter().cloned()).chain(more));
        for version in &model.versions {
            let Version { number, created, model: made, .. } = version;
            let gates = made.judgement.as_ref().map(|judgement| judgement.outcome.to_string());
            let value =
                |name: &String| made.metrics.get(name).map_or_else(String::new, |v| format!("{v:.4}"));
            let row = [
                number.0.to_string(),
                shown(*created),
                aliases_of(model, number.0),
                gates.unwrap_or_default(),
            ];
            let more = [
                mebibytes(made.bytes),
                spoken(made.cost.cpu_seconds),
                made.lineage.parent.map_or_else(String::new, |parent| parent.0.to_string()),
                made.lineage.run.clone().unwrap_or_default(),
            ];
            table.row(row.into_iter().chain(named.iter().map(value)).chain(more));
        }
        let mut lines = vec![table.render()];
        for (version, reported) in &model.reported {
            for (metric, (mean, samples)) in reported {
                lines.push(format!("  version {version} in service: {metric} {mean} over {samples} samples"));
            }
        }
        lines.join("\n")
    }

    fn json(&self) -> Value {
        json!(self.0)
    }
}

/// The metrics that are read first, of those that any version has.
fn metrics_of(versions: &[Version]) -> Vec<String> {
    let mut names: Vec<&str> = metrics::ordered(
        versions.iter().flat_map(|version| version.model.metrics.keys().map(String::as_str)),
    );
    names.dedup();
    let preferred = ["NDCG@10", "HR@10"].into_iter().filter(|name| names.contains(name));
    let mut chosen: Vec<String> = preferred.map(str::to_owned).collect();
    chosen.extend(
        names.iter().filter(|name| !["NDCG@10", "HR@10"].contains(name)).map(|name| (*name).to_owned()),
    );
    chosen.truncate(METRICS);
    chosen
}

/// The names of a version.
pub(super) fn aliases_of(model: &ModelView, version: u64) -> String {
    let named = model.aliases.iter().filter(|(_, at)| **at == version).map(|(alias, _)| alias.as_str());
    named.collect::<Vec<_>>().join(", ")
}

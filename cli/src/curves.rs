//! The curves of a run, `curves.svg`: training loss, throughput and the metrics of each evaluation.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::chart::{Chart, Series, render};
use crate::error::Error;
use crate::history::{self, Record};
use crate::metrics;

/// Draws `history.jsonl` of a run directory as `curves.svg` beside it.
///
/// # Errors
/// Where the history cannot be read or the picture cannot be written.
pub fn draw(run_dir: &Path) -> Result<PathBuf, Error> {
    let records = history::load(&run_dir.join("history.jsonl"))?;
    let path = run_dir.join("curves.svg");
    fs::write(&path, render(&charts(&records))).map_err(|error| {
        Error::failed(format!("cannot write {}: {error}", path.display())).with_file(&path)
    })?;
    Ok(path)
}

/// The charts of a history.
pub fn charts(records: &[Record]) -> Vec<Chart> {
    let over_steps = |name: &str, value: fn(&Record) -> Option<f64>| Series {
        name: name.to_owned(),
        points: records.iter().filter_map(|r| Some((r.step as f64, value(r)?))).collect(),
    };
    let chart =
        |title: &str, x_label: &str, series| Chart { title: title.into(), x_label: x_label.into(), series };
    let mut charts = vec![chart("Training loss", "step", vec![over_steps("loss", |r| r.loss)])];
    // Metrics of one scale share a chart: accuracy at a cut-off in one, the rest each in its own.
    let (ranked, single): (Vec<Series>, Vec<Series>) =
        series_of_metrics(records).into_iter().partition(|series| series.name.contains('@'));
    charts.push(chart("Validation", "epoch", ranked));
    charts.extend(
        single
            .into_iter()
            .map(|series| chart(&format!("Validation, {}", series.name), "epoch", vec![series])),
    );
    charts.push(chart("Throughput", "step", vec![over_steps("tokens/s", |r| r.tokens_per_second)]));
    charts
}

/// One series a metric, in reading order; of the metrics with a cut-off only HR and NDCG beyond the first place,
/// which say the most in the least ink.
fn series_of_metrics(records: &[Record]) -> Vec<Series> {
    let mut by_name: BTreeMap<&str, Vec<(f64, f64)>> = BTreeMap::new();
    for record in records {
        for (name, value) in &record.metrics {
            by_name.entry(name).or_default().push((record.epoch as f64 + 1.0, *value));
        }
    }
    let kept = |name: &&str| match name.split_once('@') {
        Some((family, k)) => (family == "HR" || family == "NDCG") && k != "1",
        None => true,
    };
    let names = metrics::ordered(by_name.keys().copied()).into_iter().filter(kept);
    names.map(|name| Series { name: name.to_owned(), points: by_name[name].clone() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_directory_gets_its_curves() {
        let folder = tempfile::tempdir().unwrap();
        let mut lines = String::new();
        for step in 0..200u32 {
            let loss = 9.4 * (-f64::from(step) / 60.0).exp() + 5.1;
            lines.push_str(&format!(
                "{{\"step\":{step},\"epoch\":1,\"loss\":{loss},\"tokens_per_second\":11800}}\n"
            ));
        }
        for epoch in 0..20u32 {
            let hr = 0.0712 * (1.0 - (-f64::from(epoch + 1) / 5.0).exp());
            let metrics = format!("{{\"HR@10\":{hr},\"NDCG@10\":{},\"MRR\":{}}}", hr * 0.58, hr * 0.4);
            lines.push_str(&format!(
                "{{\"step\":{},\"epoch\":{epoch},\"metrics\":{metrics}}}\n",
                (epoch + 1) * 10
            ));
        }
        fs::write(folder.path().join("history.jsonl"), lines).unwrap();
        let svg = fs::read_to_string(draw(folder.path()).unwrap()).unwrap();
        for word in ["Training loss", "HR@10", "NDCG@10", "Throughput", "epoch"] {
            assert!(svg.contains(word), "{word} is missing");
        }
        if let Some(keep) = std::env::var_os("MUSTER_KEEP_CURVES") {
            fs::write(keep, svg).unwrap();
        }
    }
}

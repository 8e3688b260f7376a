//! NVIDIA's synthetic models, by model and number of GPUs.

use muster_proto::capacity::{DenseSpec, Device, Precision, Software, TableSpec};
use muster_proto::units::ByteSize;
use serde_json::Value;

use super::system::{cluster_of, of_devices};
use super::{Case, Error, Point, run};

/// Reads `measured_nv_synth_a100.json`; `tables_of` gives the table list of a model, or says why there is none.
///
/// Card and batch are what `system` tells, such as `DGX-A100 (80GB), global batch 65536`.
///
/// # Errors
/// The text is no JSON, lacks `measured` or what `system` has to tell, or has a measurement that is none.
pub fn nv_synth(
    text: &str,
    tables_of: impl Fn(&str) -> Result<Vec<TableSpec>, String>,
) -> Result<Vec<Point>, Error> {
    let root: Value = serde_json::from_str(text).map_err(|source| Error::Json { source })?;
    let measured = root.get("measured").and_then(Value::as_object);
    let measured = measured.ok_or(Error::Lacks { what: "object `measured` of models" })?;
    let system = root.get("system").and_then(Value::as_str);
    let system = system.ok_or(Error::Lacks { what: "text `system` with card and global batch" })?;
    let batch = batch_of(system).ok_or(Error::Lacks { what: "`global batch NUMBER` in its `system`" })?;
    let device = cluster_of(&[system]).map(|cluster| cluster.device);
    let mut points = Vec::new();
    for (model, steps) in measured {
        let dense = root.get("dense").and_then(|dense| dense.get(model));
        let dense = dense.ok_or_else(|| format!("the file has no dense part of model {model}"));
        let tables = tables_of(model);
        for (gpus, seconds) in steps_of(model, steps)? {
            let case = || {
                let tables = tables.clone()?;
                let dense = synth_dense(dense.clone()?, &tables, gpus);
                let device: Device = device.clone()?;
                let cluster = of_devices(device, gpus)?;
                Ok(Case { tables, dense, run: run(batch, Software::TensorFlow), cluster })
            };
            points.push(Point { name: format!("{model} on {gpus} GPUs"), measured: seconds, case: case() });
        }
    }
    Ok(points)
}

/// Numbers of GPUs with the seconds of a step; null is a number that was not measured.
fn steps_of(model: &str, steps: &Value) -> Result<Vec<(u32, f64)>, Error> {
    let fail = |what: String| Error::Measured { model: model.to_owned(), what };
    let steps =
        steps.as_object().ok_or_else(|| fail("is no object of milliseconds by number of GPUs".into()))?;
    let mut found = Vec::new();
    for (gpus, ms) in steps.iter().filter(|(_, ms)| !ms.is_null()) {
        let number = gpus.parse::<u32>().ok().filter(|number| *number > 0);
        let number = number.ok_or_else(|| fail(format!("`{gpus}` is no number of GPUs")))?;
        let seconds = ms.as_f64().filter(|ms| *ms > 0.0).map(|ms| ms / 1e3);
        found.push((number, seconds.ok_or_else(|| fail(format!("{ms} on {gpus} GPUs is no milliseconds")))?));
    }
    found.sort_by_key(|(gpus, _)| *gpus);
    Ok(found)
}

/// The number after `batch`, in digits that may be grouped by commas.
fn batch_of(system: &str) -> Option<u64> {
    let (_, rest) = system.split_once("batch")?;
    let rest = rest.trim_start_matches(|c: char| !c.is_ascii_digit());
    let mut digits = String::new();
    let mut letters = rest.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '0'..='9' => digits.push(letter),
            ',' if letters.peek().is_some_and(char::is_ascii_digit) => {}
            _ => break,
        }
    }
    digits.parse().ok().filter(|batch| *batch > 0)
}

/// All pooled rows beside each other (by stride pooled where the model has one) and the numerical features, into the MLP.
fn synth_dense(spec: &Value, tables: &[TableSpec], gpus: u32) -> DenseSpec {
    let width: f64 = tables.iter().map(|table| f64::from(table.dim) * table.pooling.len() as f64).sum();
    let stride = spec.get("interact_stride").and_then(Value::as_f64).filter(|stride| *stride > 1.0);
    let numerical = spec.get("num_numerical").and_then(Value::as_f64).unwrap_or(0.0);
    let mut widths = vec![((width / stride.unwrap_or(1.0)).ceil() + numerical) as u32];
    let layers = spec.get("mlp").and_then(Value::as_array).into_iter().flatten();
    widths.extend(layers.filter_map(Value::as_u64).filter_map(|width| u32::try_from(width).ok()));
    widths.push(1);
    let moved = passes(stride, gpus) * width * Precision::F32.bytes();
    DenseSpec {
        mlps: vec![widths],
        moved_per_sample: ByteSize::from_bytes(moved as u64),
        ..DenseSpec::default()
    }
}

/// How often a step of that program reads or writes all vectors of its samples between lookups and layers.
///
/// Counted in its source (distributed-embeddings `_call_base`, `SyntheticModelTFDE.call`): a concatenation or a split, and its
/// gradient, read all and write all.
fn passes(stride: Option<f64>, gpus: u32) -> f64 {
    // For the layers, vectors are put beside each other, and their gradient is cut apart.
    let mut passes = 4.0;
    if gpus > 1 {
        // Before the exchange vectors are put together, after it cut apart, and so are gradients on the way back.
        passes += 8.0;
    }
    if let Some(stride) = stride {
        // Pooling reads all and writes a part, which is put beside the numerical features; its gradient goes the same way.
        passes += 2.0 + 6.0 / stride;
    }
    passes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(system: &str, measured: &str) -> Result<Vec<Point>, Error> {
        let text = format!(
            r#"{{"system": "{system}", "dense": {{"tiny": {{"mlp": [256], "num_numerical": 10}}}}, "measured": {measured}}}"#
        );
        let tables = |model: &str| match model {
            "tiny" => Ok(vec![TableSpec::new("t", 1000, 16, vec![1.0])]),
            other => Err(format!("no list of {other}")),
        };
        nv_synth(&text, tables)
    }

    #[test]
    fn card_and_batch_are_those_that_the_file_tells() {
        let points = points("DGX-H100, global batch 32,768, Adagrad", r#"{"tiny": {"16": 4.0}}"#).unwrap();
        let case = points[0].case.as_ref().unwrap();
        assert_eq!(
            (case.cluster.device.name, case.cluster.world_size, case.run.batch),
            ("h100_sxm", 16, 32_768)
        );
    }

    #[test]
    fn what_is_not_known_of_a_row_keeps_it_with_the_reason() {
        let rows = points(
            "DGX-A100 (80GB), global batch 65536",
            r#"{"tiny": {"12": 4.0, "2": 5.0, "4": null}, "jumbo": {"128": 9.0}}"#,
        )
        .unwrap();
        let told: Vec<(&str, bool)> = rows.iter().map(|row| (row.name.as_str(), row.case.is_ok())).collect();
        assert_eq!(
            told,
            [("jumbo on 128 GPUs", false), ("tiny on 2 GPUs", true), ("tiny on 12 GPUs", false)]
        );
        assert!(rows[2].case.as_ref().unwrap_err().contains("12 devices are no whole nodes of 8"));
        let unknown = points("a farm of cards, global batch 64", r#"{"tiny": {"1": 1.0}}"#).unwrap();
        assert!(unknown[0].case.as_ref().unwrap_err().contains("tell no card"));
    }

    #[test]
    fn a_measurement_that_is_none_is_an_error_that_names_the_model() {
        let system = "DGX-A100, global batch 64";
        for (measured, what) in [
            (r#"{"tiny": {"8 gpus": 4.0}}"#, "measured.tiny: `8 gpus` is no number of GPUs"),
            (r#"{"tiny": {"8": "4 ms"}}"#, "measured.tiny: \"4 ms\" on 8 GPUs is no milliseconds"),
            (r#"{"tiny": {"8": -4.0}}"#, "measured.tiny: -4.0 on 8 GPUs is no milliseconds"),
            (r#"{"tiny": 3}"#, "measured.tiny: is no object of milliseconds"),
        ] {
            let refused = points(system, measured).unwrap_err().to_string();
            assert!(refused.starts_with(what), "{refused}");
        }
        let silent = points("DGX-A100", r#"{"tiny": {"8": 4.0}}"#).unwrap_err().to_string();
        assert!(silent.contains("global batch"), "{silent}");
    }
}

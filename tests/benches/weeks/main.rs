//! A model trained again each week: from the last one, from nothing, or never again: `cargo bench --workspace --bench weeks --
//! DATASET.toml JOB.toml OUT_DIR [--start DATE] [--first N] [--last N] [--length WEEKS] [--warm-epochs N] [--set KEY=VALUE]...`.
//!
//! Week by week the tasks of schedules' runs make a window's dataset: so many weeks before the week, which is held out. Three models
//! are asked for each user's first event of the week: `cold` is trained on the window from initial values, `warm` begins from the
//! warm model of the week before and trains for fewer epochs, `once` is the model of the first week. What trainings take is counted
//! in processor seconds of all their processes. Prints one JSON line a week and a last one with means and sums, and draws a
//! chart to `OUT_DIR/weeks.svg`. Without arguments (as CI calls it) it does nothing.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

#[path = "../prepare/tree.rs"]
#[allow(dead_code, reason = "the peak of memory is not asked for here")]
mod tree;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use muster_cli::chart::{Chart, Series, render};
use muster_core::retrain::gates::Judgement;
use muster_data::{Dataset, Split};
use muster_proto::control::{Contender, JudgeDone, JudgeUnit, Queueing, WindowDone, WindowEnd, WindowUnit};
use muster_proto::dataset::time::parse_iso8601;
use muster_proto::job::WarmStartSpec;
use muster_tests::folder::Folder;
use muster_worker::checkpoint;
use muster_worker::evaluate::baseline::{Baseline, evaluate_baseline};
use muster_worker::retrain::{Work, judge, prepare_window};
use serde_json::{Value, json};

const DAY: i64 = 86_400_000;
const METRIC: &str = "NDCG@10";
const GATES: &str = "metric = \"NDCG@10\"\n[relative]\nrule = \"not_worse\"\nmargin = 0.01\nmin_users = 30\n";

struct Options {
    dataset: String,
    job: String,
    /// Where relative paths of the dataset file start from.
    folder: PathBuf,
    out: PathBuf,
    /// Milliseconds since 1970 of the start of week 0.
    start: i64,
    first: i64,
    last: i64,
    length: i64,
    warm_epochs: u32,
    sets: Vec<String>,
}

impl Options {
    fn parse(args: &[String]) -> anyhow::Result<Option<Self>> {
        let [dataset, job, out, rest @ ..] = args else { return Ok(None) };
        let read = |path: &str| std::fs::read_to_string(path).with_context(|| path.to_owned());
        std::fs::create_dir_all(out)?;
        let folder = Path::new(dataset).canonicalize()?.parent().context("a folder")?.to_owned();
        let mut options = Self {
            dataset: read(dataset)?,
            job: read(job)?,
            folder,
            out: Path::new(out).canonicalize()?,
            start: parse_iso8601("2017-01-01").context("a date")?,
            first: 20,
            last: 51,
            length: 12,
            warm_epochs: 1,
            sets: Vec::new(),
        };
        for pair in rest.chunks_exact(2) {
            match pair[0].as_str() {
                "--start" => options.start = parse_iso8601(&pair[1]).context("--start is no date")?,
                "--first" => options.first = pair[1].parse()?,
                "--last" => options.last = pair[1].parse()?,
                "--length" => options.length = pair[1].parse()?,
                "--warm-epochs" => options.warm_epochs = pair[1].parse()?,
                "--set" => options.sets.push(pair[1].clone()),
                other => bail!("unknown option {other}"),
            }
        }
        Ok(Some(options))
    }

    fn begins(&self, week: i64) -> i64 {
        self.start + 7 * DAY * week
    }
}

/// A model that was trained.
#[derive(Clone)]
struct Trained {
    window: WindowDone,
    model: Contender,
    run_dir: PathBuf,
    processor_seconds: f64,
}

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let Some(options) = Options::parse(&args)? else { return Ok(()) };
    let once = train(&options, "cold", options.first, None)?;
    let mut warm = once.clone();
    let mut weeks = Vec::new();
    for week in options.first + 1..=options.last {
        let cold = train(&options, "cold", week, None)?;
        warm = train(&options, "warm", week, Some(&warm))?;
        let line = compare(&options, week, (&cold, &warm, &once))?;
        println!("{line}");
        weeks.push(line);
    }
    ensure!(!weeks.is_empty(), "no week comes after the first");
    let values = |key: &str| weeks.iter().filter_map(|week| week[key].as_f64()).collect::<Vec<f64>>();
    let sum = |key: &str| values(key).iter().sum::<f64>();
    let mean = |key: &str| sum(key) / weeks.len() as f64;
    println!(
        "{}",
        json!({
            "weeks": weeks.len(), "metric": METRIC, "cold": mean("cold"), "warm": mean("warm"), "once": mean("once"),
            "popularity": mean("popularity"), "cold_seconds": sum("cold_seconds"), "warm_seconds": sum("warm_seconds"),
            "once_seconds": once.processor_seconds,
        })
    );
    draw(&options, &weeks)
}

/// Makes the window of a week and trains on it.
fn train(options: &Options, arm: &str, week: i64, parent: Option<&Trained>) -> anyhow::Result<Trained> {
    let mut job: toml::Table = options.job.parse()?;
    if parent.is_some() {
        let training = job.entry("training").or_insert_with(|| toml::Table::new().into());
        training.as_table_mut().context("[training]")?.insert("epochs".into(), options.warm_epochs.into());
    }
    let warm_start = parent.map(|parent| WarmStartSpec {
        dataset: Some(parent.model.dataset.clone()),
        ..WarmStartSpec::of(parent.model.checkpoint.clone())
    });
    let run = format!("{arm}-{week}");
    let unit = WindowUnit {
        workspace: options.out.display().to_string(),
        run: run.clone(),
        dataset_toml: options.dataset.clone(),
        folder: options.folder.display().to_string(),
        from: Some(options.begins(week - options.length)),
        until: options.begins(week + 1),
        valid_from: options.begins(week) - DAY,
        test_from: options.begins(week),
        increments: None,
        accepted: None,
        job_toml: job.to_string(),
        warm_start,
        name: run.clone(),
        workers: 1,
        min_workers: 1,
        queueing: Queueing::default(),
    };
    let WindowEnd::Made(window) = prepare_window(&unit, &work())? else { bail!("week {week} has no rows") };
    let folder = Folder::new(env!("CARGO_BIN_EXE_muster-under-test"));
    folder.write("job.toml", &window.submission.spec_toml);
    let run_dir = options.out.join("trained").join(&run);
    let out = run_dir.to_str().context("a path in UTF-8")?;
    let mut args = vec!["train", "job.toml", "--dataset", &window.dataset, "--out", out];
    options.sets.iter().for_each(|set| args.extend(["--set", set]));
    let before = tree::processor_seconds();
    folder.result(&args);
    let processor_seconds = tree::processor_seconds() - before;
    let reader = checkpoint::find(&run_dir, true)?;
    let model = Contender {
        checkpoint: reader.location.address().display().to_string(),
        dataset: window.dataset.clone(),
        model_digest: reader.manifest.model_digest,
    };
    Ok(Trained { window: *window, model, run_dir, processor_seconds })
}

/// What the three models are worth in a week.
fn compare(
    options: &Options,
    week: i64,
    (cold, warm, once): (&Trained, &Trained, &Trained),
) -> anyhow::Result<Value> {
    ensure!(cold.window.digest == warm.window.digest, "both are trained on one window");
    let judged = |candidate: &Trained, champion: &Trained| -> anyhow::Result<JudgeDone> {
        let unit = JudgeUnit {
            workspace: options.out.display().to_string(),
            run: format!("judged-{week}"),
            run_dir: candidate.run_dir.display().to_string(),
            dataset: candidate.window.dataset.clone(),
            champion: Some(champion.model.clone()),
            gates: toml::from_str(GATES)?,
        };
        Ok(judge(&unit, &work())?)
    };
    let (against_once, against_cold) = (judged(warm, once)?, judged(warm, cold)?);
    let (warm_value, once_value) = (against_once.metrics[METRIC], against_once.champion_metrics[METRIC]);
    let judgement: Judgement = serde_json::from_value(against_cold.judgement)?;
    let relative =
        judgement.verdicts.iter().find(|verdict| verdict.gate == "relative").context("a verdict")?;
    let dataset = Dataset::open(Path::new(&cold.window.dataset))?;
    let popular = evaluate_baseline(Baseline::Popularity, &dataset, Split::Test, &[10], false)?;
    Ok(json!({
        "week": week, "users": judgement.users, "rows": cold.window.rows, "items": cold.window.items,
        "cold": against_cold.champion_metrics[METRIC], "warm": warm_value, "once": once_value,
        "popularity": popular.metrics[METRIC], "cold_seconds": cold.processor_seconds,
        "warm_seconds": warm.processor_seconds, "warm_less_cold": relative.figures["mean_difference"],
        "standard_error": relative.figures["standard_error"],
    }))
}

fn draw(options: &Options, weeks: &[Value]) -> anyhow::Result<()> {
    let series = |key: &str, name: &str| {
        let point = |week: &Value| Some((week["week"].as_f64()?, week[key].as_f64()?));
        Series { name: name.to_owned(), points: weeks.iter().filter_map(point).collect() }
    };
    let quality = Chart {
        title: format!("{METRIC} on the week"),
        x_label: "week".to_owned(),
        series: vec![
            series("warm", "each week from the last model"),
            series("cold", "each week from nothing"),
            series("once", "trained once"),
            series("popularity", "popularity"),
        ],
    };
    let cost = Chart {
        title: "processor seconds of the training".to_owned(),
        x_label: "week".to_owned(),
        series: vec![series("warm_seconds", "from the last model"), series("cold_seconds", "from nothing")],
    };
    std::fs::write(options.out.join("weeks.svg"), render(&[quality, cost]))?;
    Ok(())
}

fn work() -> Work<'static> {
    Work { threads: 2, pulse: &|| true }
}

//! Forecasts of local runs against the runs: `cargo bench --workspace --bench forecast -- run [--repeats N] [--quick]
//! [--calibration FILE] [--jobs NAME,..] [--workers 1,2,4] [--json FILE]`.
//!
//! Calibrates this machine, then trains jobs of other shapes on 1, 2 and 4 local workers, several times each, and holds the
//! forecast of each against the median of its runs: milliseconds a step without steal time, peak bytes of each rank. Beside
//! it stand the errors against the median with steal time, the faster half of the runs, and the fastest. Forces four plans
//! on some of the jobs and looks whether the forecast picks the fastest. What repeated runs of one job differ by is the noise
//! floor: plans within it count as ties. Prints tables and writes JSON. Without arguments (as CI calls it) it does nothing;
//! with `summary FILE` it sums up what an earlier run wrote.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on fails where it stands")]

mod jobs;
mod runs;
mod tables;

use std::path::PathBuf;

use muster_tests::folder::Folder;
use serde_json::{Value, json};

use jobs::{FORCED, JOBS, Job};
use runs::{Bench, Case, Wanted};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    if let ["summary", path] = args.as_slice() {
        return sum_up(path);
    }
    let ["run", rest @ ..] = args.as_slice() else { return };
    let flag = |name: &str| rest.iter().position(|arg| *arg == name);
    let value = |name: &str| flag(name).and_then(|place| rest.get(place + 1)).copied();
    let list = |name: &str| value(name).map(|text| text.split(',').map(str::to_owned).collect::<Vec<_>>());
    let folder = Folder::new(env!("CARGO_BIN_EXE_muster-under-test"));
    for (name, users, items, events) in jobs::DATASETS {
        jobs::prepare(&folder, name, [users, items, events]);
    }
    let quick = flag("--quick").is_some();
    let calibration = match value("--calibration") {
        Some(path) => PathBuf::from(path).canonicalize().unwrap(),
        None => calibrate(&folder, quick),
    };
    let repeats = value("--repeats").map_or(3, |text| text.parse().unwrap());
    let workers: Vec<u32> = list("--workers")
        .map_or_else(|| vec![1, 2, 4], |all| all.iter().map(|workers| workers.parse().unwrap()).collect());
    let wanted = list("--jobs");
    let is_wanted =
        |job: &&Job| wanted.as_ref().is_none_or(|names| names.iter().any(|name| name == job.name));
    let bench = Bench { folder: &folder, calibration };
    let mut planned = Vec::new();
    let mut forced: Vec<Vec<Wanted>> = Vec::new();
    for job in JOBS.iter().filter(is_wanted) {
        for &workers in &workers {
            planned.push(Wanted { job, workers, plan: "planned".to_owned(), sets: Vec::new() });
            if workers > 1 && FORCED.contains(&job.name) {
                let plans = jobs::plans(job).into_iter();
                forced.push(plans.map(|(plan, sets)| Wanted { job, workers, plan, sets }).collect());
            }
        }
    }
    let counts: Vec<usize> = forced.iter().map(Vec::len).collect();
    let n_planned = planned.len();
    planned.extend(forced.into_iter().flatten());
    let mut cases = bench.cases(&planned, repeats);
    cases.iter().for_each(|case| println!("{}", tables::line(case)));
    let mut of_plans = cases.split_off(n_planned).into_iter();
    let choices: Vec<Vec<Case>> =
        counts.iter().map(|count| of_plans.by_ref().take(*count).collect()).collect();
    let summary = tables::summary(&cases, &choices);
    println!("{}", summary.text);
    if let Some(path) = value("--json") {
        let all: Vec<Value> = cases.iter().map(Case::json).collect();
        let forced: Vec<Vec<Value>> =
            choices.iter().map(|choice| choice.iter().map(Case::json).collect()).collect();
        let json = json!({"cases": all, "forced": forced, "summary": summary.json});
        std::fs::write(path, format!("{json:#}\n")).unwrap();
    }
}

/// Reads what a run wrote, and prints what it came to.
fn sum_up(path: &str) {
    let told: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let cases = |list: &Value| list.as_array().unwrap().iter().map(Case::from_json).collect::<Vec<_>>();
    let choices: Vec<Vec<Case>> = told["forced"].as_array().unwrap().iter().map(cases).collect();
    println!("{}", tables::summary(&cases(&told["cases"]), &choices).text);
}

fn calibrate(folder: &Folder, quick: bool) -> PathBuf {
    let mut args = vec!["calibrate", "--out", "calibration.toml"];
    args.extend(quick.then_some("--quick"));
    let told = folder.result(&args);
    println!("calibrated in {:.0} s: {} points", told["seconds"].as_f64().unwrap(), told["points"]);
    folder.at("calibration.toml")
}

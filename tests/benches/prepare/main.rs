//! `muster prepare` beside DuckDB and Polars: `cargo bench --workspace --bench prepare -- DIR [--events N] [--format csv|parquet]
//! [--memory SIZE] [--python PROGRAM] [--programs muster,duckdb,polars] [--repeats N]`.
//!
//! A shop of so many events, with dirt, is generated in DIR once. Each program then reads it, drops rows without a required value, out of
//! range or repeated, finds the 5-core, sorts by user and time and writes 64 files by user, with 2 threads and, where it has such a
//! setting, the same bound of memory. Prints one JSON line a run (wall and processor seconds, the peak of the process tree's resident memory, what is
//! left), and a last one with the ratios. Programs that do not leave the same numbers of events, users and items fail the benchmark.
//! PROGRAM is a Python with `duckdb` and `polars`. Without arguments (as CI calls it) it does nothing.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod tree;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};

/// Threads of each program.
const THREADS: &str = "2";
/// The rules, as a dataset file; the scripts beside this file have the same.
const RULES: &str = "\
[columns]
user = \"user\"
item = \"item\"
time = \"timestamp\"
time_format = \"millis\"
event = \"event\"
category = \"category\"
price = \"price\"
[cleaning]
on_invalid = \"drop\"
max_field = \"1 KiB\"
min_time = \"2025-01-01\"
max_time = \"2026-01-03\"
duplicates = \"exact\"
min_user_events = 5
min_item_events = 5
[[cleaning.ranges]]
column = \"price\"
max = 100000.0
";

struct Options {
    dir: PathBuf,
    events: u64,
    format: String,
    memory: String,
    python: String,
    programs: Vec<String>,
    repeats: u32,
}

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let [dir, rest @ ..] = args.as_slice() else { return Ok(()) };
    let mut options = Options {
        dir: std::path::absolute(dir)?,
        events: 3_000_000,
        format: "csv".to_owned(),
        memory: "2 GiB".to_owned(),
        python: "python3".to_owned(),
        programs: ["muster", "duckdb", "polars"].map(str::to_owned).into(),
        repeats: 1,
    };
    for pair in rest.chunks_exact(2) {
        match pair[0].as_str() {
            "--events" => options.events = pair[1].parse()?,
            "--format" => options.format.clone_from(&pair[1]),
            "--memory" => options.memory.clone_from(&pair[1]),
            "--python" => options.python.clone_from(&pair[1]),
            "--programs" => options.programs = pair[1].split(',').map(str::to_owned).collect(),
            "--repeats" => options.repeats = pair[1].parse()?,
            other => bail!("unknown option {other}"),
        }
    }
    let log = generate(&options)?;
    let mut best: Vec<Run> = Vec::new();
    for program in &options.programs {
        let mut runs = Vec::new();
        for _ in 0..options.repeats {
            let run = measure(program, &options, &log)?;
            println!("{}", run.json());
            runs.push(run);
        }
        runs.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
        best.push(runs.swap_remove(0));
    }
    let whole: Vec<&Run> = best.iter().filter(|run| run.left.is_some()).collect();
    for run in &whole {
        ensure!(
            run.left == whole[0].left,
            "{} leaves {:?}, {} {:?}",
            run.program,
            run.left,
            whole[0].program,
            whole[0].left
        );
    }
    let first = &best[0];
    let ratios: Vec<Value> = best[1..]
        .iter()
        .map(|run| json!({ "to": run.program, "time": first.seconds / run.seconds, "processor_time": first.processor / run.processor, "peak": first.peak as f64 / run.peak as f64 }))
        .collect();
    println!("{}", json!({ "ratios_of": first.program, "agree": whole.len(), "ratios": ratios }));
    Ok(())
}

/// The folder with the log, which is made once.
fn generate(options: &Options) -> anyhow::Result<PathBuf> {
    let log = options.dir.join(format!("{}-{}", options.format, options.events));
    if !log.exists() {
        let (events, users, items) = (options.events, options.events / 20, options.events / 200);
        let start = Instant::now();
        let status = Command::new(env!("CARGO_BIN_EXE_muster-under-test"))
            .args(["generate", "--kind", "shop", "--quiet", "--out"])
            .arg(&log)
            .args([
                "--events",
                &events.to_string(),
                "--users",
                &users.to_string(),
                "--items",
                &items.to_string(),
            ])
            .args(["--set", "dirt.rate=0.02", "--set", &format!("format={}", options.format)])
            .stdout(Stdio::null())
            .status()?;
        ensure!(status.success(), "the log could not be generated");
        println!(
            "{}",
            json!({ "program": "muster generate", "seconds": start.elapsed().as_secs_f64(), "events": events })
        );
    }
    let ending = &options.format;
    let head = format!(
        "name = \"shop\"\ninput = \"events-*.{ending}\"\nformat = \"{ending}\"\nmemory = \"{}\"\n",
        options.memory
    );
    std::fs::write(log.join("rules.toml"), head + RULES)?;
    Ok(log)
}

/// One run of a program.
#[derive(Debug)]
struct Run {
    program: String,
    seconds: f64,
    processor: f64,
    peak: u64,
    /// Events, users and items that are left; none of a program that failed.
    left: Option<[u64; 3]>,
    why: Option<String>,
}

impl Run {
    fn json(&self) -> Value {
        json!({
            "program": self.program,
            "seconds": self.seconds,
            "processor_seconds": self.processor,
            "peak_mib": self.peak >> 20,
            "events_users_items": self.left,
            "failed": self.why,
        })
    }
}

fn measure(program: &str, options: &Options, log: &Path) -> anyhow::Result<Run> {
    let out = options.dir.join(format!("{program}-out"));
    let _ = std::fs::remove_dir_all(&out);
    let mut command = if program == "muster" {
        let mut command = Command::new(env!("CARGO_BIN_EXE_muster-under-test"));
        command.args(["prepare", "--quiet", "--output", "json", "--threads", THREADS, "--out"]);
        command.arg(&out).arg(log.join("rules.toml"));
        command
    } else {
        let script =
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("benches/prepare/{program}_rules.py"));
        let mut command = Command::new(&options.python);
        command.arg(script).arg(log).arg(&out).args([&options.memory, THREADS]);
        command
    };
    let (start, before) = (Instant::now(), tree::processor_seconds());
    let child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().context("the program starts")?;
    let (output, peak) = tree::watch(child)?;
    let (seconds, processor) = (start.elapsed().as_secs_f64(), tree::processor_seconds() - before);
    let text = String::from_utf8_lossy(&output.stdout);
    let found: Option<Value> = text.lines().last().and_then(|line| serde_json::from_str(line).ok());
    let left = found.filter(|_| output.status.success()).and_then(|found| {
        let count = |key: &str| found[key].as_u64();
        Some([count("events")?, count("users")?, count("items")?])
    });
    let errors = String::from_utf8_lossy(&output.stderr);
    let why =
        left.is_none().then(|| format!("{}: {}", output.status, errors.lines().last().unwrap_or_default()));
    ensure!(program != "muster" || left.is_some(), "muster prepare failed: {errors}");
    let _ = std::fs::remove_dir_all(&out);
    Ok(Run { program: program.to_owned(), seconds, processor, peak, left, why })
}

//! `muster calibrate`: what the pieces of a step take on this machine, for forecasts of jobs on it.

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use muster_proto::config;
use muster_proto::measured::calibration::VERSION;
use muster_proto::measured::{Calibration, TermPoints};
use muster_proto::units::ByteSize;
use muster_worker::calibrate::{Effort, measure};
use muster_worker::train::resident_bytes;
use serde_json::{Value, json};

use crate::capacity::load;
use crate::context::Context;
use crate::error::{Error, Kind};
use crate::forecast::default_path;
use crate::output::Report;
use crate::trials::{self, Terms};

const EXAMPLES: &str = "\
Examples:
  muster calibrate
  muster calibrate --workers 1,2,4 --out machine.toml
  muster calibrate --quick
  muster plan --job job.toml --dataset prepared --workers 2 --calibration machine.toml";

/// Measures the pieces of a step on this machine, on the code that steps run, then whole jobs on local workers, and keeps
/// the points. Forecasts of `muster plan --job` and of every run go through them. Run it while nothing else does: it takes
/// eight to twelve minutes on 2 cores, two with `--quick`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// File to write; muster/calibration.toml in the user's cache folder where absent, where forecasts look for it
    #[arg(long, value_name = "FILE.toml")]
    pub out: Option<PathBuf>,
    /// Numbers of local workers whose exchanges are measured
    #[arg(long, value_name = "N,..", value_delimiter = ',', default_values_t = [1, 2, 4], value_parser = clap::value_parser!(u32).range(1..=64))]
    pub workers: Vec<u32>,
    /// Threads of each worker; the cores of this machine over the workers where absent
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub threads: Option<u32>,
    /// Measure half of the shapes, each for a shorter time
    #[arg(long)]
    pub quick: bool,
}

/// Measures, and writes what was measured.
///
/// # Errors
/// Ranks that cannot be connected, or a file that cannot be written.
pub fn run(context: &Context, args: &Args) -> Result<(), Error> {
    let path = match &args.out {
        Some(path) => path.clone(),
        None => default_path()
            .ok_or_else(|| Error::bad_input("no home folder is known; name a file").with_field("--out"))?,
    };
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    // A worker without data is this program before it has measured anything, with the code in memory that it has after.
    let (_, anonymous) = resident_bytes();
    let mut workers: Vec<usize> = args.workers.iter().map(|workers| *workers as usize).collect();
    workers.sort_unstable();
    workers.dedup();
    let threads = args.threads.map(|threads| threads as usize);
    let effort = Effort { workers, threads, cores, quick: args.quick };
    let begun = Instant::now();
    let mut progress = |what: &str| {
        // What is on the way is for people; a closed output is none of the measurement's business.
        let _ = context.output.say(&format!("measuring {what}"));
    };
    let points = measure(&effort, &mut progress).map_err(|error| Error::from_chain(Kind::Failed, &error))?;
    let process = ByteSize::from_bytes(resident_bytes().0 + anonymous);
    let mut calibration = Calibration {
        version: VERSION,
        machine: machine(),
        cores: cores as u32,
        date: utc(SystemTime::now()),
        muster: env!("CARGO_PKG_VERSION").to_owned(),
        build: if cfg!(debug_assertions) { "debug" } else { "release" }.to_owned(),
        transport: "auto".to_owned(),
        process,
        terms: points.into_terms(),
        trials: Vec::new(),
    };
    let _ = context.output.say("training whole jobs");
    let terms = Terms {
        calibration: &calibration,
        workers: &effort.workers,
        threads: args.threads,
        quick: args.quick,
    };
    calibration.trials = trials::measure(terms, context)?;
    config::validate(&calibration, &path.display().to_string())?;
    let text = toml::to_string(&calibration)
        .map_err(|error| Error::failed(format!("cannot write the calibration as TOML: {error}")))?;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|error| {
            Error::failed(format!("cannot make {}: {error}", folder.display())).with_file(folder)
        })?;
    }
    load::write(&path, &text)?;
    context.output.report(&Calibrated { calibration, path, time: begun.elapsed() })
}

/// The processor's name.
fn machine() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name"));
    model.map_or_else(
        || std::env::consts::ARCH.to_owned(),
        |name| name.trim_matches([' ', '\t', ':']).to_owned(),
    )
}

/// A time as `2026-11-28T10:30:00Z`, by the rule of Fliegel and Van Flandern (1968) for days.
fn utc(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (days, of_day) = ((seconds / 86_400) as i64, seconds % 86_400);
    let l = days + 2_440_588 + 68_569;
    let n = 4 * l / 146_097;
    let l = l - (146_097 * n + 3) / 4;
    let i = 4000 * (l + 1) / 1_461_001;
    let l = l - 1461 * i / 4 + 31;
    let j = 80 * l / 2447;
    let day = l - 2447 * j / 80;
    let l = j / 11;
    let (year, month) = (100 * (n - 49) + i + l, j + 2 - 12 * l);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

struct Calibrated {
    calibration: Calibration,
    path: PathBuf,
    time: Duration,
}

impl Calibrated {
    fn points(&self) -> usize {
        self.calibration.terms.iter().map(|term| term.points.len()).sum()
    }
}

impl Report for Calibrated {
    fn text(&self) -> String {
        let Calibration { machine, cores, build, terms, .. } = &self.calibration;
        format!(
            "measured {} points of {} terms, and {} whole jobs, on {cores} cores of {machine} ({build} build) in {:.0} s\nwrote {}",
            self.points(),
            terms.len(),
            self.calibration.trials.len(),
            self.time.as_secs_f64(),
            self.path.display()
        )
    }

    fn json(&self) -> Value {
        let of_term = |term: &TermPoints| json!({"term": term.term, "optimizer": term.optimizer, "points": term.points.len()});
        json!({
            "calibration": self.path,
            "machine": self.calibration.machine,
            "cores": self.calibration.cores,
            "date": self.calibration.date,
            "build": self.calibration.build,
            "seconds": self.time.as_secs_f64(),
            "points": self.points(),
            "trials": self.calibration.trials.len(),
            "terms": self.calibration.terms.iter().map(of_term).collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        let at = |seconds| utc(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "1970-01-01T00:00:00Z");
        assert_eq!(at(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(at(1_795_864_496), "2026-11-28T11:14:56Z");
    }
}

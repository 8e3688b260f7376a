//! The `muster` command line: the only place that sees all crates.
//!
//! Raw flags ([`args`], one struct a command in [`cmd`]) become checked arguments, a command runs, and its result
//! leaves through [`output`]. Exit codes: 0 success, 1 a failed run, 2 bad input ([`error::Kind`]).

pub mod args;
pub mod capacity;
pub mod chaos;
pub mod chart;
pub mod cluster;
pub mod cmd;
pub mod context;
pub mod curves;
pub mod dataset;
pub mod drifting;
pub mod error;
pub mod export;
pub mod forecast;
pub mod history;
pub mod html;
pub mod incidents;
pub mod lineage;
pub mod local;
pub mod logging;
pub mod metrics;
pub mod model;
pub mod output;
pub(crate) mod pages;
pub mod parent;
pub mod progress;
pub mod reference;
pub mod run_dir;
pub mod run_record;
pub mod scored;
pub mod spread;
pub mod submission;
pub mod summary;
pub mod table;
pub mod trials;
pub mod watch;
pub mod when;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

use crate::args::{Cli, Command};
use crate::context::Context;
use crate::error::{Error, Kind};
use crate::output::{Format, Output};

/// The program: flags from the environment, result to standard output, the exit code to return from `main`.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refused_flags(&error),
    };
    let context = Context::new(cli.global);
    logging::init(cli.global.log_level, context.output.is_json());
    match run(&context, &cli.command) {
        Ok(Verdict::Good) => ExitCode::SUCCESS,
        Ok(Verdict::Bad) => ExitCode::from(Kind::Failed.exit_code()),
        Err(error) => {
            context.output.error(&error);
            ExitCode::from(error.kind.exit_code())
        }
    }
}

/// What a command found; one that only does its work finds it good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// All holds.
    Good,
    /// The result says what does not hold.
    Bad,
}

fn run(context: &Context, command: &Command) -> Result<Verdict, Error> {
    match command {
        Command::Demo(args) => cmd::demo::run(context, args),
        Command::Generate(args) => cmd::generate::run(context, args),
        Command::Prepare(args) => cmd::prepare::run(context, args),
        Command::Train(args) => cmd::train::run(context, args),
        Command::Evaluate(args) => cmd::evaluate::run(context, args),
        Command::Recommend(args) => cmd::recommend::run(context, args),
        Command::Plan(args) => cmd::plan::run(context, args),
        Command::Verify(args) => return cmd::verify::run(context, args),
        Command::Chaos(args) => return cmd::chaos::run(context, args),
        Command::Coordinator(args) => cmd::coordinator::run(context, args),
        Command::Worker(args) => cmd::worker::run(context, args),
        Command::Jobs(args) => cmd::jobs::run(context, args),
        Command::Workers(args) => cmd::workers::run(context, args),
        Command::Schedules(args) => cmd::schedules::run(context, args),
        Command::Models(args) => cmd::models::run(context, args),
        Command::Store(args) => cmd::store::run(context, args),
        Command::Collect(args) => cmd::collect::run(context, args),
        Command::Data(args) => cmd::data::run(context, args),
        Command::Capacity(args) => cmd::capacity::run(context, args),
        Command::Calibrate(args) => cmd::calibrate::run(context, args),
    }
    .map(|()| Verdict::Good)
}

/// Flags that cannot be parsed are bad input; asking for help or the version is neither.
fn refused_flags(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // A closed pipe (`muster --help | head`) is no failure.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    if wants_json(std::env::args_os()) {
        Output::new(Format::Json, true).error(&usage_error(error));
    } else {
        let _ = error.print();
    }
    ExitCode::from(Kind::BadInput.exit_code())
}

fn usage_error(error: &clap::Error) -> Error {
    use clap::error::ContextKind;
    let text = error.render().to_string();
    let message = text.trim().strip_prefix("error: ").unwrap_or(&text);
    let mapped = Error::bad_input(message.split("\n\nUsage:").next().unwrap_or(message).trim());
    match error.get(ContextKind::InvalidArg) {
        Some(argument) => mapped.with_field(argument.to_string()),
        None => mapped,
    }
}

/// Whether JSON was asked for, told from the raw arguments because they could not be parsed.
fn wants_json(args: impl Iterator<Item = OsString>) -> bool {
    let args: Vec<OsString> = args.collect();
    let pair = args.windows(2).any(|pair| pair[0] == "--output" && pair[1] == "json");
    pair || args.iter().any(|arg| arg == "--output=json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn a_flag_that_cannot_be_parsed_is_named() {
        let error = Cli::try_parse_from(["muster", "train", "job.toml", "--dataset", "d", "--workers", "-3"]);
        let error = usage_error(&error.unwrap_err());
        assert_eq!(error.kind, Kind::BadInput);
        assert!(error.field.as_deref().is_some_and(|field| field.starts_with("--workers")), "{error:?}");
    }

    #[test]
    fn json_is_found_in_raw_arguments() {
        let raw = |args: &[&str]| args.iter().map(OsString::from).collect::<Vec<_>>();
        assert!(wants_json(raw(&["muster", "--output", "json"]).into_iter()));
        assert!(wants_json(raw(&["muster", "--output=json"]).into_iter()));
        assert!(!wants_json(raw(&["muster", "generate", "json"]).into_iter()));
    }
}

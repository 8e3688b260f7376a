//! What is to be done to schedules and runs, as the coordinator is told it, and what it says then.

use jiff::Timestamp;
use muster_core::retrain::command::{Command, Question};
use muster_core::retrain::view::{Done, ScheduleView};
use muster_proto::rpc::Repeat;
use serde_json::{Value, json};

use super::{Action, BackfillArgs, ask};
use crate::args::ClusterArgs;
use crate::error::Error;
use crate::output::Report;
use crate::when::{When, shown};

/// Times of a backfill that people are shown.
const SHOWN: usize = 20;

/// The command that an action stands for, and whether it may be given again where nobody knows whether it was carried out.
///
/// # Errors
/// A time that is none in the schedule's zone.
pub(super) fn command(action: &Action) -> Result<(&ClusterArgs, Command, Repeat), Error> {
    Ok(match action {
        Action::Pause(args) => {
            (&args.cluster, Command::Pause { schedule: args.schedule.clone() }, Repeat::Safe)
        }
        Action::Resume(args) => {
            (&args.cluster, Command::Resume { schedule: args.schedule.clone() }, Repeat::Safe)
        }
        Action::Remove(args) => {
            (&args.cluster, Command::RemoveSchedule { schedule: args.schedule.clone() }, Repeat::Unsafe)
        }
        Action::Trigger(args) => {
            let (schedule, refresh) = (args.schedule.clone(), args.refresh);
            let at = args.at.map(|at| moment(&args.cluster, &schedule, at, "--at")).transpose()?;
            (&args.cluster, Command::Trigger { schedule, at, refresh }, Repeat::Unsafe)
        }
        Action::Backfill(args) => (&args.cluster, backfill(args)?, Repeat::Unsafe),
        Action::Cancel(args) => (&args.cluster, Command::CancelRun { run: args.run.clone() }, Repeat::Unsafe),
        Action::Approve(args) => (&args.cluster, Command::Approve { run: args.run.clone() }, Repeat::Unsafe),
        Action::Rerun(args) => {
            let (run, refresh) = (args.run.clone(), args.refresh);
            (&args.cluster, Command::Rerun { run, refresh }, Repeat::Unsafe)
        }
        Action::Apply(_)
        | Action::List(_)
        | Action::Show(_)
        | Action::Runs(_)
        | Action::Run(_)
        | Action::Fleet(_) => return Err(Error::failed(format!("{action:?} changes nothing"))),
    })
}

fn backfill(args: &BackfillArgs) -> Result<Command, Error> {
    let schedule = args.schedule.clone();
    let from = moment(&args.cluster, &schedule, args.from, "--from")?;
    let to = moment(&args.cluster, &schedule, args.to, "--to")?;
    if to <= from {
        let message =
            format!("the span ends at {} and begins at {}: give a later --to", shown(to), shown(from));
        return Err(Error::bad_input(message).with_field("--to"));
    }
    let (max_active, reverse, dry_run) = (args.max_active, args.reverse, args.dry_run);
    let reprocess = args.reprocess.into();
    Ok(Command::Backfill { schedule, from, to, reprocess, max_active, reverse, dry_run })
}

/// The moment that is meant; for one of the clock on the wall, the coordinator knows whose wall.
fn moment(cluster: &ClusterArgs, schedule: &str, when: When, flag: &str) -> Result<Timestamp, Error> {
    let zone = match when {
        When::Exact(_) => "UTC".to_owned(),
        When::Wall(_) => {
            let question = Question::Schedule { schedule: schedule.to_owned() };
            ask::<ScheduleView>(cluster, &question)?.time_zone
        }
    };
    when.in_zone(&zone).map_err(|error| {
        let message =
            format!("the time cannot be found in zone {zone}: {error}; write it with its offset from UTC");
        Error::bad_input(message).with_field(flag)
    })
}

/// What came of a command.
#[derive(Debug)]
pub(in crate::cmd) struct Changed(pub(in crate::cmd) Done);

impl Report for Changed {
    fn text(&self) -> String {
        let Done { message, runs, times } = &self.0;
        let mut lines = vec![message.clone()];
        lines.extend(times.iter().take(SHOWN).map(|time| format!("  for {}", shown(*time))));
        if times.len() > SHOWN {
            lines.push(format!("  and {} more", times.len() - SHOWN));
        }
        lines.extend(runs.iter().map(|run| format!("  run {run}; `muster schedules run {run}` shows it")));
        lines.join("\n")
    }

    fn json(&self) -> Value {
        json!(self.0)
    }
}

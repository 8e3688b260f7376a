//! `muster schedules`: models that are trained again by themselves, and the runs that do it.

pub(crate) mod apply;
mod args;
mod change;
mod fleet;
mod run;
mod runs;
mod show;

#[cfg(test)]
mod tests;

use muster_core::retrain::command::{Command, Question};
use muster_core::retrain::view::Done;
use muster_proto::rpc::{Repeat, RetrainClient};

pub use self::args::{
    Action, ApplyArgs, Args, BackfillArgs, ListArgs, Reprocess, RerunArgs, RunArgs, RunsArgs, ScheduleArgs,
    TriggerArgs,
};
pub(super) use self::change::Changed;
pub(super) use self::run::gates;
use crate::args::ClusterArgs;
use crate::cluster::{block_on, connect_retrain, request};
use crate::context::Context;
use crate::error::Error;
use crate::pages;

/// Does what the flags ask.
///
/// # Errors
/// Where a file is refused, the coordinator cannot be reached, refuses, or does not know the schedule or the run.
pub fn run(context: &Context, args: &Args) -> Result<(), Error> {
    match &args.action {
        Action::Apply(args) => {
            let schedule = Box::new(apply::read(&args.schedule, &args.sets)?);
            let applied = tell_to(&args.cluster, Command::Apply { schedule }, Repeat::Safe);
            context.output.report(&Changed(applied.map_err(|error| error.with_file(&args.schedule))?))
        }
        Action::List(args) => {
            let schedules = with(&args.cluster, pages::schedules)?;
            context.output.report(&show::Schedules(schedules))
        }
        Action::Show(args) => {
            let question = Question::Schedule { schedule: args.schedule.clone() };
            context.output.report(&show::Schedule(ask(&args.cluster, &question)?))
        }
        Action::Runs(args) => {
            // One more than is shown says whether there are more.
            let most = args.limit as usize + 1;
            let schedule = args.schedule.as_deref();
            let mut runs =
                with(&args.cluster, async |client| pages::runs(client, schedule, Some(most)).await)?;
            let more = runs.len() == most;
            runs.truncate(args.limit as usize);
            context.output.report(&runs::Runs { runs, more })
        }
        Action::Run(args) => {
            let run = ask(&args.cluster, &Question::Run { run: args.run.clone() })?;
            context.output.report(&run::Run(run))
        }
        Action::Fleet(args) => context.output.report(&fleet::Fleet(ask(&args.cluster, &Question::Fleet)?)),
        action => {
            let (cluster, command, repeat) = change::command(action)?;
            context.output.report(&Changed(tell_to(cluster, command, repeat)?))
        }
    }
}

/// Asks the coordinator a question.
pub(super) fn ask<T: serde::de::DeserializeOwned>(
    cluster: &ClusterArgs,
    question: &Question,
) -> Result<T, Error> {
    with(cluster, async |client| Ok(client.tell(question).await?))
}

/// Does something with a connection.
pub(super) fn with<T>(
    cluster: &ClusterArgs,
    work: impl AsyncFnOnce(&RetrainClient) -> Result<T, Error>,
) -> Result<T, Error> {
    block_on(async { work(&connect_retrain(cluster).await?).await })
}

/// Gives the coordinator a command.
pub(super) fn tell_to(cluster: &ClusterArgs, command: Command, repeat: Repeat) -> Result<Done, Error> {
    block_on(async { Ok(connect_retrain(cluster).await?.command(&request(command), repeat).await?) })
}

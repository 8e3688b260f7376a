//! What is to be done to models, as the coordinator is told it.

use muster_core::retrain::command::Command;
use muster_proto::rpc::Repeat;

use super::{Action, model, version_of};
use crate::args::ClusterArgs;
use crate::error::Error;

/// The command that an action stands for, and whether it may be given again where nobody knows whether it was carried out.
///
/// # Errors
/// A version that is not there.
pub(super) fn command(action: &Action) -> Result<(&ClusterArgs, Command, Repeat), Error> {
    Ok(match action {
        Action::Promote(args) => {
            let version = number(&args.cluster, &args.model, &args.version)?;
            let (model, expected) = (args.model.clone(), args.expected);
            (&args.cluster, Command::Promote { model, version, expected }, Repeat::Unsafe)
        }
        Action::Rollback(args) => {
            let (model, expected) = (args.model.clone(), args.expected);
            (&args.cluster, Command::RollBack { model, expected }, Repeat::Unsafe)
        }
        Action::Alias(args) => {
            let find = |wanted: &String| number(&args.cluster, &args.model, wanted);
            let version = args.version.as_ref().map(find).transpose()?;
            let (model, alias, expected) = (args.model.clone(), args.alias.clone(), args.expected);
            (&args.cluster, Command::Alias { model, alias, version, expected }, Repeat::Unsafe)
        }
        Action::Note(args) => {
            let version = number(&args.cluster, &args.model, &args.version)?;
            let (model, text) = (args.model.clone(), args.text.clone());
            (&args.cluster, Command::Note { model, version, text }, Repeat::Unsafe)
        }
        Action::Label(args) => {
            let version = number(&args.cluster, &args.model, &args.version)?;
            let (model, name, value) = (args.model.clone(), args.label.clone(), args.value.clone());
            (&args.cluster, Command::Label { model, version, name, value }, Repeat::Safe)
        }
        Action::Remove(args) => {
            let version = number(&args.cluster, &args.model, &args.version)?;
            (&args.cluster, Command::RemoveVersion { model: args.model.clone(), version }, Repeat::Unsafe)
        }
        Action::Metric(args) => {
            let find = |wanted: &String| number(&args.cluster, &args.model, wanted);
            let version = args.version.as_ref().map(find).transpose()?;
            let (model, metric) = (args.model.clone(), args.metric.clone());
            let (value, samples) = (args.value, args.samples);
            (&args.cluster, Command::Metric { model, version, metric, value, samples }, Repeat::Unsafe)
        }
        Action::List(_) | Action::Show(_) | Action::Diff(_) | Action::History(_) | Action::Export(_) => {
            return Err(Error::failed(format!("{action:?} changes nothing")));
        }
    })
}

/// The number of a version; one that is given by its alias is looked up, and may be another one a moment later, which
/// `--expected` is for.
fn number(cluster: &ClusterArgs, name: &str, wanted: &str) -> Result<u64, Error> {
    if let Ok(number) = wanted.parse() {
        return Ok(number);
    }
    Ok(version_of(&model(cluster, name)?, wanted)?.number.0)
}

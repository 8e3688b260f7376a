//! `muster models`: the versions of models, which of them are used, and how they came to be.

mod args;
mod change;
mod diff;
mod history;
mod show;
mod version;

#[cfg(test)]
mod tests;

use muster_core::retrain::registry::Version;
use muster_core::retrain::view::ModelView;

pub use self::args::{
    Action, AliasArgs, Args, DiffArgs, ExportArgs, LabelArgs, ListArgs, MetricArgs, ModelArgs, NoteArgs,
    PromoteArgs, RollbackArgs, ShowArgs, VersionArgs,
};
use super::schedules::{Changed, tell_to, with};
use crate::args::ClusterArgs;
use crate::context::Context;
use crate::error::Error;
use crate::export;
use crate::pages;

/// Does what the flags ask.
///
/// # Errors
/// Where the coordinator cannot be reached, refuses, or does not know the model or the version.
pub fn run(context: &Context, args: &Args) -> Result<(), Error> {
    match &args.action {
        Action::List(args) => {
            let models = with(&args.cluster, pages::models)?;
            context.output.report(&show::Models(models))
        }
        Action::Show(args) => {
            let model = model(&args.cluster, &args.model)?;
            match &args.version {
                None => context.output.report(&show::Model(model)),
                Some(wanted) => {
                    let version = version_of(&model, wanted)?.clone();
                    context.output.report(&version::One { model, version })
                }
            }
        }
        Action::Diff(args) => {
            let model = model(&args.cluster, &args.model)?;
            let (from, to) = (version_of(&model, &args.from)?, version_of(&model, &args.to)?);
            context.output.report(&diff::Diff::of(&args.model, from, to))
        }
        Action::History(args) => {
            let told = with(&args.cluster, async |client| pages::history(client, &args.model).await);
            context.output.report(&history::History(told.map_err(of_model)?))
        }
        Action::Export(args) => {
            let model = model(&args.cluster, &args.model)?;
            let version = version_of(&model, &args.version)?;
            let asked = export::Asked { model: &args.model, version, with_histories: args.with_histories };
            context.output.report(&export::write(&asked, &args.out)?)
        }
        action => {
            let (cluster, command, repeat) = change::command(action)?;
            context.output.report(&Changed(tell_to(cluster, command, repeat)?))
        }
    }
}

/// A model with all its versions.
fn model(cluster: &ClusterArgs, name: &str) -> Result<ModelView, Error> {
    with(cluster, async |client| pages::model(client, name).await).map_err(of_model)
}

fn of_model(error: Error) -> Error {
    if error.field.is_some() { error } else { error.with_field("MODEL") }
}

/// The version that a number or an alias names.
fn version_of<'m>(model: &'m ModelView, wanted: &str) -> Result<&'m Version, Error> {
    let number = wanted.parse().ok().or_else(|| model.aliases.get(wanted).copied());
    let found = number.and_then(|number: u64| model.versions.iter().find(|known| known.number.0 == number));
    found.ok_or_else(|| {
        let aliases = model.aliases.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let aliases = if aliases.is_empty() {
            "it has no alias".to_owned()
        } else {
            format!("its aliases are {aliases}")
        };
        let message = format!(
            "model {} has no version `{wanted}`; {aliases}, and `muster models show {}` lists its versions",
            model.name, model.name
        );
        Error::bad_input(message).with_field("VERSION")
    })
}

//! The flags of `muster models`.

use std::path::PathBuf;

use clap::Subcommand;

use crate::args::ClusterArgs;

const EXAMPLES: &str = "\
Examples:
  muster models list
  muster models show shop
  muster models show shop champion
  muster models diff shop previous champion
  muster models promote shop 12 --expected 11
  muster models rollback shop
  muster models metric shop click_rate 0.031 --samples 20000
  muster models export shop champion --out shop-12";

/// Lists, shows, compares, promotes and exports the versions of models.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// What to do
    #[command(subcommand)]
    pub action: Action,
}

/// What to do with models. A version is given by its number or by an alias such as `champion`.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// List all models
    #[command(after_help = "Example:\n  muster models list --output json")]
    List(ListArgs),
    /// Show a model with its versions, or one version with all that is known of it
    #[command(after_help = "Examples:\n  muster models show shop\n  muster models show shop 12")]
    Show(ShowArgs),
    /// Compare two versions: metrics, data, job
    #[command(after_help = "Example:\n  muster models diff shop previous champion")]
    Diff(DiffArgs),
    /// Make a version the champion, and call the hook of its schedule
    #[command(after_help = "Example:\n  muster models promote shop 12 --expected 11")]
    Promote(PromoteArgs),
    /// Make the previous champion the champion again, and call the hook of its schedule
    #[command(after_help = "Example:\n  muster models rollback shop --expected 12")]
    Rollback(RollbackArgs),
    /// Make, move or remove an alias
    #[command(
        after_help = "Examples:\n  muster models alias shop canary 13\n  muster models alias shop canary --remove"
    )]
    Alias(AliasArgs),
    /// Add a remark to a version
    #[command(after_help = "Example:\n  muster models note shop 12 \"logs of March lack the app's events\"")]
    Note(NoteArgs),
    /// Set a label of a version, or take it away
    #[command(
        after_help = "Examples:\n  muster models label shop 12 region eu\n  muster models label shop 12 region --remove"
    )]
    Label(LabelArgs),
    /// Remove a version that nothing needs, with its files
    #[command(after_help = "Example:\n  muster models remove shop 3")]
    Remove(VersionArgs),
    /// Show what happened to a model's versions, newest first
    #[command(after_help = "Example:\n  muster models history shop")]
    History(ModelArgs),
    /// Report a figure of the champion in service, such as its rate of clicks
    #[command(after_help = "Example:\n  muster models metric shop click_rate 0.031 --samples 20000")]
    Metric(MetricArgs),
    /// Write a version as one folder that opens elsewhere: model, vocabularies, job, report
    #[command(after_help = "Example:\n  muster models export shop champion --out shop-12")]
    Export(ExportArgs),
}

/// Flags of `models list`.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// How to reach the coordinator
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Flags of a command on one model.
#[derive(Debug, clap::Args)]
pub struct ModelArgs {
    /// The model's name
    #[arg(value_name = "MODEL")]
    pub model: String,
    /// How to reach the coordinator
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Flags of `models show`.
#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    /// The model's name
    #[arg(value_name = "MODEL")]
    pub model: String,
    /// The version, by number or alias; all where absent
    #[arg(id = "of_version", value_name = "VERSION")]
    pub version: Option<String>,
    /// How to reach the coordinator
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Flags of a command on one version.
#[derive(Debug, clap::Args)]
pub struct VersionArgs {
    /// The model's name
    #[arg(value_name = "MODEL")]
    pub model: String,
    /// The version, by number or alias
    #[arg(id = "of_version", value_name = "VERSION")]
    pub version: String,
    /// How to reach the coordinator
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Flags of `models diff`.
#[derive(Debug, clap::Args)]
pub struct DiffArgs {
    /// The model's name
    #[arg(value_name = "MODEL")]
    pub model: String,
    /// One version, by number or alias
    #[arg(value_name = "FROM")]
    pub from: String,
    /// The other one
    #[arg(value_name = "TO")]
    pub to: String,
    /// How to reach the coordinator
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Flags of `models promote`.
#[derive(Debug, clap::Args)]
pub struct PromoteArgs {
    /// The model's name
    #[arg(value_name = "MODEL")]
    pub model: String,
    /// The version, by number or alias
    #[arg(id = "of_version", value_name = "VERSION")]
    pub version: String,
    /// The champion that you have in mind; if it is another one by now, nothing is done
    #[arg(long, value_name = "N")]
    pub expected: Option<u64>,
    /// How to reach the coordinator
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Flags of `models rollback`.
#[derive(Debug, clap::Args)]
pub struct RollbackArgs {
    /// The model's name
    #[arg(value_name = "MODEL")]
    pub model: String,
    /// The champion that is to go; if it is another one by now, nothing is done
    #[arg(long, value_name = "N")]
    pub expected: Option<u64>,
    /// How to reach the coordinator
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Flags of `models alias`.
#[derive(Debug, clap::Args)]
pub struct AliasArgs {
    /// The model's name
    #[arg(value_name = "MODEL")]
    pub model: String,
    /// The alias; `champion` and `previous` follow from promotions
    #[arg(value_name = "ALIAS")]
    pub alias: String,
    /// The version that it is to name, by number or another alias
    #[arg(
        id = "of_version",
        value_name = "VERSION",
        required_unless_present = "remove",
        conflicts_with = "remove"
    )]
    pub version: Option<String>,
    /// Remove the alias
    #[arg(long)]
    pub remove: bool,
    /// Where you take it to be; if it is elsewhere by now, nothing is done
    #[arg(long, value_name = "N")]
    pub expected: Option<u64>,
    /// How to reach the coordinator
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Flags of `models note`.
#[derive(Debug, clap::Args)]
pub struct NoteArgs {
    /// The model's name
    #[arg(value_name = "MODEL")]
    pub model: String,
    /// The version, by number or alias
    #[arg(id = "of_version", value_name = "VERSION")]
    pub version: String,
    /// The remark
    #[arg(value_name = "TEXT")]
    pub text: String,
    /// How to reach the coordinator
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Flags of `models label`.
#[derive(Debug, clap::Args)]
pub struct LabelArgs {
    /// The model's name
    #[arg(value_name = "MODEL")]
    pub model: String,
    /// The version, by number or alias
    #[arg(id = "of_version", value_name = "VERSION")]
    pub version: String,
    /// The label
    #[arg(value_name = "LABEL")]
    pub label: String,
    /// Its value
    #[arg(value_name = "VALUE", required_unless_present = "remove", conflicts_with = "remove")]
    pub value: Option<String>,
    /// Take the label away
    #[arg(long)]
    pub remove: bool,
    /// How to reach the coordinator
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Flags of `models metric`.
#[derive(Debug, clap::Args)]
pub struct MetricArgs {
    /// The model's name
    #[arg(value_name = "MODEL")]
    pub model: String,
    /// The figure's name, as a schedule's `[health]` has it
    #[arg(value_name = "METRIC")]
    pub metric: String,
    /// Its mean over the samples
    #[arg(value_name = "VALUE", allow_negative_numbers = true, value_parser = finite)]
    pub value: f64,
    /// How many samples it is the mean of
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub samples: u64,
    /// The version that it was measured of, by number or alias; the champion where absent
    #[arg(long = "of", id = "of_version", value_name = "VERSION")]
    pub version: Option<String>,
    /// How to reach the coordinator
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Flags of `models export`.
#[derive(Debug, clap::Args)]
pub struct ExportArgs {
    /// The model's name
    #[arg(value_name = "MODEL")]
    pub model: String,
    /// The version, by number or alias
    #[arg(id = "of_version", value_name = "VERSION")]
    pub version: String,
    /// Folder to write; it must not be there yet
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Write the histories of the dataset's users, too, so that users can be asked about elsewhere
    #[arg(long)]
    pub with_histories: bool,
    /// How to reach the coordinator
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

fn finite(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| format!("`{text}` is not a number"))?;
    if value.is_finite() { Ok(value) } else { Err(format!("`{text}` is not a finite number")) }
}

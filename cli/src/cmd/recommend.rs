//! `muster recommend`: the best items for one user, each with a reason.

use std::path::PathBuf;

use muster_data::Dataset;
use muster_worker::recommend::Recommendation;
use serde_json::{Value, json};

use crate::context::Context;
use crate::error::Error;
use crate::local::threads_each;
use crate::model::{Model, Options};
use crate::output::Report;
use crate::run_record::open_dataset;
use crate::table::Table;

const EXAMPLES: &str = "\
Examples:
  muster recommend runs/first --dataset prepared --user u42
  muster recommend runs/first --dataset prepared --user u42 -k 5 --output json";

/// Ranks the items that a user has not seen. Each comes with a reason computed from the model: the event of
/// the history whose removal lowers its score most, and by how much.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The model: a run directory or a checkpoint
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// The prepared dataset with the user's history; the one the model was trained on where absent
    #[arg(long, value_name = "DIR")]
    pub dataset: Option<PathBuf>,
    /// The user's id as in the raw logs
    #[arg(long, value_name = "ID")]
    pub user: String,
    /// How many items
    #[arg(short, value_name = "N", allow_negative_numbers = true, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub k: u32,
}

/// Recommends and reports.
///
/// # Errors
/// Where model and dataset do not fit, or the user is not known.
pub fn run(context: &Context, args: &Args) -> Result<(), Error> {
    let dataset = open_dataset(args.dataset.as_deref(), &args.model)?;
    let options = Options { threads: threads_each(1), filter_seen: None };
    let mut model = Model::open(&args.model, &dataset, options)?;
    context.output.report(&Recommended::new(&mut model, &dataset, &args.user, args.k as usize)?)
}

/// Items for a user under their names in the raw logs.
#[derive(Debug, Clone)]
pub struct Recommended {
    user: String,
    items: Vec<Named>,
}

#[derive(Debug, Clone)]
struct Named {
    item: String,
    score: f32,
    reason: Option<NamedReason>,
}

#[derive(Debug, Clone)]
struct NamedReason {
    item: String,
    event: usize,
    lowers_score_by: f32,
}

impl Recommended {
    /// Asks the model.
    ///
    /// # Errors
    /// Where the user is not known, or the dataset is damaged.
    pub fn new(model: &mut Model, dataset: &Dataset, user: &str, k: usize) -> Result<Self, Error> {
        let recommendations = model.recommend(dataset, user, k)?;
        let items = dataset.load_items()?;
        let name = |found: &Recommendation| Named {
            item: items.key(found.item).to_owned(),
            score: found.score,
            reason: found.reason.map(|reason| NamedReason {
                item: items.key(reason.item).to_owned(),
                event: reason.event,
                lowers_score_by: reason.lowers_score_by,
            }),
        };
        Ok(Self { user: user.to_owned(), items: recommendations.iter().map(name).collect() })
    }
}

impl Report for Recommended {
    fn text(&self) -> String {
        let mut table =
            Table::new(["rank", "item", "score", "because of", "whose removal lowers the score by"]);
        for (place, found) in self.items.iter().enumerate() {
            let reason = found.reason.as_ref();
            table.row([
                (place + 1).to_string(),
                found.item.clone(),
                format!("{:.4}", found.score),
                reason.map_or_else(String::new, |reason| {
                    format!("{} (event {})", reason.item, reason.event + 1)
                }),
                reason.map_or_else(String::new, |reason| format!("{:.4}", reason.lowers_score_by)),
            ]);
        }
        format!("  for user {}\n\n{}", self.user, table.render())
    }

    fn json(&self) -> Value {
        let reason = |reason: &NamedReason| json!({"event": reason.event, "item": reason.item, "lowers_score_by": reason.lowers_score_by});
        let item = |found: &Named| json!({"item": found.item, "score": found.score, "reason": found.reason.as_ref().map(reason)});
        json!({"user": self.user, "recommendations": self.items.iter().map(item).collect::<Vec<_>>()})
    }
}

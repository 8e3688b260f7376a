//! `muster recommend`: the best items for one user, each with a reason.

use std::path::PathBuf;

use muster_data::{Dataset, Items};
use muster_worker::recommend::Recommendation;
use serde_json::{Value, json};

use crate::context::Context;
use crate::error::Error;
use crate::export;
use crate::local::threads_each;
use crate::model::{Model, Options};
use crate::output::Report;
use crate::run_record::open_dataset;
use crate::table::Table;

const EXAMPLES: &str = "\
Examples:
  muster recommend runs/first --dataset prepared --user u42
  muster recommend runs/first --dataset prepared --user u42 -k 5 --output json
  muster recommend exported --history milk,bread,butter";

/// Ranks the items that a user has not seen. Each comes with a reason computed from the model: the event of
/// the history whose removal lowers its score most, and by how much.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The model: a run directory, a checkpoint, or what `muster models export` wrote
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// The prepared dataset with the user's history; the one the model was trained on where absent
    #[arg(long, value_name = "DIR")]
    pub dataset: Option<PathBuf>,
    /// The user's id as in the raw logs
    #[arg(long, value_name = "ID", required_unless_present = "history")]
    pub user: Option<String>,
    /// Items of somebody who is in no log, the oldest first; those that the model does not know are left out
    #[arg(long, value_name = "ITEM,..", value_delimiter = ',', conflicts_with = "user")]
    pub history: Vec<String>,
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
    let k = args.k as usize;
    match &args.user {
        Some(user) => {
            export::check_histories(
                &args.model,
                args.dataset.as_deref(),
                "--history ITEM,ITEM asks without them",
            )?;
            let mut model = Model::open(&args.model, &dataset, options)?;
            context.output.report(&Recommended::new(&mut model, &dataset, user, k)?)
        }
        None => {
            let mut model = Model::open_to_ask(&args.model, &dataset, options)?;
            context.output.report(&Recommended::after(&mut model, &dataset, &args.history, k)?)
        }
    }
}

/// Items for a user under their names in the raw logs.
#[derive(Debug, Clone)]
pub struct Recommended {
    whom: Whom,
    items: Vec<Named>,
}

/// For whom items are recommended.
#[derive(Debug, Clone)]
enum Whom {
    /// A user of the logs.
    User(String),
    /// Somebody with a history: of so many items, without those that are not known.
    History { known: usize, unknown: Vec<String> },
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
        Ok(Self::named(Whom::User(user.to_owned()), &dataset.load_items()?, &recommendations))
    }

    /// Asks the model about somebody who is in no log.
    ///
    /// # Errors
    /// Where no item of the history is known, or the dataset is damaged.
    pub fn after(model: &mut Model, dataset: &Dataset, history: &[String], k: usize) -> Result<Self, Error> {
        let items = dataset.load_items()?;
        let known: Vec<u32> = history.iter().filter_map(|item| items.id(item)).collect();
        let unknown: Vec<String> = history.iter().filter(|item| items.id(item).is_none()).cloned().collect();
        let recommendations = model.recommend_after((dataset, &items), &known, k)?;
        Ok(Self::named(Whom::History { known: known.len(), unknown }, &items, &recommendations))
    }

    fn named(whom: Whom, items: &Items, recommendations: &[Recommendation]) -> Self {
        let name = |found: &Recommendation| Named {
            item: items.key(found.item).to_owned(),
            score: found.score,
            reason: found.reason.map(|reason| NamedReason {
                item: items.key(reason.item).to_owned(),
                event: reason.event,
                lowers_score_by: reason.lowers_score_by,
            }),
        };
        Self { whom, items: recommendations.iter().map(name).collect() }
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
        let whom = match &self.whom {
            Whom::User(user) => format!("user {user}"),
            Whom::History { known, unknown } if unknown.is_empty() => format!("a history of {known} items"),
            Whom::History { known, unknown } => {
                format!("a history of {known} items; not known, and left out: {}", unknown.join(", "))
            }
        };
        format!("  for {whom}\n\n{}", table.render())
    }

    fn json(&self) -> Value {
        let reason = |reason: &NamedReason| json!({"event": reason.event, "item": reason.item, "lowers_score_by": reason.lowers_score_by});
        let item = |found: &Named| json!({"item": found.item, "score": found.score, "reason": found.reason.as_ref().map(reason)});
        let items: Vec<Value> = self.items.iter().map(item).collect();
        match &self.whom {
            Whom::User(user) => json!({"user": user, "recommendations": items}),
            Whom::History { unknown, .. } => json!({"unknown": unknown, "recommendations": items}),
        }
    }
}

//! Lists that the coordinator gives page by page.

use muster_core::retrain::command::Question;
use muster_core::retrain::registry::Entry;
use muster_core::retrain::view::{ModelView, RunView, ScheduleView};
use muster_proto::rpc::RetrainClient;
use serde::de::DeserializeOwned;

use crate::error::Error;

/// Asks for page after page, until one is empty or there are as many as are wanted.
async fn all<T: DeserializeOwned>(
    client: &RetrainClient,
    most: Option<usize>,
    question: impl Fn(Option<&T>) -> Question,
) -> Result<Vec<T>, Error> {
    let mut all: Vec<T> = Vec::new();
    while most.is_none_or(|most| all.len() < most) {
        let page: Vec<T> = client.tell(&question(all.last())).await?;
        if page.is_empty() {
            break;
        }
        all.extend(page);
    }
    all.truncate(most.unwrap_or(all.len()));
    Ok(all)
}

/// All schedules by name.
pub(crate) async fn schedules(client: &RetrainClient) -> Result<Vec<ScheduleView>, Error> {
    let question =
        |last: Option<&ScheduleView>| Question::Schedules { after: last.map(|last| last.name.clone()) };
    all(client, None, question).await
}

/// The newest runs, of a schedule or of all.
pub(crate) async fn runs(
    client: &RetrainClient,
    schedule: Option<&str>,
    most: Option<usize>,
) -> Result<Vec<RunView>, Error> {
    let question = |last: Option<&RunView>| Question::Runs {
        schedule: schedule.map(str::to_owned),
        after: last.and_then(|last| Some((last.transitions.first()?.at, last.run.clone()))),
    };
    all(client, most, question).await
}

/// All models by name, each with its newest version and those that have a name.
pub(crate) async fn models(client: &RetrainClient) -> Result<Vec<ModelView>, Error> {
    let question = |last: Option<&ModelView>| Question::Models { after: last.map(|last| last.name.clone()) };
    all(client, None, question).await
}

/// A model with all its versions.
pub(crate) async fn model(client: &RetrainClient, name: &str) -> Result<ModelView, Error> {
    let question = |after| Question::Model { model: name.to_owned(), after };
    let mut model: ModelView = client.tell(&question(None)).await?;
    while (model.versions.len() as u64) < model.n_versions {
        let after = model.versions.last().map(|version| version.number.0);
        let page: ModelView = client.tell(&question(after)).await?;
        if page.versions.is_empty() {
            break;
        }
        model.versions.extend(page.versions);
    }
    Ok(model)
}

/// What happened to a model, newest first.
pub(crate) async fn history(client: &RetrainClient, name: &str) -> Result<Vec<Entry>, Error> {
    let question = |last: Option<&Entry>| Question::History {
        model: name.to_owned(),
        after: last.map(|last| last.number),
    };
    all(client, None, question).await
}

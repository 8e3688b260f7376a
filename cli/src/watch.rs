//! Follows a job to its end: events of the coordinator become progress, the last one the result.

use std::time::Duration;

use muster_proto::control::{CancelMode, EventKind, JobPhase, Progress as JobProgress};
use muster_proto::ids::JobId;
use muster_proto::rpc::JobClient;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::chaos::Faults;
use crate::cluster::StopRequests;
use crate::error::Error;
use crate::incidents;
use crate::local::LocalCluster;
use crate::metrics;
use crate::progress::Progress;

/// What there is around a job that is followed.
#[derive(Debug)]
pub struct Around<'a> {
    /// The cluster that this command started, if it did.
    pub local: Option<&'a mut LocalCluster>,
    /// What its workers are to suffer.
    pub faults: Option<&'a mut Faults>,
    /// Requests to stop.
    pub stop: &'a mut StopRequests,
}

/// Follows `job` until it ends and gives its summary. Ctrl-c cancels the job.
///
/// With a local cluster, workers that die end the wait with the last lines of a log once too few are left to go on.
///
/// # Errors
/// Where the job fails, is cancelled, or the coordinator can no longer be reached.
pub async fn follow(
    client: &JobClient,
    job: JobId,
    progress: &mut dyn Progress,
    around: Around<'_>,
) -> Result<Value, Error> {
    let Around { mut local, mut faults, stop } = around;
    let mut events = client.watch(job, 0);
    if local.is_none() {
        events = events.with_patience(PATIENCE);
    }
    let mut view = View { local: local.is_some(), ..View::default() };
    let (mut died, mut deadline) = (None, None);
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            (ended, can_go_on) = ended_worker(&mut local, faults.is_some()) => {
                if can_go_on {
                    progress.say(ended.lines().next().unwrap_or_default());
                } else {
                    deadline.get_or_insert(Instant::now() + GRACE);
                }
                died = Some(ended);
                continue;
            }
            () = passed(faults.as_deref().and_then(Faults::next)) => {
                if let Some(faults) = &mut faults {
                    faults.act(client, progress).await?;
                }
                continue;
            }
            () = passed(deadline) => return Err(failed("it cannot go on", died.as_ref())),
            () = stop.next() => {
                progress.say("stopping");
                client.cancel(job, CancelMode::Abort).await?;
                return Err(Error::failed("stopped on request; the last checkpoint is kept, go on with --resume"));
            }
        };
        let Some(event) = event else {
            return Err(Error::failed("the coordinator closed the job's events before its end"));
        };
        let event = event?;
        if let Some(faults) = &mut faults {
            faults.see(&event.kind);
        }
        match event.kind {
            EventKind::Finished { summary } => {
                view.close(progress);
                return Ok(with_spent(summary, client, job).await);
            }
            EventKind::Failed { error } => return Err(failed(&error, died.as_ref())),
            EventKind::Cancelled => return Err(Error::failed("the job was cancelled")),
            other => view.show(&other, progress),
        }
    }
}

/// Adds what the job's time was spent on; a coordinator that went away at the end makes the run no worse.
async fn with_spent(mut summary: Value, client: &JobClient, job: JobId) -> Value {
    let jobs = client.jobs().await.unwrap_or_default();
    let status = jobs.into_iter().find(|status| status.job == job);
    if let (Value::Object(fields), Some(status)) = (&mut summary, status) {
        fields.insert("goodput".to_owned(), json!(status.spent.goodput()));
        fields.insert("spent".to_owned(), json!(status.spent));
    }
    summary
}

/// How long a coordinator may be away while somebody follows a job; the job goes on without it.
const PATIENCE: Duration = Duration::from_secs(300);

/// How long the coordinator may take to see that a local worker ended; then its reason is lost.
const GRACE: Duration = Duration::from_secs(15);

async fn passed(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// The next worker that ends, in words, and whether enough are left.
///
/// One that was killed on purpose is started again.
async fn ended_worker(local: &mut Option<&mut LocalCluster>, restart: bool) -> (String, bool) {
    match local {
        Some(cluster) => {
            let ended = cluster.ended_worker().await;
            if restart && let Err(error) = cluster.restart(ended.number) {
                tracing::warn!(number = ended.number, %error, "a worker cannot be started again");
            }
            let log = cluster.log_tail(ended.number);
            (format!("worker {} ended ({})\n{log}", ended.number, ended.status), cluster.can_go_on())
        }
        None => std::future::pending().await,
    }
}

fn failed(error: &str, died: Option<&String>) -> Error {
    match died {
        Some(died) => Error::failed(format!("the job failed: {error}\n{}", died.trim_end())),
        None => Error::failed(format!("the job failed: {error}")),
    }
}

/// What the person at the terminal has been shown so far.
#[derive(Debug, Default)]
struct View {
    local: bool,
    epoch: Option<u32>,
    note: String,
}

impl View {
    fn show(&mut self, event: &EventKind, progress: &mut dyn Progress) {
        match event {
            EventKind::PhaseChanged { phase, reason } => {
                // A cluster that this command started itself gathers and loads in a moment.
                let brief = self.local && !matches!(phase, JobPhase::Planning | JobPhase::Recovering);
                if *phase != JobPhase::Training && !brief {
                    progress.say(&format!("{phase}: {reason}"));
                }
            }
            EventKind::Progress(report) => self.show_progress(report, progress),
            EventKind::WorkerLost { worker, rank, reason } => {
                progress.say(&format!("lost {worker} (rank {rank}): {reason}"));
            }
            EventKind::Incident { incident } => progress.say(&incidents::line(incident)),
            EventKind::CheckpointSaved { step, .. } => tracing::info!(%step, "checkpoint saved"),
            EventKind::Missed { count } => tracing::warn!(count, "events of the job were missed"),
            EventKind::Finished { .. } | EventKind::Failed { .. } | EventKind::Cancelled => {}
        }
    }

    fn show_progress(&mut self, report: &JobProgress, progress: &mut dyn Progress) {
        if report.metrics.is_empty() {
            if self.epoch != Some(report.epoch) {
                self.close(progress);
                self.epoch = Some(report.epoch);
                let stage = format!("epoch {}/{}", report.epoch + 1, report.epochs);
                progress.start(&stage, report.steps_per_epoch);
            }
            let done = report.step.0.saturating_sub(u64::from(report.epoch) * report.steps_per_epoch);
            self.note = format!("loss {:.4}  {:.0} tokens/s", report.loss, report.tokens_per_second);
            progress.update(done, &self.note);
        } else {
            self.close(progress);
            let names = metrics::ordered(report.metrics.keys().map(String::as_str));
            let shown: Vec<String> = names
                .into_iter()
                .filter(|name| is_headline(name))
                .map(|name| format!("{name} {:.4}", report.metrics[name]))
                .collect();
            progress.say(&format!("  validation  {}", shown.join("  ")));
        }
    }

    fn close(&mut self, progress: &mut dyn Progress) {
        if self.epoch.take().is_some() {
            progress.finish(&self.note);
        }
    }
}

/// The metrics that fit on a line; the rest is in the history and in the curves.
fn is_headline(metric: &str) -> bool {
    !metric.contains('@') || ["HR@10", "NDCG@10", "MRR@10"].contains(&metric)
}

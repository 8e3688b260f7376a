//! Sees to what the machine wants: asks the core for tasks and jobs, calls hooks, removes folders.

use std::path::{Component, Path};
use std::sync::Arc;

use muster_core::retrain::machine::{Happened, HookCall, Wanted};
use muster_core::{Answer, Event, Refusal};
use muster_proto::control::{CancelMode, Cause, JobPhase, JobStatus, Submission, TaskStage, TaskWork};
use muster_proto::ids::{JobId, TaskOwner};
use tokio::time::Instant;
use tracing::{info, warn};

use super::driver::{Caller, Driver, Ended, Removal};
use crate::handle::Away;
use crate::runtime::Error;
use crate::store::Store;

impl<S: Store> Driver<S> {
    /// Looks after all that is wanted now.
    pub(super) async fn carry_out(&mut self) -> Result<(), Error> {
        let wanted = self.machine.wanted(self.clock.now());
        let of_jobs = |wanted: &Wanted| matches!(wanted, Wanted::Job { .. } | Wanted::Clear { .. });
        let jobs = if wanted.iter().any(of_jobs) { self.core.jobs().await? } else { Vec::new() };
        for wanted in wanted {
            match wanted {
                Wanted::Task { run, owner, number, work } => self.task(&run, owner, (number, work)).await?,
                Wanted::Job { run, job, submission } => self.job(&run, job, submission, &jobs).await?,
                Wanted::Call { run, attempt, hook, call } => {
                    self.call(Caller::Run(run), attempt, hook, *call);
                }
                Wanted::Owed { number, attempt, hook, call } => {
                    self.call(Caller::Owed(number), attempt, hook, *call);
                }
                Wanted::Clear { run, owner, job } => self.clear(&run, owner, &job, &jobs).await?,
                Wanted::Remove { number, folder } => self.remove(number, folder).await?,
            }
        }
        Ok(())
    }

    async fn note(&mut self, run: &str, happened: Happened) -> Result<(), Error> {
        let writes = self.machine.happened(run, happened, self.clock.now());
        self.commit(writes).await
    }

    async fn task(
        &mut self,
        run: &str,
        owner: TaskOwner,
        (number, work): (u32, TaskWork),
    ) -> Result<(), Error> {
        if !self.made.contains(&(owner, number)) {
            let tasks = vec![(number, work)];
            let made = self.core.ask(move |request| Event::CreateTasks { request, owner, tasks }).await?;
            if let Err(refusal @ Refusal::Invalid { .. }) = made {
                return self.note(run, Happened::Task { number, end: Err(refusal.to_string()) }).await;
            }
            if let Err(refusal) = made {
                // It is asked for again: there may be room for it later.
                warn!(run, %refusal, "a task was refused");
                return Ok(());
            }
            self.made.insert((owner, number));
        }
        let held = self.core.ask(move |request| Event::HoldTasks { request, owner }).await?;
        let status = self.core.tasks(owner, vec![number]).await?.pop();
        let Some(status) = status.filter(|_| held.is_ok()) else {
            // The core forgot them, as it does after a long silence.
            self.made.remove(&(owner, number));
            return Ok(());
        };
        let end = match status.stage {
            TaskStage::Done { result } => Ok(result),
            TaskStage::Failed { error } => Err(error),
            TaskStage::Waiting | TaskStage::Given { .. } => return Ok(()),
        };
        self.note(run, Happened::Task { number, end }).await?;
        self.release(owner).await
    }

    /// What a run's tasks came to is in the store, if anything did.
    async fn release(&mut self, owner: TaskOwner) -> Result<(), Error> {
        self.made.retain(|(of, _)| *of != owner);
        // Tasks that are gone already are what is wanted.
        let _ = self.core.ask(move |request| Event::ReleaseTasks { request, owner }).await?;
        Ok(())
    }

    async fn job(
        &mut self,
        run: &str,
        job: Option<JobId>,
        submission: Box<Submission>,
        jobs: &[JobStatus],
    ) -> Result<(), Error> {
        let found = match job {
            Some(job) => jobs.iter().find(|status| status.job == job),
            // One that was submitted before a coordinator ended is known by its name.
            None => jobs.iter().rev().find(|status| status.name == submission.name),
        };
        match (found, job) {
            (Some(status), _) => {
                if job.is_none() {
                    self.note(run, Happened::Submitted { job: status.job }).await?;
                }
                if !status.phase.is_ended() {
                    return Ok(());
                }
                let error = match status.phase {
                    JobPhase::Finished => None,
                    phase => Some(format!("{} {phase}: {}", status.job, status.reason)),
                };
                self.note(run, Happened::JobEnded { error, worker_seconds: worker_seconds(status) }).await
            }
            (None, Some(job)) => {
                let error = Some(format!("the coordinator knows nothing of {job} any more"));
                self.note(run, Happened::JobEnded { error, worker_seconds: 0.0 }).await
            }
            (None, None) => match self.core.ask(|request| Event::Submit { request, submission }).await? {
                Ok(Answer::Submitted(job)) => {
                    info!(run, %job, "job of a schedule submitted");
                    self.note(run, Happened::Submitted { job }).await
                }
                Ok(_) => Ok(()),
                Err(refusal) => {
                    let error = Some(format!("its job was refused: {refusal}"));
                    self.note(run, Happened::JobEnded { error, worker_seconds: 0.0 }).await
                }
            },
        }
    }

    async fn clear(
        &mut self,
        run: &str,
        owner: TaskOwner,
        job: &str,
        jobs: &[JobStatus],
    ) -> Result<(), Error> {
        self.release(owner).await?;
        let at_work = jobs.iter().find(|status| status.name == job && !status.phase.is_ended());
        match at_work.map(|status| status.job) {
            Some(job) => {
                let mode = CancelMode::Abort;
                // One that ended meanwhile is not there the next time.
                let _ = self.core.ask(move |request| Event::Cancel { request, job, mode }).await?;
                Ok(())
            }
            None => self.note(run, Happened::Cleared).await,
        }
    }

    fn call(&mut self, of: Caller, attempt: u32, hook: String, call: HookCall) {
        if self.calling.contains_key(&(of.clone(), attempt)) {
            return;
        }
        info!(hook, model = call.model, version = call.version, stage = ?call.stage, attempt, "hook called");
        let (hooks, key) = (Arc::clone(&self.hooks), (of.clone(), attempt));
        let task = self.under_way.spawn(async move {
            let end = hooks.call(&hook, &call).await.map_err(|error| error.to_string());
            Ended::Call { of, attempt, end }
        });
        self.calling.insert(key, task.id());
    }

    /// Removes a run's folder; another one is left where it is.
    async fn remove(&mut self, number: u64, folder: String) -> Result<(), Error> {
        match self.removing.get(&number) {
            Some(Removal::UnderWay(_)) => return Ok(()),
            Some(Removal::Again(at)) if *at > Instant::now() => return Ok(()),
            _ => {}
        }
        if !is_of_a_run(Path::new(&folder)) {
            warn!(folder, "it is not the folder of a run, and stays");
            let writes = self.machine.discarded(number);
            return self.commit(writes).await;
        }
        let task = self
            .under_way
            .spawn_blocking(move || Ended::Removed { number, end: removed(Path::new(&folder)) });
        self.removing.insert(number, Removal::UnderWay(task.id()));
        Ok(())
    }
}

/// Removes a folder; it is gone if it is not there, unless all runs are, as where a share is not mounted.
fn removed(folder: &Path) -> Result<(), String> {
    let Err(error) = std::fs::remove_dir_all(folder) else { return Ok(()) };
    let others_are_there = folder.parent().is_some_and(Path::is_dir);
    if error.kind() == std::io::ErrorKind::NotFound && others_are_there {
        return Ok(());
    }
    Err(format!("{}: {error}", folder.display()))
}

/// Whether a path is one that only runs have: absolute, straight, and in a folder `runs`.
fn is_of_a_run(folder: &Path) -> bool {
    let is_straight =
        folder.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    let parent = folder.parent().and_then(Path::file_name);
    folder.is_absolute() && is_straight && parent.is_some_and(|name| name == "runs")
}

/// Seconds that workers were kept for a job.
fn worker_seconds(status: &JobStatus) -> f64 {
    let waited = status.spent.on(Cause::Queue) + status.spent.on(Cause::Decide);
    status.spent.total().saturating_sub(waited).as_secs_f64() * f64::from(status.world_size.0)
}

impl From<Away> for Error {
    /// The core went away, and with it the term.
    fn from(_: Away) -> Self {
        Self::Lapsed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_not_there_is_gone_where_those_beside_it_could_be_seen() {
        let workspace = tempfile::tempdir().unwrap();
        let folder = workspace.path().join("runs/nightly-1");
        assert!(removed(&folder).unwrap_err().contains("nightly-1"));
        std::fs::create_dir_all(folder.join("train")).unwrap();
        assert_eq!(removed(&folder), Ok(()));
        assert_eq!((folder.exists(), removed(&folder)), (false, Ok(())));
    }

    #[test]
    fn only_the_folders_of_runs_are_removed() {
        assert!(is_of_a_run(Path::new("/shared/shop/runs/nightly-1")));
        for other in ["/shared/shop", "shop/runs/nightly-1", "/shared/shop/runs/../base", "/runs", "/"] {
            assert!(!is_of_a_run(Path::new(other)), "{other}");
        }
    }
}

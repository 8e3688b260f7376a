//! What is to be done, as it follows from where each run is.

use jiff::Timestamp;
use muster_proto::control::{Class, Contender, JudgeUnit, Queueing, Submission, TaskWork, WindowUnit};
use muster_proto::ids::{JobId, TaskOwner};
use muster_proto::job::WarmStartSpec;
use serde::{Deserialize, Serialize};

use super::super::registry::{Version, VersionNumber};
use super::super::run::{Kind, Run, Stage};
use super::Machine;
use super::steps::WINDOW_TASK;

/// Something that is to be done, and to be asked after until it is. Doing it twice does it once, but for hooks.
#[derive(Debug, Clone, PartialEq)]
pub enum Wanted {
    /// A worker does a task.
    Task {
        /// The run.
        run: String,
        /// Whose the task is.
        owner: TaskOwner,
        /// Its number.
        number: u32,
        /// What it is.
        work: TaskWork,
    },
    /// A job is trained.
    Job {
        /// The run.
        run: String,
        /// Its number, where it is known.
        job: Option<JobId>,
        /// The job; its name tells it from all others.
        submission: Box<Submission>,
    },
    /// A hook is called for a run.
    Call {
        /// The run.
        run: String,
        /// Which attempt.
        attempt: u32,
        /// The hook.
        hook: String,
        /// What it is told.
        call: Box<HookCall>,
    },
    /// A hook is called for what a person did.
    Owed {
        /// The call's number.
        number: u64,
        /// Which attempt.
        attempt: u32,
        /// The hook.
        hook: String,
        /// What it is told.
        call: Box<HookCall>,
    },
    /// All tasks of a run are released, and its job is cancelled.
    Clear {
        /// The run.
        run: String,
        /// Whose the tasks are.
        owner: TaskOwner,
        /// The job's name.
        job: String,
    },
    /// A folder goes.
    Remove {
        /// Its number.
        number: u64,
        /// The folder.
        folder: String,
    },
}

/// What a hook is to bring about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HookStage {
    /// A new champion goes into service.
    Promote,
    /// The champion before it comes back.
    RollBack,
}

/// What a hook is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookCall {
    /// What it is to bring about.
    pub stage: HookStage,
    /// The model.
    pub model: String,
    /// The version that goes into service.
    pub version: u64,
    /// Its checkpoint.
    pub checkpoint: String,
    /// The dataset that it was trained on, with its vocabulary.
    pub dataset: String,
    /// The digest over its pieces.
    pub model_digest: String,
    /// The run that asks; none where a person did.
    pub run: Option<String>,
    /// The same for each call for the same: a hook may be called again after it went well.
    pub idempotency: String,
}

impl Machine {
    /// All that is to be done at `now`.
    #[must_use]
    pub fn wanted(&self, now: Timestamp) -> Vec<Wanted> {
        let mut wanted: Vec<Wanted> = self.unended().filter_map(|run| self.wanted_of(run, now)).collect();
        for (number, owed) in &self.owed {
            if owed.call.at > now || owed.call.attempt > owed.retries + 1 {
                continue;
            }
            let key = format!("owed-{number}");
            let Some(call) = self.call(&owed.model, owed.version, (owed.stage, None, key)) else { continue };
            let (attempt, hook) = (owed.call.attempt, owed.hook.clone());
            wanted.push(Wanted::Owed { number: *number, attempt, hook, call });
        }
        let folders = self.garbage.iter();
        wanted.extend(
            folders.map(|(number, folder)| Wanted::Remove { number: *number, folder: folder.0.clone() }),
        );
        wanted
    }

    fn wanted_of(&self, run: &Run, now: Timestamp) -> Option<Wanted> {
        let id = run.id.to_string();
        match &run.state.stage {
            Stage::Preparing => {
                let work = TaskWork::Window(Box::new(self.window_unit(run)?));
                Some(Wanted::Task { run: id, owner: run.owner(), number: WINDOW_TASK, work })
            }
            Stage::Training => {
                let submission = run.state.made.as_ref()?.submission.clone();
                Some(Wanted::Job { run: id, job: run.state.job, submission })
            }
            Stage::Judging => {
                let work = TaskWork::Judge(Box::new(self.judge_unit(run)?));
                Some(Wanted::Task { run: id, owner: run.owner(), number: run.judge_task(), work })
            }
            Stage::Promoting(call) | Stage::RollingBack(call)
                if call.at <= now && self.is_next_to_call(run) =>
            {
                let hook = run.plan.applied.spec.promotion.hook.clone()?;
                let registry = self.models.get(run.model())?;
                let (stage, version) = match run.state.stage {
                    Stage::Promoting(_) => (HookStage::Promote, run.state.version?),
                    _ => (HookStage::RollBack, registry.alias(super::super::registry::PREVIOUS)?),
                };
                let word = if stage == HookStage::Promote { "promote" } else { "roll_back" };
                let told = (stage, Some(id.clone()), format!("{id}-{word}"));
                let told = self.call(run.model(), version, told)?;
                Some(Wanted::Call { run: id, attempt: call.attempt, hook, call: told })
            }
            Stage::Cancelling { .. } => Some(Wanted::Clear { run: id, owner: run.owner(), job: run.name() }),
            _ => None,
        }
    }

    /// Whether no other run of the model came to a call of its hook before: two at a time would leave either in service.
    fn is_next_to_call(&self, run: &Run) -> bool {
        let since = |run: &Run| (run.state.transitions.last().map(|last| last.at), run.id.clone());
        let calls = |other: &&Run| {
            other.model() == run.model()
                && matches!(other.state.stage, Stage::Promoting(_) | Stage::RollingBack(_))
        };
        self.unended().filter(calls).all(|other| since(run) <= since(other))
    }

    fn window_unit(&self, run: &Run) -> Option<WindowUnit> {
        let spec = &run.plan.applied.spec;
        let (from, until) = run.state.window?;
        let (valid_from, test_from) = run.boundaries()?;
        let training = &spec.training;
        let class = match run.plan.kind {
            Kind::Scheduled => Class::Scheduled,
            Kind::Manual => Class::Manual,
            Kind::Backfill => Class::Backfill,
        };
        let parent = run.state.parent.and_then(|parent| self.version(run.model(), parent));
        let warm_start = parent.map(|parent| WarmStartSpec {
            dataset: Some(parent.model.dataset.clone()),
            new_rows: training.new_rows,
            optimizer_state: training.optimizer_state,
            evict_after: training.evict_after,
            freeze_tables: training.freeze_tables,
            freeze_dense: training.freeze_dense,
            ..WarmStartSpec::of(parent.model.checkpoint.clone())
        });
        Some(WindowUnit {
            workspace: spec.workspace.clone(),
            run: run.name(),
            dataset_toml: run.plan.applied.dataset_toml.clone(),
            folder: run.plan.applied.dataset_folder.clone(),
            from: from.map(Timestamp::as_millisecond),
            until: until.as_millisecond(),
            valid_from,
            test_from,
            increments: run.plan.increments,
            accepted: Some(run.state.checked),
            job_toml: run.plan.applied.job_toml.clone(),
            warm_start,
            name: run.name(),
            workers: training.workers,
            min_workers: training.min_workers,
            queueing: Queueing { class, team: training.team.clone(), start_workers: training.start_workers },
        })
    }

    fn judge_unit(&self, run: &Run) -> Option<JudgeUnit> {
        let made = run.state.made.as_ref()?;
        let champion = run.state.champion.and_then(|champion| self.version(run.model(), champion));
        Some(JudgeUnit {
            workspace: run.plan.applied.spec.workspace.clone(),
            run: run.name(),
            run_dir: made.submission.run_dir.clone(),
            dataset: made.dataset.clone(),
            champion: champion.map(|champion| Contender {
                checkpoint: champion.model.checkpoint.clone(),
                dataset: champion.model.dataset.clone(),
                model_digest: champion.model.model_digest.clone(),
            }),
            gates: run.gates().cloned().unwrap_or_default(),
        })
    }

    fn version(&self, model: &str, version: VersionNumber) -> Option<&Version> {
        self.models.get(model)?.version(version).ok()
    }

    fn call(
        &self,
        model: &str,
        version: VersionNumber,
        (stage, run, idempotency): (HookStage, Option<String>, String),
    ) -> Option<Box<HookCall>> {
        let known = &self.version(model, version)?.model;
        Some(Box::new(HookCall {
            stage,
            model: model.to_owned(),
            version: version.0,
            checkpoint: known.checkpoint.clone(),
            dataset: known.dataset.clone(),
            model_digest: known.model_digest.clone(),
            run,
            idempotency,
        }))
    }
}

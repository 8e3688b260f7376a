//! The way of a candidate: judged, registered, approved.

use jiff::Timestamp;
use muster_proto::control::JudgeDone;
use muster_proto::schedule::GatesSpec;
use serde_json::Value;

use super::super::gates::{self, Approval, Judgement};
use super::super::registry::{Actor, CHAMPION, Cost, Lineage, Model};
use super::super::run::{Call, Kind, Outcome, Run, Stage};
use super::super::view::Done;
use super::moves::MOST_JUDGED;
use super::{Machine, Refusal, Writes, result_of};

impl Machine {
    pub(super) fn judged(
        &mut self,
        id: &str,
        number: u32,
        end: Result<Value, String>,
        now: Timestamp,
    ) -> Writes {
        let Some(run) = self.runs.get_mut(id) else { return Vec::new() };
        if number != run.judge_task() {
            return Vec::new();
        }
        const ABOUT: (&str, &str) = ("model", "evidence");
        let read = result_of(end, ABOUT).and_then(|mut done: JudgeDone| {
            let judged: Judgement = result_of(Ok(done.judgement.take()), ABOUT)?;
            Ok((judged, done))
        });
        let (judged, done) = match read {
            Ok(both) => both,
            Err(why) => return self.end(id, Outcome::Failed, &why, now),
        };
        // A worker cannot know what people say, nor what time it is here.
        let gates = run.gates().cloned().unwrap_or_default();
        let mut judgement = gates::with_approvals(&gates, &judged, run.state.approvals.clone(), now);
        judgement.at = now;
        run.state.cost.cpu_seconds += done.cpu_seconds;
        run.state.cost.wall = now.duration_since(run.plan.begun).unsigned_abs();
        run.state.metrics.clone_from(&done.metrics);
        run.state.champion_metrics.clone_from(&done.champion_metrics);
        let first_time = run.state.judgement.is_none();
        run.state.judgement = Some(judgement.clone());
        let (model, schedule) = (model_of(run, done, judgement.clone()), run.plan.schedule.clone());
        let by = format!("run {id}");
        let actor = Actor { by: &by, at: now };
        let Some(registry) = self.models.get_mut(run.model()) else {
            return self.end(id, Outcome::Failed, "its model's registry is gone", now);
        };
        let (version, mut writes) = match registry.register(model, actor) {
            Ok(registered) => registered,
            Err(error) => return self.end(id, Outcome::Failed, &error.to_string(), now),
        };
        writes.extend(registry.judge(version, judgement.clone()).unwrap_or_default());
        writes.extend(registry.hold(version, id).unwrap_or_default());
        let Some(run) = self.runs.get_mut(id) else { return writes };
        run.state.version = Some(version);
        writes.push(run.put_state());
        if let Some(scheduled) = self.schedules.get_mut(&schedule).filter(|_| first_time) {
            scheduled.state.judged.0 += 1;
            scheduled.state.judged.1 += u64::from(judgement.outcome != gates::Outcome::Stopped);
            writes.push(scheduled.put_state());
        }
        writes.extend(self.go_by(id, &judgement, now));
        writes
    }

    /// Does what a judgement says.
    fn go_by(&mut self, id: &str, judgement: &Judgement, now: Timestamp) -> Writes {
        let Some(run) = self.runs.get_mut(id) else { return Vec::new() };
        let why = reasons(judgement);
        match judgement.outcome {
            gates::Outcome::Stopped => self.end(id, Outcome::Stopped, &why, now),
            gates::Outcome::Passed => self.passed(id, &why, now),
            gates::Outcome::Waiting => {
                let approval = run.gates().and_then(|gates| gates.approval.clone()).unwrap_or_default();
                let until = now.checked_add(approval.expires).unwrap_or(Timestamp::MAX);
                run.enter(Stage::Approving { until }, now, why);
                vec![run.put_state()]
            }
        }
    }

    fn passed(&mut self, id: &str, why: &str, now: Timestamp) -> Writes {
        let Some(run) = self.runs.get_mut(id) else { return Vec::new() };
        if !run.plan.applied.spec.promotion.automatic {
            return self.end(id, Outcome::Kept, "it passed; a person may promote it", now);
        }
        if run.plan.kind == Kind::Backfill {
            let why = "it passed; a person may promote it, since it is of the past";
            return self.end(id, Outcome::Kept, why, now);
        }
        let champion = self.models.get(run.model()).and_then(|model| model.alias(CHAMPION));
        if champion != run.state.champion && run.state.judged < MOST_JUDGED {
            return self.begin_judging(id, "the champion is another one by now", now);
        }
        run.enter(Stage::Promoting(Call { attempt: 1, at: now }), now, why);
        let has_hook = run.plan.applied.spec.promotion.hook.is_some();
        let mut writes = vec![run.put_state()];
        writes.extend(self.set_promoting(id, true, now));
        if !has_hook {
            writes.extend(self.promote_now(id, now));
        }
        writes
    }

    /// Lets a schedule know whether a run that it counts as at work may still be cut short.
    pub(super) fn set_promoting(&mut self, id: &str, is_promoting: bool, now: Timestamp) -> Writes {
        let Some(run) = self.runs.get(id) else { return Vec::new() };
        let Some(scheduled) = self.schedules.get_mut(&run.plan.schedule) else { return Vec::new() };
        let mut active = scheduled.state.runs.active.iter_mut();
        match active.find(|attempt| attempt.run == run.id && attempt.is_promoting != is_promoting) {
            Some(attempt) => {
                attempt.is_promoting = is_promoting;
                if !is_promoting {
                    // The time that its hook took is not held against it.
                    attempt.at = now;
                }
            }
            None => return Vec::new(),
        }
        vec![scheduled.put_state()]
    }

    pub(super) fn approve(&mut self, id: &str, by: &str, now: Timestamp) -> Result<(Done, Writes), Refusal> {
        let run = self.runs.get_mut(id).ok_or_else(|| Refusal::no_run(id))?;
        let (Stage::Approving { .. }, Some(judgement)) = (&run.state.stage, &run.state.judgement) else {
            let stage = run.state.stage.name();
            return Err(Refusal::state(format!("run {id} is {stage}, nobody has to approve it")));
        };
        let word = Approval { by: by.to_owned(), at: now, model_digest: judgement.candidate.clone() };
        run.state.approvals.push(word);
        let approvals = run.state.approvals.clone();
        let judgement =
            gates::with_approvals(&run.gates().cloned().unwrap_or_default(), judgement, approvals, now);
        run.state.judgement = Some(judgement.clone());
        let (version, model) = (run.state.version, run.model().to_owned());
        let mut writes = vec![run.put_state()];
        if let (Some(version), Some(registry)) = (version, self.models.get_mut(&model)) {
            writes.extend(registry.judge(version, judgement.clone()).unwrap_or_default());
        }
        writes.extend(self.go_by(id, &judgement, now));
        Ok((Done { message: format!("the candidate of run {id} is approved"), ..Done::default() }, writes))
    }
}

/// What stopped or holds a candidate, or that nothing does.
fn reasons(judgement: &Judgement) -> String {
    let of = judgement.verdicts.iter().filter(|verdict| {
        judgement.outcome != gates::Outcome::Passed && verdict.outcome == judgement.outcome
    });
    let reasons: Vec<String> = of.map(|verdict| format!("{}: {}", verdict.gate, verdict.why)).collect();
    if reasons.is_empty() { "it passed all gates".to_owned() } else { reasons.join("; ") }
}

fn model_of(run: &Run, done: JudgeDone, judgement: Judgement) -> Model {
    let made = run.state.made.as_deref();
    let lineage = Lineage {
        job: done.job_toml,
        dataset: made.map(|made| made.digest.clone()).unwrap_or_default(),
        files: made.map(|made| made.read.files).unwrap_or_default(),
        files_digest: made.map(|made| made.read.files_digest.clone()).unwrap_or_default(),
        window: run.state.window.map(|(from, until)| (from.unwrap_or(Timestamp::MIN), until)),
        code: env!("CARGO_PKG_VERSION").to_owned(),
        numerics: done.numerics,
        seed: done.seed,
        parent: run.state.parent,
        run: Some(run.id.to_string()),
    };
    Model {
        model_digest: done.model_digest,
        checkpoint: done.checkpoint,
        checkpoint_digest: done.checkpoint_digest,
        bytes: done.bytes,
        dataset: made.map(|made| made.dataset.clone()).unwrap_or_default(),
        folder: Some(run.folder()),
        lineage,
        metrics: done.metrics,
        cost: Cost { ..run.state.cost },
        judgement: Some(judgement),
    }
}

impl Run {
    /// The number of the task that looks for evidence now.
    pub(super) fn judge_task(&self) -> u32 {
        super::steps::WINDOW_TASK + self.state.judged
    }

    pub(super) fn gates(&self) -> Option<&GatesSpec> {
        self.plan.applied.spec.gates.as_ref()
    }

    /// Where all files of the run are.
    pub(super) fn folder(&self) -> String {
        format!("{}/runs/{}", self.plan.applied.spec.workspace.trim_end_matches('/'), self.name())
    }
}

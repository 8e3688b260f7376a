//! The way of a run up to its candidate: window, dataset, job.

use std::time::Duration;

use jiff::Timestamp;
use muster_proto::control::{WindowDone, WindowEnd, WindowRead};
use muster_proto::ids::JobId;
use muster_proto::schedule::{BeginFrom, DataWindowSpec, WindowKind};
use serde_json::Value;

use super::super::registry::{CHAMPION, PREVIOUS, Registry, VersionNumber};
use super::super::run::{Outcome, Run, Stage};
use super::{Machine, Writes, result_of};

/// The number of the task that makes a run's dataset.
pub(super) const WINDOW_TASK: u32 = 1;

impl Machine {
    /// Sees to the runs whose waiting is over.
    pub(super) fn go_on(&mut self, now: Timestamp) -> Writes {
        let ids: Vec<String> = self.unended().map(|run| run.id.to_string()).collect();
        let mut writes = Vec::new();
        for id in ids {
            let Some(run) = self.runs.get(&id) else { continue };
            match run.state.stage {
                Stage::Waiting { .. } => writes.extend(self.after_wait(&id, now)),
                Stage::Approving { until } if until <= now => {
                    writes.extend(self.end(&id, Outcome::Stopped, "nobody approved it in time", now));
                }
                Stage::Watching { until } if until <= now => writes.extend(self.watched(&id, now)),
                _ => {}
            }
        }
        writes
    }

    /// Begins with the data once late files are there.
    pub(super) fn after_wait(&mut self, id: &str, now: Timestamp) -> Writes {
        let Some(run) = self.runs.get(id) else { return Vec::new() };
        if !matches!(run.state.stage, Stage::Waiting { until } if until <= now) {
            return Vec::new();
        }
        let registry = self.models.get(run.model());
        let champion = registry.and_then(|registry| registry.alias(CHAMPION));
        let parent = registry.and_then(|registry| parent(registry, run.plan.applied.spec.training.from));
        let promoted_until = champion
            .and_then(|champion| registry?.version(champion).ok()?.model.lineage.window)
            .map(|(_, until)| until);
        let Some(window) = window(&run.plan.applied.spec.window, run.plan.logical, promoted_until) else {
            return self.end(id, Outcome::Failed, "its window begins before time does", now);
        };
        let mut writes = Vec::new();
        // What the run begins from must not go meanwhile, nor the datasets in which items are looked for before they are evicted.
        let windows = run.plan.applied.spec.training.evict_after.unwrap_or(0);
        if let (Some(parent), Some(registry)) = (parent, self.models.get_mut(run.model())) {
            for version in ancestors(registry, parent, windows) {
                writes.extend(registry.hold(version, id).unwrap_or_default());
            }
        }
        let checked = self.runs.get(id).map_or(0, |run| self.checked(&run.plan.schedule));
        let Some(run) = self.runs.get_mut(id) else { return writes };
        (run.state.window, run.state.parent, run.state.checked) = (Some(window), parent, checked);
        let (from, until) = window;
        let why = match from {
            Some(from) => format!("the window is {from} to {until}"),
            None => format!("the window is all before {until}"),
        };
        if run.boundaries().is_none() {
            let failed = self.end(id, Outcome::Failed, "its held-out spans begin before time does", now);
            return writes.into_iter().chain(failed).collect();
        }
        run.enter(Stage::Preparing, now, why);
        writes.push(run.put_state());
        writes
    }

    pub(super) fn prepared(
        &mut self,
        id: &str,
        number: u32,
        end: Result<Value, String>,
        now: Timestamp,
    ) -> Writes {
        let Some(run) = self.runs.get_mut(id) else { return Vec::new() };
        if number != WINDOW_TASK {
            return Vec::new();
        }
        let end: WindowEnd = match result_of(end, ("window", "dataset")) {
            Ok(end) => end,
            Err(why) => return self.end(id, Outcome::Failed, &why, now),
        };
        let problem = match end {
            WindowEnd::Empty(read) => {
                let problem = match read.files {
                    0 => "there is no file yet".to_owned(),
                    files => format!("none of {files} files has a row in the window"),
                };
                run.state.read = Some(read);
                Some(problem)
            }
            WindowEnd::Made(made) => {
                let until = run.state.window.map(|(_, until)| until);
                let problem = unfit(&run.plan.applied.spec.window, &made, until);
                run.state.read = Some(made.read.clone());
                // Only what is fit is pinned.
                run.state.made = problem.is_none().then_some(made);
                problem
            }
        };
        if let Some(problem) = problem {
            return self.end(id, Outcome::Failed, &problem, now);
        }
        let why = run
            .state
            .made
            .as_ref()
            .map(|made| format!("{} rows of {} sequences, {} items", made.rows, made.users, made.items));
        run.enter(Stage::Training, now, why.unwrap_or_default());
        vec![run.put_state()]
    }

    pub(super) fn submitted(&mut self, id: &str, job: JobId, _now: Timestamp) -> Writes {
        let Some(run) = self.runs.get_mut(id) else { return Vec::new() };
        if run.state.job == Some(job) {
            return Vec::new();
        }
        run.state.job = Some(job);
        vec![run.put_state()]
    }

    pub(super) fn trained(
        &mut self,
        id: &str,
        error: Option<String>,
        worker_seconds: f64,
        now: Timestamp,
    ) -> Writes {
        let Some(run) = self.runs.get_mut(id) else { return Vec::new() };
        run.state.cost.worker_seconds += worker_seconds;
        match error {
            Some(error) => self.end(id, Outcome::Failed, &format!("no model: {error}"), now),
            None => self.begin_judging(id, "the job is trained", now),
        }
    }

    /// Has the candidate compared with the champion of now.
    pub(super) fn begin_judging(&mut self, id: &str, why: &str, now: Timestamp) -> Writes {
        let Some(run) = self.runs.get_mut(id) else { return Vec::new() };
        let mut writes = Vec::new();
        let registry = self.models.get_mut(run.model());
        run.state.champion = registry.as_ref().and_then(|registry| registry.alias(CHAMPION));
        run.state.judged += 1;
        if let (Some(champion), Some(registry)) = (run.state.champion, registry) {
            writes.extend(registry.hold(champion, id).unwrap_or_default());
        }
        run.enter(Stage::Judging, now, why);
        writes.push(run.put_state());
        writes.extend(self.set_promoting(id, false, now));
        writes
    }
}

/// The version that a run begins from, if there is one.
fn parent(registry: &Registry, from: BeginFrom) -> Option<VersionNumber> {
    match from {
        BeginFrom::Champion => registry.alias(CHAMPION),
        BeginFrom::Previous => registry.alias(PREVIOUS),
        BeginFrom::Latest => registry.versions().next_back().map(|version| version.number),
        BeginFrom::Initial => None,
    }
}

/// A version and those before it that it came of, at most so many.
fn ancestors(registry: &Registry, version: VersionNumber, before: u32) -> Vec<VersionNumber> {
    let parent = |version: &VersionNumber| registry.version(*version).ok()?.model.lineage.parent;
    std::iter::successors(Some(version), parent).take(before as usize + 1).collect()
}

/// The window of a run; none where it would begin before calendars do.
fn window(
    spec: &DataWindowSpec,
    logical: Timestamp,
    promoted_until: Option<Timestamp>,
) -> Option<(Option<Timestamp>, Timestamp)> {
    let until = logical.checked_sub(spec.offset).ok()?;
    let rolling = || until.checked_sub(spec.length).ok();
    Some(match spec.kind {
        WindowKind::Expanding => (None, until),
        WindowKind::Rolling => (Some(rolling()?), until),
        WindowKind::SincePromotion => {
            let from = rolling()?;
            (Some(promoted_until.filter(|end| *end < until).map_or(from, |end| end.max(from))), until)
        }
    })
}

/// Why a window's dataset is not to be trained on; none where it is.
fn unfit(spec: &DataWindowSpec, made: &WindowDone, until: Option<Timestamp>) -> Option<String> {
    let WindowRead { rows_read, rows_rejected, .. } = made.read;
    let rejected = rows_rejected as f64 / rows_read.max(1) as f64;
    if rejected > spec.max_rejected {
        return Some(format!(
            "{rows_rejected} of {rows_read} rows of the new files were rejected, window.max_rejected is {}: they \
             count until a run takes them, so apply the schedule with a larger one if they are as they should be",
            spec.max_rejected
        ));
    }
    if made.rows < spec.min_rows {
        return Some(format!("the window has {} rows, window.min_rows is {}", made.rows, spec.min_rows));
    }
    let (newest, until) = (Timestamp::from_millisecond(made.newest?).ok()?, until?);
    let is_before = |length: Duration| newest.checked_add(length).is_ok_and(|end| end < until);
    if spec.max_staleness.is_some_and(|limit| is_before(limit.0)) {
        return Some(format!(
            "the latest event is of {newest}, more than window.max_staleness before the window's end {until}"
        ));
    }
    // A job of hours, to be judged on nothing, is not begun.
    is_before(spec.test).then(|| {
        format!(
            "the latest event is of {newest}, before window.test begins, which ends with the window at {until}: \
             there is nothing to judge a candidate on"
        )
    })
}

impl Run {
    /// Boundaries of validation and test, in milliseconds since 1970.
    pub(super) fn boundaries(&self) -> Option<(i64, i64)> {
        let (_, until) = self.state.window?;
        let spec = &self.plan.applied.spec.window;
        let test = until.checked_sub(spec.test).ok()?;
        let valid = test.checked_sub(spec.valid).ok()?;
        Some((valid.as_millisecond(), test.as_millisecond()))
    }
}

//! The line between a running job and its agent.
//!
//! The job's thread holds [`Control`], the agent holds [`Remote`]; both look at one shared state. Nothing on the
//! job's side waits for the agent, except for the start. What the job reports is kept in bounded queues.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use muster_proto::control::{PiecesSaved, Progress, RankStage, Restored, StepTiming};
use muster_proto::ids::{Rank, Step};
use tokio::sync::Notify;

use super::timing::Timing;
use crate::train::Laps;

/// Reports that close an evaluation, and saved checkpoints, kept for a coordinator that is away; older ones go.
const KEPT: usize = 256;

/// Abort handles a job may hold at a time.
const MAX_HANDLES: usize = 16;

/// The job was told to stop.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("aborted: {reason}")]
pub struct Aborted {
    /// Why.
    pub reason: String,
}

type AbortHandle = Box<dyn FnOnce(&str) + Send>;

/// Counts what a job does.
type Beats = Box<dyn Fn() -> u64 + Send>;

#[derive(Default)]
struct State {
    restored: Option<Restored>,
    started: bool,
    aborted: Option<String>,
    handles: Vec<AbortHandle>,
    beats: Option<Beats>,
    steps: u64,
    timing: Timing,
    latest: Option<Progress>,
    evaluations: VecDeque<Progress>,
    saved: VecDeque<PiecesSaved>,
    caught_up: Option<(u64, Duration)>,
    yielding: Option<Vec<Rank>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Wakes the job's thread at the start and at an abort.
    changed: Condvar,
    /// Wakes the agent when the job has something to say.
    reported: Notify,
    cancelled: AtomicBool,
    draining: AtomicBool,
    checkpoint: AtomicBool,
}

impl Shared {
    // A panic of the job leaves the state whole: each section below writes single fields.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a job's code sees of its agent.
#[derive(Clone)]
pub struct Control {
    shared: Arc<Shared>,
}

impl Control {
    /// A control without an agent: the start is immediate and reports go nowhere.
    #[must_use]
    pub fn detached() -> Self {
        let (control, remote) = pair();
        remote.start();
        control
    }

    /// Says that this rank is connected and loaded and from where it goes on, and waits until all ranks are.
    ///
    /// # Errors
    /// If the job is aborted before.
    pub fn ready_and_wait_start(&self, restored: Restored) -> Result<(), Aborted> {
        self.ready(restored);
        let mut state = self.shared.lock();
        // Bounded by the agent, which aborts when it has been without a coordinator for too long.
        loop {
            if let Some(reason) = &state.aborted {
                return Err(Aborted { reason: reason.clone() });
            }
            if state.started {
                return Ok(());
            }
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Says that this rank is loaded and from where it goes on. Whoever cannot wait on a thread looks at
    /// [`Self::started`] and [`Self::cancelled`] from then on.
    pub fn ready(&self, restored: Restored) {
        self.shared.lock().restored = Some(restored);
        self.shared.reported.notify_one();
    }

    /// Whether all ranks are ready.
    #[must_use]
    pub fn started(&self) -> bool {
        self.shared.lock().started
    }

    /// Reports how far the job is. The latest report wins, but none with metrics is
    /// passed over.
    pub fn progress(&self, progress: Progress) {
        let mut state = self.shared.lock();
        if progress.metrics.is_empty() {
            // Goes out with the agent's next pulse: steps may be far more frequent than anybody reads.
            state.latest = Some(progress);
            return;
        }
        // What was before the evaluation is told by it.
        state.latest = None;
        push_bounded(&mut state.evaluations, progress);
        drop(state);
        self.shared.reported.notify_one();
    }

    /// Reports a step and this rank's own time in it; goes out with the next heartbeat, as a mean over the steps since the
    /// last one.
    pub fn stepped(&self, step: Step, own: Duration) {
        let mut state = self.shared.lock();
        state.timing.add(step, own);
        state.steps += 1;
    }

    /// Reports where the time of a step went, before the step itself; goes out with it.
    pub fn spent(&self, laps: &Laps) {
        self.shared.lock().timing.spent(laps);
    }

    /// Reports that this rank's share of a checkpoint is durable.
    pub fn pieces_saved(&self, saved: PiecesSaved) {
        push_bounded(&mut self.shared.lock().saved, saved);
        self.shared.reported.notify_one();
    }

    /// Reports that what an earlier generation had reached is reached again: steps made a second time, and the time
    /// that took.
    pub fn caught_up(&self, steps_redone: u64, time: Duration) {
        self.shared.lock().caught_up = Some((steps_redone, time));
        self.shared.reported.notify_one();
    }

    /// Whether the job was told to stop at once.
    #[must_use]
    pub fn cancelled(&self) -> bool {
        self.shared.cancelled.load(Ordering::Acquire)
    }

    /// Has `handle` called with the reason when the job is aborted; at once if it already is.
    ///
    /// # Panics
    /// If the job holds more than 16 handles.
    pub fn on_abort(&self, handle: AbortHandle) {
        let mut state = self.shared.lock();
        if let Some(reason) = state.aborted.clone() {
            drop(state);
            return handle(&reason);
        }
        assert!(state.handles.len() < MAX_HANDLES, "a job registers at most {MAX_HANDLES} abort handles");
        state.handles.push(handle);
    }

    /// Has the agent read from `beats` that the job lives, beside its steps: the agent ends the process of a job that was
    /// begun and then does nothing for long.
    pub fn on_watch(&self, beats: Beats) {
        self.shared.lock().beats = Some(beats);
    }

    /// Whether a checkpoint was asked for since the last call. Ranks see it at different steps: agree first.
    #[must_use]
    pub fn checkpoint_requested(&self) -> bool {
        self.shared.checkpoint.swap(false, Ordering::AcqRel)
    }

    /// Whether the job should end in order: finish the step, save, and return early. Ranks see it at different
    /// steps: agree first.
    #[must_use]
    pub fn drain_requested(&self) -> bool {
        self.shared.draining.load(Ordering::Acquire)
    }

    /// Whether the job should stop after a step for another generation, with its pieces in memory, and then the ranks
    /// whose workers leave. Ranks see it at different steps: agree first.
    #[must_use]
    pub fn yield_requested(&self) -> Option<Vec<Rank>> {
        self.shared.lock().yielding.clone()
    }
}

/// What an agent sees of its job.
pub(super) struct Remote {
    shared: Arc<Shared>,
}

/// What a job had to say since it was last asked.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Reports {
    pub(super) progress: Vec<Progress>,
    pub(super) saved: Vec<PiecesSaved>,
    pub(super) caught_up: Option<(u64, Duration)>,
}

/// Makes both ends.
pub(super) fn pair() -> (Control, Remote) {
    let shared = Arc::<Shared>::default();
    (Control { shared: Arc::clone(&shared) }, Remote { shared })
}

impl Remote {
    /// Lets the job begin.
    pub(super) fn start(&self) {
        self.shared.lock().started = true;
        self.shared.changed.notify_all();
    }

    /// Stops the job: its flag, its waits and its collectives.
    pub(super) fn abort(&self, reason: &str) {
        let mut state = self.shared.lock();
        if state.aborted.is_some() {
            return;
        }
        state.aborted = Some(reason.to_owned());
        let handles = std::mem::take(&mut state.handles);
        drop(state);
        self.shared.cancelled.store(true, Ordering::Release);
        self.shared.changed.notify_all();
        for handle in handles {
            handle(reason);
        }
    }

    pub(super) fn request_checkpoint(&self) {
        self.shared.checkpoint.store(true, Ordering::Release);
    }

    pub(super) fn request_drain(&self) {
        self.shared.draining.store(true, Ordering::Release);
    }

    pub(super) fn request_yield(&self, leaving: Vec<Rank>) {
        self.shared.lock().yielding = Some(leaving);
    }

    /// From where the rank goes on, once it is ready.
    pub(super) fn restored(&self) -> Option<Restored> {
        self.shared.lock().restored.clone()
    }

    pub(super) fn stage(&self) -> RankStage {
        let state = self.shared.lock();
        match () {
            () if state.aborted.is_some() => RankStage::Stopping,
            () if state.started => RankStage::Training,
            () if state.restored.is_some() => RankStage::Ready,
            () => RankStage::Loading,
        }
    }

    /// How much the job has done, where it should be doing something.
    pub(super) fn beats(&self) -> Option<u64> {
        let state = self.shared.lock();
        let works = state.started && state.aborted.is_none();
        works.then(|| state.steps + state.beats.as_ref().map_or(0, |beats| beats()))
    }

    pub(super) fn timing(&self) -> Option<StepTiming> {
        self.shared.lock().timing.tell()
    }

    /// Takes what the job has said, oldest first.
    pub(super) fn take_reports(&self) -> Reports {
        let mut state = self.shared.lock();
        let mut progress: Vec<Progress> = state.evaluations.drain(..).collect();
        progress.extend(state.latest.take());
        let (saved, caught_up) = (state.saved.drain(..).collect(), state.caught_up.take());
        Reports { progress, saved, caught_up }
    }

    /// Waits until the job has something to say. Cancel safe.
    pub(super) async fn reported(&self) {
        self.shared.reported.notified().await;
    }
}

fn push_bounded<T>(queue: &mut VecDeque<T>, item: T) {
    if queue.len() == KEPT {
        queue.pop_front();
    }
    queue.push_back(item);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::mpsc;

    use super::*;

    fn at(step: u64, evaluated: bool) -> Progress {
        let metrics = if evaluated { BTreeMap::from([("HR@10".to_owned(), 0.1)]) } else { BTreeMap::new() };
        Progress { step: Step(step), metrics, ..Progress::default() }
    }

    #[test]
    fn only_the_latest_progress_is_kept_but_every_evaluation_is() {
        let (control, remote) = pair();
        for (step, evaluated) in [(1, false), (2, true), (3, false), (4, true), (5, false), (6, false)] {
            control.progress(at(step, evaluated));
        }
        let steps: Vec<u64> = remote.take_reports().progress.iter().map(|progress| progress.step.0).collect();
        assert_eq!(steps, [2, 4, 6]);
        assert_eq!(remote.take_reports(), Reports::default());
    }

    #[test]
    fn evaluations_for_a_coordinator_that_is_away_are_bounded() {
        let (control, remote) = pair();
        (0..1000).for_each(|step| control.progress(at(step, true)));
        let kept = remote.take_reports().progress;
        assert_eq!(kept.len(), KEPT);
        assert_eq!(kept.last().unwrap().step, Step(999));
    }

    #[test]
    fn an_abort_ends_the_wait_for_the_start_and_calls_each_handle_once() {
        let (control, remote) = pair();
        let (called, calls) = mpsc::channel();
        for _ in 0..2 {
            let called = called.clone();
            control.on_abort(Box::new(move |reason| called.send(reason.to_owned()).unwrap()));
        }
        let waiting = std::thread::spawn({
            let control = control.clone();
            move || control.ready_and_wait_start(Restored::start())
        });
        remote.abort("worker-2 was lost");
        remote.abort("again");
        assert_eq!(waiting.join().unwrap().unwrap_err().to_string(), "aborted: worker-2 was lost");
        assert!(control.cancelled());
        control.on_abort(Box::new(move |reason| called.send(format!("late: {reason}")).unwrap()));
        let calls: Vec<String> = calls.into_iter().collect();
        assert_eq!(calls, ["worker-2 was lost", "worker-2 was lost", "late: worker-2 was lost"]);
    }

    #[test]
    fn a_checkpoint_is_asked_for_once_and_a_drain_stays() {
        let (control, remote) = pair();
        remote.request_checkpoint();
        remote.request_drain();
        assert!(control.checkpoint_requested());
        assert!(!control.checkpoint_requested());
        assert!(control.drain_requested());
        assert!(control.drain_requested());
    }

    #[test]
    fn a_detached_control_starts_at_once() {
        assert_eq!(Control::detached().ready_and_wait_start(Restored::start()), Ok(()));
    }
}

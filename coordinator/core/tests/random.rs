//! Random sequences of events: whatever happens, in whatever order, the core's rules hold after every step.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod ops;
mod placed;

use std::collections::BTreeMap;
use std::time::Duration;

use muster_core::pool::Policy;
use muster_core::{Action, Answer, Config, Core, Event, RequestId, SessionId, Time, Write};
use muster_proto::control::{
    CancelMode, Capabilities, Class, DeviceKind, Directive, Failure, Hello, JobPhase, PiecesSaved, Prepare,
    PrepareUnit, Progress, Queueing, RankStage, RankState, Report, Restored, RestoredFrom, Submission,
    TaskEnd, TaskProgress, TaskStage, TaskWork, Unit,
};
use muster_proto::fence::{Fence, TaskClaim};
use muster_proto::ids::{Generation, Incarnation, JobId, Rank, Step, TaskId, TaskOwner, WorkerId, WorldSize};
use ops::{Kind, Op, ops};
use proptest::prelude::*;

fn config() -> Config {
    let pool = Policy { quotas: [("small".to_owned(), 1)].into(), ..Policy::default() };
    Config { max_workers: 3, max_jobs: 3, max_ended_jobs: 2, max_tasks: 5, pool, ..Config::default() }
}

/// A worker as it sees itself.
#[derive(Debug, Clone, Default)]
struct Worker {
    id: WorkerId,
    incarnation: Incarnation,
    session: Option<SessionId>,
    fence: Option<Fence>,
    /// What it said with its last heartbeat that it runs, right or wrong: it is waited for until it says that this has
    /// ended, which frees it for other jobs.
    told: Option<Fence>,
    claim: Option<TaskClaim>,
}

/// The core among its surroundings, and what was ever said.
struct World {
    core: Core,
    now: Time,
    /// How long the coordinators before this one lived.
    earlier: Duration,
    store: BTreeMap<String, Vec<u8>>,
    workers: BTreeMap<usize, Worker>,
    /// Whose session is whose, also of sessions that were refused.
    sessions: BTreeMap<SessionId, usize>,
    next_id: u64,
    /// Reports that came at the same moment as what comes next.
    pending: Vec<Event>,
    /// Who was ever told to take a rank: never two for one generation of one job.
    writers: BTreeMap<(JobId, Generation, Rank), (WorkerId, Incarnation)>,
    generations: BTreeMap<JobId, Generation>,
    /// To whom each attempt at a task was given, since its owner last had none.
    attempts: BTreeMap<(TaskId, u32), (WorkerId, Incarnation)>,
}

impl World {
    fn new() -> Self {
        Self {
            core: Core::restore(Time::default(), config(), [1; 32], []).unwrap(),
            now: Time::default(),
            earlier: Duration::ZERO,
            store: BTreeMap::new(),
            workers: BTreeMap::new(),
            sessions: BTreeMap::new(),
            next_id: 0,
            pending: Vec::new(),
            writers: BTreeMap::new(),
            generations: BTreeMap::new(),
            attempts: BTreeMap::new(),
        }
    }

    fn apply(&mut self, op: &Op) {
        self.next_id += 1;
        let request = RequestId(self.next_id);
        // Tasks that were forgotten may be made again, and then begin with the first attempt.
        let core = &self.core;
        self.attempts.retain(|(task, _), _| !core.tasks(task.owner, &[task.number]).is_empty());
        let event = match *op {
            Op::Register { name } => Event::Register { request, capabilities: capabilities(name) },
            Op::Open { name, older, running } => {
                let session = SessionId(self.next_id);
                let Some(worker) = self.workers.get_mut(&name) else { return };
                self.sessions.insert(session, name);
                if !older {
                    worker.session = Some(session);
                }
                let incarnation = Incarnation(worker.incarnation.0 - u64::from(older));
                let running = worker.fence.filter(|_| running);
                Event::SessionOpened { session, hello: Hello { worker: worker.id, incarnation, running } }
            }
            Op::Close { name } => {
                let Some(session) = self.workers.get_mut(&name).and_then(|worker| worker.session.take())
                else {
                    return;
                };
                Event::SessionClosed { session }
            }
            Op::Report { name, kind, claim, later } => return self.report(name, kind, claim, later),
            Op::Submit { world_size, class } => {
                Event::Submit { request, submission: Box::new(submission(world_size, class)) }
            }
            Op::Cancel { job, drain } => {
                let mode = if drain { CancelMode::Drain } else { CancelMode::Abort };
                Event::Cancel { request, job: JobId(job), mode }
            }
            Op::Checkpoint { job } => Event::Checkpoint { request, job: JobId(job) },
            Op::Scale { job, workers } => Event::Scale { request, job: JobId(job), workers },
            Op::Cordon { worker, cordoned, drain } => {
                Event::Cordon { request, worker: WorkerId(worker), cordoned, drain }
            }
            Op::Create { owner, numbers } => {
                let unit = |number| PrepareUnit { folder: "f".into(), unit: Unit::Share(number) };
                let tasks = (0..numbers).map(|number| (number, TaskWork::Prepare(unit(number)))).collect();
                Event::CreateTasks { request, owner: TaskOwner(owner), tasks }
            }
            Op::Hold { owner } => Event::HoldTasks { request, owner: TaskOwner(owner) },
            Op::Release { owner } => Event::ReleaseTasks { request, owner: TaskOwner(owner) },
            Op::Task { name, ref end, claim } => return self.task(name, end.clone(), claim),
            Op::Advance { millis } => return self.advance(Duration::from_millis(millis)),
            Op::Dismiss => Event::Dismiss { reason: "test".into() },
            Op::Restart => return self.restart(),
        };
        let actions = self.step(event);
        let known = actions.iter().find_map(|action| match action {
            Action::Reply { answer: Ok(Answer::Registered(known)), .. } => Some(known),
            _ => None,
        });
        if let (Op::Register { name }, Some(known)) = (op, known) {
            let worker = Worker { id: known.worker, incarnation: known.incarnation, ..Worker::default() };
            self.workers.insert(*name, worker);
        }
    }

    fn report(&mut self, name: usize, kind: Kind, claim: [u64; 3], later: bool) {
        let [job, generation, incarnation] = claim;
        let Some(Worker { session: Some(session), fence: Some(fence), .. }) = self.workers.get(&name) else {
            return;
        };
        let claimed = Fence {
            job: JobId(fence.job.0.wrapping_add(job)),
            generation: Generation(fence.generation.0.wrapping_add(generation)),
            incarnation: Incarnation(fence.incarnation.0.wrapping_add(incarnation)),
        };
        let (session, honest) = (*session, claimed == *fence);
        if let (Kind::Beat { running: true }, Some(worker)) = (kind, self.workers.get_mut(&name)) {
            worker.told = Some(claimed);
        }
        let told = self.workers[&name].told == Some(claimed);
        let event = Event::Reported { session, report: report(kind, claimed) };
        if later {
            return self.pending.push(event);
        }
        let alone = self.pending.is_empty();
        let actions = self.step(event);
        if alone && !honest && !told && !matches!(kind, Kind::Beat { .. }) {
            let changed = |action: &&Action| matches!(action, Action::Persist(_) | Action::Publish { .. });
            assert_eq!(
                actions.iter().find(changed),
                None,
                "{claimed} was taken for {:?}",
                self.workers[&name]
            );
        }
    }

    fn task(&mut self, name: usize, end: Option<TaskEnd>, [number, attempt, incarnation]: [u32; 3]) {
        let Some(Worker { session: Some(session), claim: Some(held), .. }) = self.workers.get(&name) else {
            return;
        };
        let task = TaskId { number: held.task.number.wrapping_add(number), ..held.task };
        let attempt = held.attempt.wrapping_add(attempt);
        let incarnation = Incarnation(held.incarnation.0.wrapping_add(incarnation.into()));
        let claim = TaskClaim { task, attempt, incarnation };
        let (session, is_held) = (*session, claim == *held);
        let report = match end {
            None => Report::TaskRunning { claim, progress: TaskProgress { done: 1, of: 2 } },
            Some(end) => Report::TaskEnded { claim, end },
        };
        let before = self.core.tasks(task.owner, &[0, 1, 2, 3]);
        let alone = self.pending.is_empty();
        self.step(Event::Reported { session, report });
        if alone && !is_held {
            assert_eq!(self.core.tasks(task.owner, &[0, 1, 2, 3]), before, "{claim} was taken");
        }
    }

    fn advance(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(deadline) = self.core.next_deadline().filter(|deadline| *deadline <= end) {
            self.now = self.now.max(deadline);
            self.step(Event::Tick);
        }
        self.now = end;
    }

    /// The coordinator dies; what it knew and did not write is gone.
    fn restart(&mut self) {
        self.earlier += self.now.0;
        self.now = Time::default();
        self.pending.clear();
        self.core = self.restored();
        self.core.check().unwrap();
        self.workers.values_mut().for_each(|worker| worker.session = None);
    }

    fn restored(&self) -> Core {
        Core::restore(self.now, config(), [2; 32], self.store.clone()).unwrap()
    }

    fn step(&mut self, event: Event) -> Vec<Action> {
        let mut events = std::mem::take(&mut self.pending);
        events.push(event);
        let actions = self.core.step_all(self.now, events);
        self.core.check().unwrap();
        for action in &actions {
            match action {
                Action::Persist(writes) => self.persist(writes),
                Action::Send { session, directive: Directive::Prepare(prepare) } => {
                    self.prepared(*session, prepare);
                }
                Action::Send { session, directive: Directive::RunTask { claim, .. } } => {
                    self.given(*session, *claim);
                }
                _ => {}
            }
        }
        actions
    }

    fn persist(&mut self, writes: &[Write]) {
        for write in writes.iter().cloned() {
            match write {
                Write::Put { key, value } => self.store.insert(key, value),
                Write::Delete { key } => self.store.remove(&key),
            };
        }
    }

    fn given(&mut self, session: SessionId, claim: TaskClaim) {
        let worker = self.workers.get_mut(&self.sessions[&session]).unwrap();
        assert_eq!(worker.incarnation, claim.incarnation, "a task is given to whom it is told");
        worker.claim = Some(claim);
        let holder = (worker.id, claim.incarnation);
        let before = self.attempts.insert((claim.task, claim.attempt), holder);
        assert!(before.is_none_or(|before| before == holder), "{claim} was given to two workers");
        // Whoever takes over from the store knows of this attempt, or that it was the last.
        let TaskId { owner, number } = claim.task;
        if let [now] = &self.core.tasks(owner, &[number])[..] {
            let durable = self.restored().tasks(owner, &[number]);
            assert!(
                durable[0].attempt >= claim.attempt.min(now.attempt),
                "{claim} was told before it was durable"
            );
        }
    }

    fn prepared(&mut self, session: SessionId, prepare: &Prepare) {
        placed::assert_placed(&prepare.cohort);
        let Fence { job, generation, .. } = prepare.fence;
        let worker = self.workers.get_mut(&self.sessions[&session]).unwrap();
        worker.fence = Some(prepare.fence);
        let writer = (worker.id, prepare.fence.incarnation);
        let before = self.writers.insert((job, generation, prepare.rank), writer);
        assert!(before.is_none_or(|before| before == writer), "rank {} has two writers", prepare.rank);
        let last = self.generations.insert(job, generation);
        assert!(last.is_none_or(|last| last <= generation), "{job} went back from generation {last:?}");
        // Whoever takes over from the store knows of this generation.
        match self.restored().job(job, self.now) {
            Some(durable) => {
                assert!(durable.generation >= generation, "{generation} was told before it was durable");
            }
            // What came at the same moment may have ended it, and others that ended may have had it forgotten.
            None => assert_eq!(self.core.job(job, self.now), None, "a job that is prepared is durable"),
        }
    }
}

fn capabilities(name: usize) -> Capabilities {
    Capabilities {
        name: format!("worker {name}"),
        host: placed::host(name).to_owned(),
        cpu_threads: 1,
        memory_bytes: 1 << 30,
        device: DeviceKind::Cpu,
        data_plane_address: format!("host:{name}"),
        numerics: if name == 0 { "other".into() } else { "same".into() },
        muster_version: String::new(),
        gpu: None,
    }
}

fn submission(world_size: u32, class: Class) -> Submission {
    Submission {
        name: "job".into(),
        spec_toml: "seed = 1".into(),
        dataset_dir: "data".into(),
        run_dir: "run".into(),
        world_size: WorldSize(world_size),
        micro_batches: 4,
        tables: placed::tables(world_size),
        reproducible: world_size != 2,
        device: (world_size > 1).then_some(DeviceKind::Cpu),
        numerics: None,
        min_workers: 1,
        // A scheduled job may be shrunk; quotas bind one team.
        queueing: Queueing {
            class,
            team: if world_size < 3 { "small".into() } else { String::new() },
            start_workers: (class == Class::Scheduled).then_some(1),
        },
        forecast: None,
    }
}

fn restored() -> Restored {
    let from = RestoredFrom::Checkpoint("manifest".into());
    Restored { step: Step(2), from, connect: Duration::ZERO, load: Duration::ZERO }
}

fn report(kind: Kind, fence: Fence) -> Report {
    match kind {
        Kind::Beat { running } => {
            let running = running.then_some(RankState { fence, stage: RankStage::Training, timing: None });
            Report::Heartbeat { incarnation: fence.incarnation, running }
        }
        Kind::Ready => Report::JobReady { fence, restored: restored() },
        Kind::CatchUp => Report::CaughtUp { fence, steps_redone: 1, recompute: Duration::ZERO },
        Kind::Yield => Report::Yielded { fence, step: Step(3) },
        Kind::Progress { evaluated } => {
            let metrics = evaluated.then(|| ("loss".to_owned(), f64::NAN)).into_iter().collect();
            Report::Progress { fence, progress: Progress { metrics, ..Progress::default() } }
        }
        Kind::Saved { step, manifest } => {
            let manifest = manifest.then(|| "manifest".to_owned());
            Report::PiecesSaved {
                fence,
                saved: PiecesSaved { step: Step(step), pieces: 1, bytes: 1, manifest },
            }
        }
        Kind::Finish => Report::Finished { fence, summary: serde_json::json!({}) },
        Kind::Fail { cause } => {
            Report::Failed { fence, failure: Failure { cause, message: "test".into(), peer: Some(Rank(0)) } }
        }
    }
}

proptest! {
    // A million events, on average.
    #![proptest_config(ProptestConfig { cases: 4000, max_shrink_iters: 100_000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_rules_hold_and_silence_ends_every_job_that_began(
        ops in prop::collection::vec(ops(), 0..500),
    ) {
        let mut world = World::new();
        ops.iter().for_each(|op| world.apply(op));
        // Everybody falls silent: no rank is held for ever.
        world.advance(Duration::from_secs(30));
        for job in world.core.jobs(world.now) {
            prop_assert!(job.phase.is_ended() || job.phase == JobPhase::Gathering, "{job:?}");
            prop_assert!(job.spent.total() <= world.earlier + world.now.0, "time was counted twice: {job:?}");
        }
        prop_assert!(world.core.workers().is_empty());
        // Nor is a task kept for an owner that is silent.
        world.advance(Duration::from_secs(60));
        prop_assert!((0..3).all(|owner| world.core.tasks(TaskOwner(owner), &[0, 1, 2, 3]).is_empty()));
        prop_assert_eq!(world.core.next_deadline(), None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn a_coordinator_that_takes_over_knows_the_jobs_that_were_told_of(ops in prop::collection::vec(ops(), 0..120)) {
        let mut world = World::new();
        ops.iter().for_each(|op| world.apply(op));
        let known = |core: &Core| -> Vec<_> {
            core.jobs(Time::default()).into_iter().map(|job| (job.job, job.phase, job.generation, job.workers)).collect()
        };
        prop_assert_eq!(known(&world.restored()), known(&world.core));
        let tasks = |core: &Core| -> Vec<_> {
            let of = |owner| core.tasks(TaskOwner(owner), &[0, 1, 2, 3]);
            let known = (0..3).flat_map(of).map(|task| match task.stage {
                TaskStage::Given { worker, .. } => (task.number, task.attempt, Some(worker), None),
                stage => (task.number, task.attempt, None, Some(stage)),
            });
            known.collect()
        };
        prop_assert_eq!(tasks(&world.restored()), tasks(&world.core));
    }

    #[test]
    fn the_same_events_have_the_same_answers(ops in prop::collection::vec(ops(), 0..60)) {
        let (mut one, mut other) = (World::new(), World::new());
        for op in &ops {
            one.apply(op);
            other.apply(op);
            prop_assert_eq!(&one.store, &other.store);
        }
        // As text, for a metric that is not a number is not equal to itself.
        let told = |world: &World| format!("{:?} {:?}", world.core.jobs(world.now), world.core.workers());
        prop_assert_eq!(told(&one), told(&other));
    }
}

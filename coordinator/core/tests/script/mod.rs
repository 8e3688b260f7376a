//! A core, a store and workers by name, driven by commands in words.

mod print;
mod tasks;

use std::collections::BTreeMap;
use std::time::Duration;

use muster_core::pool::Policy;
use muster_core::{Action, Answer, Config, Core, Event, RequestId, SessionId, Time, Write};
use muster_proto::control::{
    CancelMode, Capabilities, Class, DeviceKind, Directive, Failure, FailureCause, Hello, PiecesSaved,
    Progress, Queueing, RankStage, RankState, Report, Restored, RestoredFrom, Submission,
};
use muster_proto::fence::{Fence, TaskClaim};
use muster_proto::ids::{Generation, Incarnation, JobId, Rank, Step, WorkerId, WorldSize};
use muster_proto::job::tables::block_name;
use muster_proto::sharding::{ColumnBlock, TableDecl};

/// A worker as the script knows it.
#[derive(Default, Clone)]
struct Worker {
    id: WorkerId,
    incarnation: Incarnation,
    session: Option<SessionId>,
    fence: Option<Fence>,
    claim: Option<TaskClaim>,
}

/// Everything that a script drives.
pub(crate) struct World {
    core: Core,
    now: Time,
    store: BTreeMap<String, Vec<u8>>,
    workers: BTreeMap<String, Worker>,
    next_id: u64,
}

fn config() -> Config {
    let pool = Policy { quotas: [("small".to_owned(), 1)].into(), ..Policy::default() };
    Config { max_workers: 8, max_jobs: 3, max_ended_jobs: 2, max_tasks: 12, pool, ..Config::default() }
}

impl Default for World {
    fn default() -> Self {
        let core = Core::restore(Time::default(), config(), [7; 32], []).unwrap();
        let (store, workers) = Default::default();
        Self { core, now: Time::default(), store, workers, next_id: 0 }
    }
}

/// The words of a command that have the form `name=value`.
struct Args<'a>(Vec<&'a str>);

impl<'a> Args<'a> {
    fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.get(name).map(|value| value.parse().unwrap())
    }

    fn has(&self, word: &str) -> bool {
        self.0.contains(&word)
    }
}

impl World {
    /// Carries one command out; the lines that tell what the core wants done.
    pub(crate) fn command(&mut self, line: &str) -> Vec<String> {
        let mut words = line.split_whitespace();
        let (verb, subject) = (words.next().unwrap(), words.next().unwrap_or_default());
        let args = Args(words.collect());
        match verb {
            "advance" => return self.advance(subject, &args),
            "stall" => self.now = self.now + seconds(subject),
            "restart" => return self.restart(),
            "jobs" => return self.core.jobs(self.now).iter().map(print::job).collect(),
            "workers" => return self.core.workers().iter().map(print::worker).collect(),
            "tasks" => return tasks::told(&self.core, subject, &args),
            "events" => {
                let events =
                    self.core.events_after(subject.parse().unwrap(), args.number("after").unwrap_or(0));
                return events.unwrap().iter().map(print::event).collect();
            }
            _ => {}
        }
        let event = self.event(verb, subject, &args);
        let actions = self.step(event);
        let registered = actions.iter().find_map(|action| match action {
            Action::Reply { answer: Ok(Answer::Registered(registration)), .. } => Some(registration),
            _ => None,
        });
        if let Some(registration) = registered {
            let (id, incarnation) = (registration.worker, registration.incarnation);
            self.workers.insert(subject.to_owned(), Worker { id, incarnation, ..Worker::default() });
        }
        self.print(&actions)
    }

    fn event(&mut self, verb: &str, subject: &str, args: &Args<'_>) -> Event {
        self.next_id += 1;
        let request = RequestId(self.next_id);
        match verb {
            "tick" | "stall" => Event::Tick,
            "register" => Event::Register { request, capabilities: capabilities(subject, args) },
            "submit" => Event::Submit { request, submission: Box::new(submission(subject, args)) },
            "cancel" => {
                let mode = if args.has("drain") { CancelMode::Drain } else { CancelMode::Abort };
                Event::Cancel { request, job: subject.parse().unwrap(), mode }
            }
            "checkpoint" => Event::Checkpoint { request, job: subject.parse().unwrap() },
            "scale" => {
                let (job, workers) = (subject.parse().unwrap(), args.number("to").unwrap() as u32);
                Event::Scale { request, job, workers }
            }
            "cordon" | "uncordon" | "drain" => {
                let worker = self.workers[subject].id;
                Event::Cordon { request, worker, cordoned: verb != "uncordon", drain: verb == "drain" }
            }
            "create" | "hold" | "release" => tasks::event(verb, subject, args, request),
            "dismiss" => Event::Dismiss { reason: "the cluster ends".into() },
            "open" => {
                let session = SessionId(self.next_id);
                let worker = self.workers.get_mut(subject).unwrap();
                worker.session = Some(session);
                let incarnation = args.number("incarnation").map_or(worker.incarnation, Incarnation);
                let running = worker.fence.filter(|_| args.has("running"));
                Event::SessionOpened { session, hello: Hello { worker: worker.id, incarnation, running } }
            }
            "close" => {
                let session = self.workers.get_mut(subject).unwrap().session.take().unwrap();
                Event::SessionClosed { session }
            }
            verb => {
                let worker = self.workers.get(subject).unwrap_or_else(|| panic!("no worker {subject}"));
                let session = worker.session.unwrap_or(SessionId(0));
                if verb.starts_with("task-") {
                    return Event::Reported { session, report: tasks::report(verb, worker, args) };
                }
                Event::Reported { session, report: report(verb, worker, args) }
            }
        }
    }

    fn step(&mut self, event: Event) -> Vec<Action> {
        let actions = self.core.step(self.now, event);
        self.core.check().unwrap();
        for action in &actions {
            match action {
                Action::Persist(writes) => self.persist(writes),
                Action::Send { session, directive: Directive::Prepare(prepare) } => {
                    let mut workers = self.workers.values_mut();
                    let worker = workers.find(|worker| worker.session == Some(*session)).unwrap();
                    worker.fence = Some(prepare.fence);
                }
                Action::Send { session, directive: Directive::RunTask { claim, .. } } => {
                    let mut workers = self.workers.values_mut();
                    let worker = workers.find(|worker| worker.session == Some(*session)).unwrap();
                    worker.claim = Some(*claim);
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

    /// Lets time pass, tick by tick, and tells when something came of it. The workers that are named go on sending
    /// heartbeats.
    fn advance(&mut self, span: &str, beating: &Args<'_>) -> Vec<String> {
        let end = self.now + seconds(span);
        let mut lines = Vec::new();
        while let Some(deadline) = self.core.next_deadline().filter(|deadline| *deadline <= end) {
            self.now = self.now.max(deadline);
            let beats: Vec<Event> =
                beating.0.iter().map(|worker| self.event("beat", worker, &Args(vec!["running"]))).collect();
            for event in beats.into_iter().chain([Event::Tick]) {
                let actions = self.step(event);
                if !actions.is_empty() {
                    lines.push(format!("after {:.1}s", self.now.0.as_secs_f64()));
                    lines.extend(self.print(&actions));
                }
            }
        }
        self.now = end;
        lines
    }

    /// The coordinator dies and another one takes over.
    fn restart(&mut self) -> Vec<String> {
        let pairs = self.store.clone();
        self.now = Time::default();
        self.core = Core::restore(self.now, config(), [9; 32], pairs).unwrap();
        self.core.check().unwrap();
        self.workers.values_mut().for_each(|worker| worker.session = None);
        Vec::new()
    }

    fn print(&self, actions: &[Action]) -> Vec<String> {
        let name = |session: SessionId| {
            let mut workers = self.workers.iter();
            let found = workers.find(|(_, worker)| worker.session == Some(session));
            found.map_or_else(|| format!("session {}", session.0), |(name, _)| name.clone())
        };
        actions.iter().map(|action| print::action(action, name)).collect()
    }
}

fn seconds(text: &str) -> Duration {
    Duration::from_secs_f64(text.trim_end_matches('s').parse().unwrap())
}

fn capabilities(name: &str, args: &Args<'_>) -> Capabilities {
    Capabilities {
        name: name.to_owned(),
        host: args.get("host").unwrap_or(name).to_owned(),
        cpu_threads: 2,
        memory_bytes: args.number("memory").unwrap_or(8 << 30),
        device: args.get("device").map_or(DeviceKind::Cpu, |device| device.parse().unwrap()),
        data_plane_address: format!("{name}:9"),
        numerics: args.get("numerics").unwrap_or("avx2").to_owned(),
        muster_version: "0.1.0".into(),
        gpu: None,
    }
}

fn submission(name: &str, args: &Args<'_>) -> Submission {
    let table = TableDecl {
        name: "item".into(),
        rows: 1_000_000,
        dim: 64,
        row_blocks: args.number("row_blocks").unwrap_or(4) as u32,
        bias: false,
        placement: args.get("placement").map(|word| serde_json::from_value(word.into()).unwrap()),
        columns: None,
    };
    let tables = match args.number("column_blocks") {
        Some(blocks) => (0..blocks as u32).map(|block| column_block(&table, block, blocks as u32)).collect(),
        None => vec![table; args.number("tables").unwrap_or(1) as usize],
    };
    Submission {
        name: name.to_owned(),
        spec_toml: args.get("spec").unwrap_or("seed = 1").replace('|', "\n"),
        dataset_dir: "data".into(),
        run_dir: "run".into(),
        world_size: WorldSize(args.number("world").unwrap_or(2) as u32),
        micro_batches: args.number("micro_batches").unwrap_or(8) as u32,
        tables,
        reproducible: !args.has("any-order"),
        device: args.get("device").map(|device| device.parse().unwrap()),
        numerics: args.get("numerics").map(str::to_owned),
        min_workers: args.number("min").unwrap_or(1) as u32,
        forecast: None,
        queueing: Queueing {
            class: args.get("class").map_or(Class::Manual, |class| class.parse().unwrap()),
            team: args.get("team").unwrap_or_default().to_owned(),
            start_workers: args.number("start").map(|start| start as u32),
        },
    }
}

fn column_block(table: &TableDecl, block: u32, blocks: u32) -> TableDecl {
    let width = table.dim / blocks;
    let columns = ColumnBlock { table: table.name.clone(), dim: table.dim, first: block * width };
    let name = block_name(&table.name, block);
    TableDecl { name, dim: width, columns: Some(columns), ..table.clone() }
}

fn report(verb: &str, worker: &Worker, args: &Args<'_>) -> Report {
    let nothing = Fence { job: JobId(0), generation: Generation(0), incarnation: worker.incarnation };
    let mut fence = worker.fence.unwrap_or(nothing);
    fence.job = args.number("job").map_or(fence.job, JobId);
    fence.generation = args.number("generation").map_or(fence.generation, Generation);
    fence.incarnation = args.number("incarnation").map_or(fence.incarnation, Incarnation);
    let step = Step(args.number("step").unwrap_or(1));
    match verb {
        "beat" => {
            let runs = args.has("running") && (worker.fence.is_some() || worker.claim.is_none());
            let running = runs.then_some(RankState { fence, stage: RankStage::Training, timing: None });
            Report::Heartbeat { incarnation: fence.incarnation, running }
        }
        "ready" => {
            let from = match args.get("from") {
                Some("memory") => RestoredFrom::Memory,
                Some(path) => RestoredFrom::Checkpoint(path.to_owned()),
                None => RestoredFrom::Start,
            };
            let (connect, load) = (Duration::from_millis(20), Duration::from_millis(30));
            Report::JobReady { fence, restored: Restored { step, from, connect, load } }
        }
        "yielded" => Report::Yielded { fence, step },
        "caught-up" => {
            let steps_redone = args.number("redone").unwrap_or(0);
            Report::CaughtUp { fence, steps_redone, recompute: Duration::from_millis(100 * steps_redone) }
        }
        "progress" => {
            let metrics = args.get("hr").map(|hr| ("HR@10".to_owned(), hr.parse().unwrap()));
            let progress =
                Progress { step, loss: 0.5, metrics: metrics.into_iter().collect(), ..Progress::default() };
            Report::Progress { fence, progress }
        }
        "saved" => {
            let manifest = args.get("manifest").map(str::to_owned);
            Report::PiecesSaved { fence, saved: PiecesSaved { step, pieces: 2, bytes: 10, manifest } }
        }
        "finish" => {
            Report::Finished { fence, summary: args.get("summary").unwrap_or("null").parse().unwrap() }
        }
        "fail" => {
            let cause = match args.0.first().copied() {
                Some("own") => FailureCause::Own,
                Some("peer") => FailureCause::Peer,
                Some("panic") => FailureCause::Panic,
                _ => FailureCause::Aborted,
            };
            let message = args.get("message").unwrap_or("stopped").replace('_', " ");
            Report::Failed {
                fence,
                failure: Failure { cause, message, peer: args.number("peer").map(|rank| Rank(rank as u32)) },
            }
        }
        other => panic!("`{other}` is not a command"),
    }
}

//! A world around the machine: a store, workers, jobs and hooks that do what a test has planned for each day, and a coordinator
//! that is killed when the test says so.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use muster_core::Write;
use muster_core::retrain::command::{Applied, Command, Question, Request};
use muster_core::retrain::machine::{Happened, HookCall, Machine, PREFIX, Refusal, Wanted};
use muster_core::retrain::registry::{self, Entry};
use muster_core::retrain::view::{Done, FleetView, ModelView, RunView, ScheduleView};
use muster_proto::config;
use muster_proto::control::{Submission, TaskWork, WindowUnit};
use muster_proto::ids::{JobId, TaskOwner, WorldSize};
use muster_proto::schedule::ScheduleSpec;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// What becomes of the run for a day.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Day {
    /// There is no row in its window.
    pub(crate) is_empty: bool,
    /// How long before its window's end the latest row is, in milliseconds.
    pub(crate) late_by: i64,
    /// Rows of the new files that are rejected, of 100.
    pub(crate) rejected: u64,
    /// Its job fails in this many attempts.
    pub(crate) failing_jobs: u32,
    /// Its candidate does not pass.
    pub(crate) is_stopped: bool,
    /// Its candidate waits for a person.
    pub(crate) waits: bool,
    /// Calls of the hook that fail.
    pub(crate) failing_calls: u32,
    /// What is reported of its model.
    pub(crate) clicks: Option<f64>,
}

/// When the coordinator is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kill {
    /// Before this commit, counted from 1, so that it is lost.
    Before(usize),
    /// After it, before anything is done about it.
    After(usize),
}

/// A coordinator was killed, and another one has taken over.
#[derive(Debug)]
pub(crate) struct Killed;

pub(crate) struct World {
    pub(crate) now: Timestamp,
    pub(crate) store: BTreeMap<String, Vec<u8>>,
    pub(crate) machine: Machine,
    pub(crate) kill: Option<Kill>,
    /// Commits so far.
    pub(crate) commits: usize,
    /// What is planned, by day of the month that a run is for.
    pub(crate) days: BTreeMap<i8, Day>,
    /// Jobs by name: number and the day that they are of, and how often each was submitted.
    pub(crate) jobs: BTreeMap<String, (JobId, u32)>,
    /// Calls of hooks that went well, by what they were for.
    pub(crate) calls: BTreeMap<String, u32>,
    /// Tasks that were begun; a second time is no other task.
    pub(crate) tasks: BTreeSet<(TaskOwner, u32)>,
    pub(crate) removed: Vec<String>,
}

pub(crate) const NIGHTLY: &str = "name = \"nightly\"\nmodel = \"shop\"\ndataset = \"d.toml\"\njob = \"j.toml\"\n\
    workspace = \"/shared/shop\"\ncron = \"0 2 * * *\"\n";

pub(crate) fn applied(text: &str) -> Box<Applied> {
    let spec: ScheduleSpec = config::parse(text, "schedule.toml", &[]).unwrap();
    let [dataset_toml, dataset_folder, job_toml] = ["dataset", "/data", "job"].map(str::to_owned);
    Box::new(Applied { spec, dataset_toml, dataset_folder, job_toml })
}

impl World {
    pub(crate) fn new(now: &str) -> Self {
        let (store, days, jobs, calls, tasks, removed) = Default::default();
        let mut machine = Machine::default();
        machine.set_hooks(["deploy".to_owned()]);
        let now = now.parse().unwrap();
        Self { now, store, machine, kill: None, commits: 0, days, jobs, calls, tasks, removed }
    }

    /// With a schedule.
    pub(crate) fn with(now: &str, schedule: &str) -> Self {
        let mut world = Self::new(now);
        world.ask(Command::Apply { schedule: applied(schedule) }).unwrap();
        world
    }

    pub(crate) fn plan(mut self, day: i8, plan: Day) -> Self {
        self.days.insert(day, plan);
        self
    }

    /// Takes over from the store, as another coordinator does.
    pub(crate) fn restore(&mut self) {
        let of = |prefix: &str| {
            let of_prefix = self.store.iter().filter(|(key, _)| key.starts_with(prefix));
            of_prefix.map(|(key, value)| (key.clone(), value.clone())).collect::<Vec<_>>()
        };
        self.machine = Machine::restore(of(PREFIX), of(registry::PREFIX)).unwrap();
        self.machine.set_hooks(["deploy".to_owned()]);
    }

    pub(crate) fn commit(&mut self, writes: Vec<Write>) -> Result<(), Killed> {
        if writes.is_empty() {
            return Ok(());
        }
        self.commits += 1;
        if self.kill == Some(Kill::Before(self.commits)) {
            self.restore();
            return Err(Killed);
        }
        for write in writes {
            match write {
                Write::Put { key, value } => drop(self.store.insert(key, value)),
                Write::Delete { key } => drop(self.store.remove(&key)),
            }
        }
        if self.kill == Some(Kill::After(self.commits)) {
            self.restore();
            return Err(Killed);
        }
        Ok(())
    }

    /// Has a command carried out; a coordinator that is killed over it is asked again.
    #[allow(clippy::needless_pass_by_value, reason = "a test says what is asked where it asks")]
    pub(crate) fn ask(&mut self, command: Command) -> Result<Done, Refusal> {
        loop {
            let request = Request { by: "ana".to_owned(), command: command.clone() };
            let (done, writes) = self.machine.command(request, self.now)?;
            if self.commit(writes).is_ok() {
                return Ok(done);
            }
        }
    }

    pub(crate) fn tell<T: DeserializeOwned>(&self, question: &Question) -> T {
        serde_json::from_value(self.machine.tell(question, self.now).unwrap()).unwrap()
    }

    /// All runs, the first begun first.
    pub(crate) fn runs(&self) -> Vec<RunView> {
        let mut runs: Vec<RunView> = Vec::new();
        loop {
            let after = runs.last().map(|run| (run.transitions[0].at, run.run.clone()));
            let page: Vec<RunView> = self.tell(&Question::Runs { schedule: None, after });
            if page.is_empty() {
                break;
            }
            runs.extend(page);
        }
        runs.sort_by_key(|run| (run.logical, run.attempt));
        runs
    }

    fn run(&self, run: &str) -> RunView {
        self.tell(&Question::Run { run: run.to_owned() })
    }

    pub(crate) fn schedule(&self) -> ScheduleView {
        self.tell(&Question::Schedule { schedule: "nightly".to_owned() })
    }

    pub(crate) fn model(&self) -> ModelView {
        self.tell(&Question::Model { model: "shop".to_owned(), after: None })
    }

    /// What happened to the model, newest first.
    pub(crate) fn history(&self) -> Vec<Entry> {
        self.tell(&Question::History { model: "shop".to_owned(), after: None })
    }

    pub(crate) fn fleet(&self) -> FleetView {
        self.tell(&Question::Fleet)
    }

    /// Lets time pass in steps of half an hour, and all happen that is due.
    pub(crate) fn until(&mut self, end: &str) {
        let end: Timestamp = end.parse().unwrap();
        loop {
            self.settle();
            if self.now >= end {
                return;
            }
            self.now += SignedDuration::from_mins(30);
        }
    }

    /// Does what is wanted until nothing more happens.
    pub(crate) fn settle(&mut self) {
        for _ in 0..200 {
            let before = self.commits;
            // A coordinator that took over looks at everything anew.
            if self.pass().is_ok() && self.commits == before {
                return;
            }
        }
        panic!("it never settles: {:#?}", self.machine.wanted(self.now));
    }

    fn pass(&mut self) -> Result<(), Killed> {
        let writes = self.machine.tick(self.now);
        self.commit(writes)?;
        for wanted in self.machine.wanted(self.now) {
            match wanted {
                Wanted::Task { run, owner, number, work } => {
                    self.tasks.insert((owner, number));
                    let end = Ok(self.work(&work));
                    self.happen(&run, Happened::Task { number, end })?;
                }
                Wanted::Job { run, job, submission } => self.train(&run, job, &submission)?,
                Wanted::Call { run, attempt, call, .. } => {
                    let end = self.call(&call, attempt);
                    self.happen(&run, Happened::Called { attempt, end })?;
                }
                Wanted::Owed { number, attempt, call, .. } => {
                    let end = self.call(&call, attempt);
                    let writes = self.machine.called(number, attempt, end, self.now);
                    self.commit(writes)?;
                }
                Wanted::Clear { run, .. } => self.happen(&run, Happened::Cleared)?,
                Wanted::Remove { number, folder } => {
                    self.removed.push(folder);
                    let writes = self.machine.discarded(number);
                    self.commit(writes)?;
                }
            }
        }
        self.report()
    }

    fn happen(&mut self, run: &str, happened: Happened) -> Result<(), Killed> {
        let writes = self.machine.happened(run, happened, self.now);
        self.commit(writes)
    }

    fn day_of(&self, text: &str) -> Day {
        // A run's name is its schedule's, a dash and its id.
        let run = self.run(text.rsplit('-').next().unwrap());
        let day = run.logical.strftime("%d").to_string().parse().unwrap();
        self.days.get(&day).copied().unwrap_or_default()
    }

    fn work(&self, work: &TaskWork) -> Value {
        match work {
            TaskWork::Window(unit) => self.window(unit),
            TaskWork::Judge(unit) => {
                let day = self.day_of(&unit.run);
                let (outcome, gate) = match (day.is_stopped, day.waits) {
                    (true, _) => ("stopped", "at_least.NDCG@10"),
                    (_, true) => ("waiting", "approval"),
                    _ => ("passed", "relative"),
                };
                let digest = format!("model of {}", unit.run);
                let champion = unit.champion.as_ref().map(|champion| champion.model_digest.clone());
                let verdict =
                    json!({"gate": gate, "outcome": outcome, "why": "so it is planned", "figures": {}});
                json!({
                    "evidence": format!("{}/evidence.json", unit.run),
                    "judgement": {
                        "outcome": outcome, "at": self.now, "candidate": digest, "champion": champion, "users": 10,
                        "verdicts": [verdict],
                    },
                    "model_digest": digest, "checkpoint": format!("{}/best", unit.run_dir),
                    "checkpoint_digest": "c", "bytes": 100, "job_toml": "job", "numerics": "n", "seed": 1,
                    "metrics": {"NDCG@10": 0.25}, "champion_metrics": {}, "cpu_seconds": 2.0,
                })
            }
            TaskWork::Prepare(_) => panic!("runs prepare nothing like this"),
        }
    }

    fn window(&self, unit: &WindowUnit) -> Value {
        let day = self.day_of(&unit.run);
        let read = json!({
            "increments": unit.increments.unwrap_or(7), "files": 7, "new_files": 1, "files_digest": "f",
            "rows_read": 100, "rows_rejected": day.rejected,
        });
        if day.is_empty {
            return json!({"empty": read});
        }
        let submission = Submission {
            name: unit.name.clone(),
            spec_toml: unit.job_toml.clone(),
            dataset_dir: format!("/shared/shop/runs/{}/dataset", unit.run),
            run_dir: format!("/shared/shop/runs/{}/train", unit.run),
            world_size: WorldSize(unit.workers),
            micro_batches: 1,
            tables: vec![],
            reproducible: true,
            device: None,
            numerics: None,
            min_workers: unit.min_workers,
            forecast: None,
            queueing: unit.queueing.clone(),
        };
        json!({"made": {
            "read": read, "dataset": submission.dataset_dir, "digest": format!("data of {}", unit.run), "rows": 1000,
            "users": 100, "items": 10, "newest": unit.until - 1 - day.late_by, "submission": submission,
        }})
    }

    fn train(&mut self, run: &str, known: Option<JobId>, submission: &Submission) -> Result<(), Killed> {
        let next = JobId(self.jobs.len() as u64 + 1);
        let (job, times) = self.jobs.entry(submission.name.clone()).or_insert((next, 0));
        let job = *job;
        if known.is_none() {
            // The shell looks for a job of this name before it submits one.
            *times = 1;
            self.happen(run, Happened::Submitted { job })?;
        }
        let attempt = self.run(run).attempt;
        let error = (attempt <= self.day_of(run).failing_jobs).then(|| "so it is planned".to_owned());
        self.happen(run, Happened::JobEnded { error, worker_seconds: 10.0 })
    }

    fn call(&mut self, call: &HookCall, attempt: u32) -> Result<(), String> {
        let run = call.run.clone().unwrap_or_default();
        let failing = if run.is_empty() { 0 } else { self.day_of(&run).failing_calls };
        if attempt <= failing {
            return Err("so it is planned".to_owned());
        }
        *self.calls.entry(call.idempotency.clone()).or_default() += 1;
        Ok(())
    }

    /// The hook's owner reports what is planned of the champion, as long as somebody looks.
    fn report(&mut self) -> Result<(), Killed> {
        let newest: Vec<RunView> = self.tell(&Question::Runs { schedule: None, after: None });
        let watched = newest.into_iter().rev().find(|run| run.stage.name() == "watching");
        let Some(run) = watched else { return Ok(()) };
        let Some(clicks) = self.day_of(&run.run).clicks else { return Ok(()) };
        let model = self.model();
        let is_told = model.reported.contains_key(&run.version.unwrap());
        if is_told {
            return Ok(());
        }
        let command = Command::Metric {
            model: "shop".to_owned(),
            version: run.version,
            metric: "ctr".to_owned(),
            value: clicks,
            samples: 5000,
        };
        let request = Request { by: "shop".to_owned(), command };
        let (_, writes) = self.machine.command(request, self.now).unwrap();
        self.commit(writes)
    }
}

/// A run in short: the day, the attempt, and how it ended or where it is.
pub(crate) fn short(run: &RunView) -> String {
    let end = run.outcome.map_or_else(|| run.stage.name().to_owned(), |outcome| outcome.to_string());
    format!("{} try {} {end}", run.logical.strftime("%d"), run.attempt)
}

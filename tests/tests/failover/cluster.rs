//! A cluster of processes whose coordinators a test takes away, and the job that trains on it.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use muster_tests::folder::Folder;
use muster_tests::process::{Running, wait_for};
use muster_tests::small::prepared;
use serde_json::Value;

/// The program under test.
const MUSTER: &str = env!("CARGO_BIN_EXE_muster-under-test");

/// What makes the small job long enough to lose a coordinator in, without a wait for the disk at each epoch.
const LONG: [&str; 6] = [
    "--set",
    "training.epochs=6000",
    "--set",
    "training.validate_every=50",
    "--set",
    "checkpoint.every_epochs=1000",
];

/// A cluster that can be reached at several URLs.
pub(crate) struct Cluster {
    pub(crate) folder: Folder,
    ports: Vec<u16>,
    store: String,
    failure_detection: String,
}

impl Cluster {
    /// A cluster of so many coordinators, with nothing started yet.
    pub(crate) fn new(coordinators: usize, store: &str, failure_detection: f64) -> Self {
        let ports = free_ports(coordinators);
        let (store, failure_detection) = (store.to_owned(), failure_detection.to_string());
        Self { folder: prepared(MUSTER), ports, store, failure_detection }
    }

    /// Starts one of the coordinators.
    pub(crate) fn coordinator(&self, number: usize) -> Running {
        let listen = format!("127.0.0.1:{}", self.ports[number]);
        let args = ["coordinator", "--listen", &listen, "--store", &self.store];
        let mut command = self.folder.command(&args);
        Running::start(command.args(["--failure-detection", &self.failure_detection, "--log-level", "error"]))
    }

    pub(crate) fn url(&self, number: usize) -> String {
        format!("http://127.0.0.1:{}", self.ports[number])
    }

    /// All coordinators, as clients and workers are told.
    pub(crate) fn urls(&self) -> String {
        (0..self.ports.len()).map(|number| self.url(number)).collect::<Vec<_>>().join(",")
    }

    pub(crate) fn worker(&self) -> Running {
        let args = ["worker", "--coordinator", &self.urls(), "--threads", "1", "--log-level", "error"];
        Running::start(&mut self.folder.command(&args))
    }

    /// Trains on two workers of the cluster, and follows the job.
    pub(crate) fn train(&self) -> Running {
        let args = ["train", "job.toml", "--dataset", "prepared", "--out", "run", "--workers", "2"];
        let mut command = self.folder.command(&args);
        Running::start(command.args(LONG).args(["--coordinator", &self.urls(), "--log-level", "error"]))
    }

    /// What the job gives on a local cluster where nothing happens to it.
    pub(crate) fn undisturbed(&self) -> Value {
        let args = ["train", "job.toml", "--dataset", "prepared", "--out", "undisturbed", "--workers", "2"];
        self.folder.result(&[&args[..], &LONG, &["--threads", "1", "--quiet"]].concat())
    }

    /// Asks the coordinators; nothing where they do not answer or refuse.
    pub(crate) fn ask(&self, args: &[&str]) -> Option<Value> {
        let outcome = self.folder.muster(&[args, &["--coordinator", &self.urls()]].concat());
        (outcome.code == Some(0)).then(|| outcome.json())
    }

    /// The coordinator that says that it leads.
    pub(crate) fn leader(&self) -> Option<usize> {
        (0..self.ports.len()).find(|number| {
            self.page(*number, "/metrics").is_some_and(|page| page.contains("\nmuster_leads 1\n"))
        })
    }

    /// A page of a coordinator, if it answers.
    pub(crate) fn page(&self, number: usize, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.ports[number])).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).ok()?;
        let mut page = String::new();
        stream.read_to_string(&mut page).ok()?;
        Some(page)
    }

    /// The step that the job has come to, by its history.
    pub(crate) fn step(&self) -> u64 {
        self.steps().last().copied().unwrap_or_default()
    }

    /// The steps of all progress records, in the order in which they were written.
    fn steps(&self) -> Vec<u64> {
        let history = fs::read_to_string(self.folder.at("run/history.jsonl")).unwrap_or_default();
        let records = history.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        records
            .filter(|record| record.get("loss").is_some())
            .filter_map(|record| record["step"].as_u64())
            .collect()
    }

    /// Waits until the job has made more steps than when this was called.
    pub(crate) fn wait_for_steps(&self, more: u64) {
        self.wait_for_step(self.step() + more);
    }

    pub(crate) fn wait_for_step(&self, goal: u64) {
        wait_for("steps", || (self.step() >= goal).then_some(()));
    }

    /// Waits until the job is in a phase, by its name.
    pub(crate) fn wait_for_phase(&self, phase: &str) {
        wait_for(&format!("the job to be {phase}"), || {
            let jobs = self.ask(&["jobs", "list"])?;
            (jobs["jobs"].get(0)?["phase"] == phase).then_some(())
        });
    }

    /// Waits until so many workers are connected.
    pub(crate) fn wait_for_connected(&self, count: usize) {
        wait_for(&format!("{count} workers to be connected"), || {
            let workers = self.ask(&["workers", "list"])?;
            let connected =
                workers["workers"].as_array()?.iter().filter(|worker| worker["connected"] == true);
            (connected.count() == count).then_some(())
        });
    }

    /// Waits for the end of the job: no step was lost or made twice, and the model is what it would have been.
    pub(crate) fn assert_undisturbed(&self, train: Running) {
        let result = self.assert_same_model(train);
        assert_eq!(result["generation"], 1, "{result}");
        let steps = self.steps();
        assert!(steps.is_sorted_by(|one, next| one < next), "steps were made again: {steps:?}");
        assert_eq!(result["steps_in_this_run"].as_u64(), steps.last().copied());
    }

    /// Waits for the end of the job: the model is what it would have been had nothing happened.
    pub(crate) fn assert_same_model(&self, train: Running) -> Value {
        let (code, stdout) = train.end();
        assert_eq!(code, Some(0), "{stdout}");
        let result: Value = serde_json::from_str(&stdout).unwrap();
        assert_eq!(result["model_digest"], self.undisturbed()["model_digest"]);
        assert_eq!(self.folder.result(&["verify", "run"])["ok"], true);
        result
    }
}

/// Ports that were free a moment ago, each another one.
fn free_ports(count: usize) -> Vec<u16> {
    let bound: Vec<TcpListener> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    bound.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}

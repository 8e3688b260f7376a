//! A coordinator and three workers on hosts of their own, and the job that trains on them.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use muster_cli::{history, lineage};
use muster_tests::binary::run_command;
use muster_tests::folder::Folder;
use muster_tests::process::{Running, wait_for};
use muster_tests::small::long;
use serde_json::Value;

use crate::network::Network;

/// The program under test.
const MUSTER: &str = env!("CARGO_BIN_EXE_muster-under-test");

pub(crate) const COORDINATOR: &str = "coordinator";
const WORKERS: [&str; 3] = ["worker-a", "worker-b", "worker-c"];
const PORT: u16 = 7400;

/// What makes the job long enough to be cut, and to go on for a while after.
const LONG: [&str; 4] = ["--set", "training.epochs=600", "--set", "training.validate_every=200"];

/// How long the cut of a network may keep a job from its steps. Seconds of detection, a generation in vain where it is
/// to be found out who is cut off, and room for a machine under load; a collective's own patience is 24 seconds.
const BOUND: Duration = Duration::from_secs(22);

/// Two cores are too few for two of these clusters.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

pub(crate) struct Cluster {
    pub(crate) network: Network,
    folder: Folder,
    job: String,
    _processes: Vec<Running>,
    _turn: MutexGuard<'static, ()>,
}

impl Cluster {
    /// Starts a job on so many of the three workers; none where there can be no network.
    pub(crate) fn train(workers: usize) -> Option<Self> {
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let hosts: Vec<&str> = std::iter::once(COORDINATOR).chain(WORKERS).collect();
        let network = Network::new(&hosts)?;
        let folder = long(MUSTER);
        let url = format!("http://{}:{PORT}", network.address(COORDINATOR));
        let listen = format!("0.0.0.0:{PORT}");
        let log = ["--log-level", "info", "--insecure"];
        let coordinator =
            [&["coordinator", "--listen", &listen, "--failure-detection", "1"], &log[..]].concat();
        let start = |host: &str, args: &[&str]| {
            Running::start(&mut network.host(host, folder.path(), &folder.command(args)))
        };
        let mut processes = vec![start(COORDINATOR, &coordinator)];
        for host in WORKERS {
            let listen = format!("{}:0", network.address(host));
            let worker = ["worker", "--coordinator", &url, "--threads", "1", "--listen", &listen];
            processes.push(start(host, &[&worker, &log[..]].concat()));
        }
        let mut cluster = Self { network, folder, job: String::new(), _processes: processes, _turn: turn };
        wait_for("the workers to register", || (cluster.connected()?.len() == 3).then_some(()));
        let count = workers.to_string();
        let submit =
            ["jobs", "submit", "job.toml", "--dataset", "prepared", "--out", "run", "--workers", &count];
        cluster.job = cluster.ask(&[&submit[..], &LONG].concat()).unwrap()["job"].to_string();
        cluster.steps_on(1, 100);
        Some(cluster)
    }

    /// Asks the coordinator, on its host.
    pub(crate) fn ask(&self, args: &[&str]) -> Option<Value> {
        let url = format!("http://127.0.0.1:{PORT}");
        let command = self.folder.command(&[args, &["--coordinator", &url]].concat());
        let outcome = run_command(&mut self.network.host(COORDINATOR, self.folder.path(), &command));
        (outcome.code == Some(0)).then(|| outcome.json())
    }

    /// The workers that have a session, and the hosts that they are on.
    pub(crate) fn connected(&self) -> Option<Vec<(u64, &'static str)>> {
        let listed = self.ask(&["workers", "list"])?;
        let host = |worker: &Value| {
            let name = worker["capabilities"]["host"].as_str()?;
            WORKERS.into_iter().find(|host| *host == name)
        };
        let connected = listed["workers"].as_array()?.iter().filter(|worker| worker["connected"] == true);
        connected.map(|worker| Some((worker["worker"].as_u64()?, host(worker)?))).collect()
    }

    fn status(&self) -> Option<Value> {
        self.ask(&["jobs", "show", &self.job])
    }

    /// The changes of the job's workers that are over.
    pub(crate) fn incidents(&self) -> Vec<Value> {
        let explained = self.ask(&["jobs", "explain", &self.job]).unwrap();
        explained["incidents"].as_array().unwrap().clone()
    }

    /// The host of a rank, and the hosts of the other ranks.
    pub(crate) fn host_of(&self, rank: usize) -> (&'static str, Vec<&'static str>) {
        let (status, known) = (self.status().unwrap(), self.connected().unwrap());
        let of = |worker: &Value| known.iter().find(|(id, _)| worker.as_u64() == Some(*id)).unwrap().1;
        let mut hosts: Vec<_> = status["workers"].as_array().unwrap().iter().map(of).collect();
        (hosts.remove(rank), hosts)
    }

    /// Waits until a generation, that one or a later one, has made so many steps; says which.
    pub(crate) fn steps_on(&self, generation: u64, steps: u64) -> u64 {
        wait_for("steps", || {
            let text = std::fs::read_to_string(self.folder.at("run/history.jsonl")).ok()?;
            let records = || text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let began = records().rfind(|record| record["generation"].is_u64())?;
            let reached = records().rfind(|record| record["loss"].is_number())?;
            let current = began["generation"].as_u64()?;
            let made = reached["step"].as_u64()?.saturating_sub(began["step"].as_u64()?);
            (current >= generation && made >= steps).then_some(current)
        })
    }

    /// Waits until the job makes steps after the cut, and says how long it did not.
    pub(crate) fn goes_on_within_bounds(&self, cut: Instant, what: &str) {
        let generation = self.steps_on(2, 1);
        let after = cut.elapsed();
        println!(
            "measured: {what}: steps again {:.1} s after the cut, in generation {generation}",
            after.as_secs_f64()
        );
        assert!(after < BOUND, "{what}: steps again only after {after:?}, in generation {generation}");
    }

    /// Waits for the end of the job: the model is the undisturbed one, and what the run left is whole.
    pub(crate) fn ends_undisturbed(&self) {
        wait_for("the job to finish", || {
            let status = self.status()?;
            assert_ne!(status["phase"], "failed", "{status}");
            (status["phase"] == "finished").then_some(())
        });
        let verified = self.folder.result(&["verify", "run", "--dataset", "prepared"]);
        assert_eq!(verified["ok"], true, "{verified}");
        let breaches = lineage::check(&history::entries(&self.folder.at("run/history.jsonl")).unwrap());
        assert!(breaches.is_empty(), "{breaches:?}");
        let newest = std::fs::read_dir(self.folder.at("run/checkpoints")).unwrap().flatten();
        let newest =
            newest.map(|entry| entry.path().join("manifest.json")).filter(|path| path.exists()).max();
        let manifest = std::fs::read_to_string(newest.unwrap()).unwrap();
        let manifest: Value = serde_json::from_str(&manifest).unwrap();
        assert_eq!(manifest["model_digest"], *undisturbed());
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for host in std::iter::once(COORDINATOR).chain(WORKERS) {
                let log = std::fs::read_to_string(self.folder.at(&format!("{host}.log"))).unwrap_or_default();
                println!("---- {host}\n{log}");
            }
        }
    }
}

/// The digest of the model where nothing happens.
fn undisturbed() -> &'static Value {
    static DIGEST: OnceLock<Value> = OnceLock::new();
    DIGEST.get_or_init(|| {
        let folder = long(MUSTER);
        let args =
            ["train", "job.toml", "--dataset", "prepared", "--out", "alone", "--workers", "1", "--quiet"];
        folder.result(&[&args[..], &LONG].concat())["model_digest"].clone()
    })
}

//! A coordinator and its workers, each a process of the program under test.

use std::net::TcpListener;
use std::path::Path;

use serde_json::Value;

use crate::folder::Folder;
use crate::process::{Running, wait_for};

/// A coordinator and workers as processes of their own.
#[derive(Debug)]
pub struct Cluster<'a> {
    folder: &'a Folder,
    url: String,
    /// What the coordinator was started with.
    flags: Vec<String>,
    coordinator: Option<Running>,
    _workers: Vec<Running>,
}

impl<'a> Cluster<'a> {
    /// Starts a coordinator with further flags and so many workers, and waits until they are connected.
    ///
    /// # Panics
    /// Where there is no free port, or a process does not come up.
    #[must_use]
    pub fn start(folder: &'a Folder, workers: usize, flags: &[&str]) -> Self {
        let port = free_port();
        let (listen, url) = (format!("127.0.0.1:{port}"), format!("http://127.0.0.1:{port}"));
        let flags = [&["coordinator", "--listen", &listen], flags].concat();
        let flags: Vec<String> = flags.into_iter().map(str::to_owned).collect();
        let coordinator = Some(Running::start(&mut folder.command(&flags)));
        let worker = ["worker", "--coordinator", &url, "--threads", "1"];
        let processes = (0..workers).map(|_| Running::start(&mut folder.command(&worker))).collect();
        let cluster = Self { folder, url, flags, coordinator, _workers: processes };
        wait_for("the workers to register", || {
            let listed = cluster.ask(&["workers", "list"])?;
            let connected = |worker: &&Value| worker["connected"] == true;
            (listed["workers"].as_array()?.iter().filter(connected).count() == workers).then_some(())
        });
        cluster
    }

    /// Kills the coordinator, as `kill -9` does, and starts it again.
    pub fn restart_coordinator(&mut self) {
        drop(self.coordinator.take());
        self.coordinator = Some(Running::start(&mut self.folder.command(&self.flags)));
    }

    /// Where the coordinator listens.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The JSON that a command says of this cluster; none where it fails.
    #[must_use]
    pub fn ask(&self, args: &[&str]) -> Option<Value> {
        let outcome = self.folder.muster(&[args, &["--coordinator", &self.url]].concat());
        (outcome.code == Some(0)).then(|| outcome.json())
    }

    /// Waits until a job has so many changes of workers behind it: one that comes before is counted with the last.
    #[allow(clippy::missing_panics_doc, reason = "a wait that is too long fails the test")]
    pub fn has_made(&self, job: &str, changes: usize) {
        wait_for("the job to make a step after the change", || {
            let explained = self.ask(&["jobs", "explain", job])?;
            (explained["incidents"].as_array()?.len() == changes).then_some(())
        });
    }

    /// Waits until a job trains on that many workers.
    #[allow(clippy::missing_panics_doc, reason = "a wait that is too long fails the test")]
    pub fn trains_on(&self, job: &str, workers: usize) {
        wait_for("the job to train on the workers that it should", || {
            let status = self.ask(&["jobs", "show", job])?;
            assert_ne!(status["phase"], "failed", "{status}");
            (status["phase"] == "training" && status["workers"].as_array()?.len() == workers).then_some(())
        });
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("a socket that is bound").port()
}

/// The manifest of a run's newest checkpoint.
///
/// # Panics
/// Where there is none.
#[must_use]
pub fn newest_manifest(run: &Path) -> Value {
    let checkpoints = std::fs::read_dir(run.join("checkpoints")).expect("a run's checkpoints").flatten();
    let manifests = checkpoints.map(|entry| entry.path().join("manifest.json")).filter(|path| path.exists());
    let text = std::fs::read_to_string(manifests.max().expect("a checkpoint")).expect("a manifest");
    serde_json::from_str(&text).expect("a manifest in JSON")
}

//! A coordinator and workers as processes, and who of them works.

use std::net::TcpListener;

use muster_tests::folder::Folder;
use muster_tests::process::{Running, wait_for};
use serde_json::Value;

/// A running cluster, which ends with the test.
pub(crate) struct Cluster<'a> {
    folder: &'a Folder,
    pub(crate) url: String,
    listen: String,
    coordinator: Option<Running>,
    workers: Vec<Running>,
}

impl<'a> Cluster<'a> {
    /// Starts one and waits until all workers are there.
    pub(crate) fn start(folder: &'a Folder, workers: usize) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (listen, url) = (format!("127.0.0.1:{port}"), format!("http://127.0.0.1:{port}"));
        let mut cluster = Self { folder, url, listen, coordinator: None, workers: Vec::new() };
        cluster.lead();
        let worker = ["worker", "--coordinator", &cluster.url, "--threads", "1", "--device", "cpu"];
        cluster.workers = (0..workers).map(|_| Running::start(&mut folder.command(&worker))).collect();
        wait_for("the workers to register", || (cluster.known().len() == workers).then_some(()));
        cluster
    }

    /// Starts a coordinator that knows what the one before kept.
    fn lead(&mut self) {
        let args = ["coordinator", "--listen", &self.listen, "--store", "embedded:state.redb"];
        self.coordinator = Some(Running::start(&mut self.folder.command(&args)));
    }

    /// Kills the coordinator, and starts another one.
    pub(crate) fn replace_coordinator(&mut self) {
        self.coordinator = None;
        self.lead();
    }

    fn listed(&self) -> Vec<Value> {
        let listed = self.folder.muster(&["workers", "list", "--coordinator", &self.url]);
        let listed = if listed.code == Some(0) { listed.json() } else { Value::Null };
        listed["workers"].as_array().cloned().unwrap_or_default()
    }

    /// Process ids of the workers that are connected.
    pub(crate) fn known(&self) -> Vec<u32> {
        self.listed().iter().filter(|worker| worker["connected"] == true).filter_map(process).collect()
    }

    /// Process ids of the workers that have a task.
    pub(crate) fn busy(&self) -> Vec<u32> {
        self.listed().iter().filter(|worker| !worker["task"].is_null()).filter_map(process).collect()
    }
}

/// A worker is named after its host and process.
fn process(worker: &Value) -> Option<u32> {
    worker["capabilities"]["name"].as_str()?.rsplit_once('-')?.1.parse().ok()
}

//! An etcd of a test's own: one process on free ports of loopback, its data in a temporary folder.
//!
//! Also included by the store's tests in `coordinator/`, so it uses nothing but the standard library.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long a server may take to answer, on a machine under load.
const SOON: Duration = Duration::from_secs(60);

/// A running etcd; it ends, and its data goes, when this is dropped.
#[derive(Debug)]
pub struct Etcd {
    process: Child,
    folder: PathBuf,
    /// `HOST:PORT` for clients.
    pub endpoint: String,
    peer: String,
}

impl Etcd {
    /// Starts one; none, loudly, where the machine has no etcd.
    ///
    /// # Panics
    /// Where it does not come up, or there is none and `MUSTER_REQUIRE_ALL` is set.
    pub fn start() -> Option<Self> {
        if Command::new("etcd").arg("--version").stdout(Stdio::null()).status().is_err() {
            assert!(std::env::var_os("MUSTER_REQUIRE_ALL").is_none(), "there is no `etcd` in PATH");
            println!("skipped: there is no `etcd` in PATH (apt-get install etcd-server)");
            return None;
        }
        let (endpoint, peer) = (free_address(), free_address());
        let folder = std::env::temp_dir().join(format!("muster-etcd-{}", endpoint.replace(':', "-")));
        let process = spawn(&folder, &endpoint, &peer);
        let mut etcd = Self { process, folder, endpoint, peer };
        etcd.wait();
        Some(etcd)
    }

    /// The address of a store in it, as `--store` takes it.
    pub fn store(&self, prefix: &str) -> String {
        format!("etcd://{}/{prefix}", self.endpoint)
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Kills it and starts it again with the data that it has.
    ///
    /// # Panics
    /// Where it does not come up again.
    pub fn restart(&mut self) {
        self.kill();
        self.process = spawn(&self.folder, &self.endpoint, &self.peer);
        self.wait();
    }

    fn kill(&mut self) {
        // One that has ended already cannot be killed, and need not.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    fn wait(&mut self) {
        let deadline = Instant::now() + SOON;
        while !is_healthy(&self.endpoint) {
            let ended = self.process.try_wait();
            assert!(matches!(ended, Ok(None)), "etcd ended at once: {ended:?}");
            assert!(Instant::now() < deadline, "etcd does not come up at {}", self.endpoint);
            thread::park_timeout(Duration::from_millis(20));
        }
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.kill();
        // What cannot be deleted lies in the system's folder for temporary files.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A port that was free a moment ago. The next processes get others, so that it is free a moment later too.
fn free_address() -> String {
    let bound = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    match bound {
        Ok(address) => address.to_string(),
        Err(error) => panic!("no free port on loopback: {error}"),
    }
}

fn spawn(folder: &std::path::Path, endpoint: &str, peer: &str) -> Child {
    let (client, peer) = (format!("http://{endpoint}"), format!("http://{peer}"));
    let mut command = Command::new("etcd");
    command
        .args(["--name", "test", "--data-dir"])
        .arg(folder)
        .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .args(["--initial-cluster", &format!("test={peer}")])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    match command.spawn() {
        Ok(process) => process,
        Err(error) => panic!("cannot start etcd: {error}"),
    }
}

/// Whether it can be written to, by its own word.
fn is_healthy(endpoint: &str) -> bool {
    let Ok(mut stream) = TcpStream::connect(endpoint) else { return false };
    let request = format!("GET /health HTTP/1.0\r\nHost: {endpoint}\r\n\r\n");
    let mut answer = String::new();
    let asked = stream
        .set_read_timeout(Some(Duration::from_secs(2)))
        .and_then(|()| stream.write_all(request.as_bytes()))
        .and_then(|()| stream.read_to_string(&mut answer));
    asked.is_ok() && answer.contains("\"true\"")
}

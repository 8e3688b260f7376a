//! The coordinator as a process of its own, and what it takes.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};

use muster_coordinator::{Settings, serve};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// Set for the process that is the coordinator: where it keeps its state.
pub(crate) const SERVE: &str = "MUSTER_BENCH_SERVE";

/// The coordinator's process: says where it listens, and ends with its standard input.
pub(crate) async fn coordinate() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    let (closed, end) = oneshot::channel::<()>();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read(&mut [0]);
        drop(closed);
    });
    let store = std::env::var(SERVE).unwrap();
    let settings = Settings { max_workers: Some(10_000), store: Some(store), ..Settings::default() };
    serve(settings.check().unwrap(), listener, async { drop(end.await) }).await.unwrap();
}

pub(crate) struct Coordinator {
    process: Child,
    pub(crate) url: String,
}

impl Coordinator {
    pub(crate) fn start(store: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let piped = command.env(SERVE, store).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = piped.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { process, url: format!("http://{}", line.trim()) }
    }

    /// Seconds of CPU so far.
    pub(crate) fn cpu(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        let ticks: u64 = [11, 12].map(|field: usize| fields[field].parse::<u64>().unwrap()).iter().sum();
        // The kernel's unit for user space, on every architecture that Linux runs on today.
        ticks as f64 / 100.0
    }

    /// Resident memory in MiB.
    pub(crate) fn memory(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
    }

    /// A number from its page of metrics.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let address = self.url.strip_prefix("http://").unwrap();
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).await.unwrap();
        let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap().parse().unwrap()
    }

    pub(crate) fn end(mut self) {
        drop(self.process.stdin.take());
        self.process.wait().unwrap();
    }
}

//! What a cluster of N workers costs its coordinator: N sessions of one heartbeat a second, each on its own connection.
//!
//! `cargo bench -p muster-coordinator --bench sessions -- 500 5000` prints a row for each N. The coordinator is a
//! process of its own (this program again), the workers are this one. A heartbeat is not answered, so each tenth
//! worker follows each with a report that is; a session keeps the order, so its answer says that the heartbeat was
//! taken in.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement that cannot be made ends")]

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use muster_coordinator::{Settings, serve};
use muster_proto::control::{
    Capabilities, DeviceKind, Directive, Failure, FailureCause, Hello, Registration, Report,
};
use muster_proto::fence::Fence;
use muster_proto::ids::{Generation, JobId};
use muster_proto::rpc::Target;
use muster_proto::wire;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_stream::wrappers::ReceiverStream;

/// Set for the process that is the coordinator.
const SERVE: &str = "MUSTER_BENCH_SERVE";

/// How long all sessions run before anything is counted, and while it is.
const WARM_UP: Duration = Duration::from_secs(3);
const MEASURED: Duration = Duration::from_secs(15);

const HEARTBEAT: Duration = Duration::from_secs(1);

/// One in so many workers has its heartbeats acknowledged.
const PROBED: usize = 10;

/// Connections that are opened at a time.
const OPENED_AT_ONCE: usize = 64;

fn main() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if std::env::var_os(SERVE).is_some() {
        return runtime.block_on(coordinate());
    }
    let counts: Vec<usize> = std::env::args().filter_map(|arg| arg.parse().ok()).collect();
    let counts = if counts.is_empty() { vec![100, 1000] } else { counts };
    println!("workers  all in session  p50 ms  p99 ms  max ms  coordinator CPU  its memory  events/s");
    for workers in counts {
        runtime.block_on(measure(workers));
    }
}

/// The coordinator's process: says where it listens, and ends with its standard input.
async fn coordinate() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    let (closed, end) = oneshot::channel::<()>();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read(&mut [0]);
        drop(closed);
    });
    let settings = Settings { max_workers: Some(10_000), ..Settings::default() };
    serve(settings.check().unwrap(), listener, async { drop(end.await) }).await.unwrap();
}

struct Coordinator {
    process: Child,
    url: String,
}

impl Coordinator {
    fn start() -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let piped = command.env(SERVE, "1").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = piped.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { process, url: format!("http://{}", line.trim()) }
    }

    /// Seconds of CPU so far.
    fn cpu(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        let ticks: u64 = [11, 12].map(|field: usize| fields[field].parse::<u64>().unwrap()).iter().sum();
        // The kernel's unit for user space, on every architecture that Linux runs on today.
        ticks as f64 / 100.0
    }

    /// Resident memory in MiB.
    fn memory(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
    }

    /// A number from its page of metrics.
    async fn metric(&self, name: &str) -> f64 {
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
}

async fn measure(workers: usize) {
    let mut coordinator = Coordinator::start();
    let begun = Instant::now();
    let latencies = Arc::new(Mutex::new(Vec::new()));
    let target =
        Target { url: coordinator.url.as_str().into(), token: None, deadline: Duration::from_secs(5) };
    let mut sessions = JoinSet::new();
    let mut opening = JoinSet::new();
    for number in 0..workers {
        if opening.len() == OPENED_AT_ONCE {
            sessions.spawn(run(number, opening.join_next().await.unwrap().unwrap(), Arc::clone(&latencies)));
        }
        opening.spawn(open(number, target.clone()));
    }
    while let Some(session) = opening.join_next().await {
        sessions.spawn(run(sessions.len(), session.unwrap(), Arc::clone(&latencies)));
    }
    let opened = begun.elapsed();
    undisturbed(&mut sessions, WARM_UP).await;
    latencies.lock().unwrap().clear();
    let (cpu, events) = (coordinator.cpu(), coordinator.metric("muster_events_total").await);
    let begun = Instant::now();
    undisturbed(&mut sessions, MEASURED).await;
    let seconds = begun.elapsed().as_secs_f64();
    let mut latencies = std::mem::take(&mut *latencies.lock().unwrap());
    let cpu = (coordinator.cpu() - cpu) / seconds * 100.0;
    let events = (coordinator.metric("muster_events_total").await - events) / seconds;
    assert_eq!(coordinator.metric("muster_sessions").await as usize, workers, "sessions were lost");
    latencies.sort_unstable();
    let at = |share: f64| {
        let index = ((latencies.len() - 1) as f64 * share) as usize;
        latencies[index].as_secs_f64() * 1e3
    };
    println!(
        "{workers:7}  {:12.1} s  {:6.1}  {:6.1}  {:6.1}  {cpu:13.0} %  {:6.0} MiB  {events:8.0}",
        opened.as_secs_f64(),
        at(0.5),
        at(0.99),
        at(1.0),
        coordinator.memory(),
    );
    sessions.shutdown().await;
    drop(coordinator.process.stdin.take());
    coordinator.process.wait().unwrap();
}

/// Lets the sessions run; none may end.
async fn undisturbed(sessions: &mut JoinSet<()>, time: Duration) {
    let ended = timeout(time, sessions.join_next()).await;
    assert!(ended.is_err(), "a session ended: {ended:?}");
}

/// A worker's end of its session.
struct Session {
    registration: Registration,
    reports: mpsc::Sender<wire::SessionRequest>,
    directives: tonic::Streaming<wire::SessionResponse>,
}

/// Registers and opens a session, as a worker does.
async fn open(number: usize, target: Target) -> Session {
    let capabilities = Capabilities {
        name: format!("worker-{number}"),
        host: "localhost".into(),
        cpu_threads: 1,
        memory_bytes: 1 << 30,
        device: DeviceKind::Cpu,
        data_plane_address: format!("127.0.0.1:{}", 1 + number),
        numerics: "bench".into(),
        gpu: None,
        muster_version: "bench".into(),
    };
    let mut client = target.worker_client().await.unwrap();
    let request = wire::RegisterRequest { capabilities: Some(capabilities.into()) };
    let registration = client.register(target.request(request)).await.unwrap().into_inner();
    let registration: Registration = registration.try_into().unwrap();
    let (reports, queue) = mpsc::channel(64);
    let Registration { worker, incarnation, .. } = registration;
    reports.try_send(Report::Hello(Hello { worker, incarnation, running: None }).into()).unwrap();
    let directives = client.session(ReceiverStream::new(queue)).await.unwrap().into_inner();
    Session { registration, reports, directives }
}

/// Beats once a second; a worker that is probed notes how long it took until the coordinator had heard it.
async fn run(number: usize, mut session: Session, latencies: Arc<Mutex<Vec<Duration>>>) {
    let incarnation = session.registration.incarnation;
    let fence = Fence { job: JobId(1), generation: Generation(1), incarnation };
    let failure = Failure { cause: FailureCause::Own, message: "a probe".into(), peer: None };
    let first = Instant::now() + HEARTBEAT * (number as u32 % 1000) / 1000;
    let mut beat = interval_at(first, HEARTBEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut sent = None;
    loop {
        tokio::select! {
            _ = beat.tick() => {
                let heartbeat = Report::Heartbeat { incarnation, running: None };
                session.reports.try_send(heartbeat.into()).unwrap();
                if number.is_multiple_of(PROBED) && sent.is_none() {
                    sent = Some(Instant::now());
                    session.reports.try_send(Report::Failed { fence, failure: failure.clone() }.into()).unwrap();
                }
            }
            directive = session.directives.message() => {
                let directive = directive.unwrap().expect("the coordinator keeps its sessions");
                if let Directive::Acknowledged { .. } = directive.try_into().unwrap()
                    && let Some(sent) = sent.take()
                {
                    latencies.lock().unwrap().push(sent.elapsed());
                }
            }
        }
    }
}

//! A worker's end of its session: beats, takes ranks, says when it is ready, stops when it is told.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use muster_proto::control::{
    Capabilities, DeviceKind, Directive, Failure, FailureCause, Hello, Registration, Report, Restored,
};
use muster_proto::convert::Directives;
use muster_proto::fence::Fence;
use muster_proto::ids::{Generation, JobId, WorkerId};
use muster_proto::rpc::Target;
use muster_proto::wire;
use prost::Message as _;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_stream::wrappers::ReceiverStream;

use crate::generation::Seen;

const HEARTBEAT: Duration = Duration::from_secs(1);

/// One in so many workers has its heartbeats acknowledged.
const PROBED: usize = 10;

/// What all sessions have in common.
#[derive(Clone)]
pub(crate) struct Crowd {
    /// From a heartbeat to its acknowledgement.
    pub(crate) latencies: Arc<Mutex<Vec<Duration>>>,
    pub(crate) seen: Arc<Seen>,
    /// Who dies.
    pub(crate) victim: watch::Receiver<Option<WorkerId>>,
}

/// An open session.
pub(crate) struct Session {
    pub(crate) registration: Registration,
    reports: mpsc::Sender<wire::SessionRequest>,
    directives: tonic::Streaming<wire::SessionResponse>,
}

/// Registers and opens a session, as a worker does.
pub(crate) async fn open(number: usize, target: Target) -> Session {
    let capabilities = Capabilities {
        name: format!("worker-{number}"),
        // Eight to a node, as GPUs are.
        host: format!("host-{}", number / 8),
        cpu_threads: 1,
        memory_bytes: 1 << 40,
        device: DeviceKind::Cpu,
        data_plane_address: format!("10.{}.{}.{}:4100", number >> 16, number >> 8 & 255, number & 255),
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

/// Beats once a second and does what it is told, until it is the victim. A worker that is probed notes how long it took
/// until the coordinator had heard it: a heartbeat is not answered, so a report that is follows it.
pub(crate) async fn run(number: usize, mut session: Session, mut crowd: Crowd) {
    let Registration { worker, incarnation, .. } = session.registration;
    let probe = Fence { job: JobId(u64::MAX), generation: Generation(1), incarnation };
    let failure = Failure { cause: FailureCause::Own, message: "a probe".into(), peer: None };
    let first = Instant::now() + HEARTBEAT * (number as u32 % 1000) / 1000;
    let mut beat = interval_at(first, HEARTBEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut reader = Directives::default();
    let mut sent = None;
    loop {
        tokio::select! {
            _ = beat.tick() => {
                let heartbeat = Report::Heartbeat { incarnation, running: None };
                session.reports.try_send(heartbeat.into()).unwrap();
                if number.is_multiple_of(PROBED) && sent.is_none() {
                    sent = Some(Instant::now());
                    let probe = Report::Failed { fence: probe, failure: failure.clone() };
                    session.reports.try_send(probe.into()).unwrap();
                }
            }
            victim = crowd.victim.wait_for(|victim| *victim == Some(worker)) => {
                // Its connection closes with it.
                return drop(victim);
            }
            directive = session.directives.message() => {
                let directive = directive.unwrap().expect("the coordinator keeps its sessions");
                let bytes = directive.encoded_len();
                match reader.read(directive).unwrap() {
                    Directive::Acknowledged { fence } if fence == probe => {
                        let latency = sent.take().map(|sent| sent.elapsed());
                        crowd.latencies.lock().unwrap().extend(latency);
                    }
                    directive => {
                        crowd.seen.note(&directive, bytes);
                        let report = answer(directive);
                        report.into_iter().for_each(|report| session.reports.try_send(report.into()).unwrap());
                    }
                }
            }
        }
    }
}

/// What a rank without any work says to a directive.
fn answer(directive: Directive) -> Option<Report> {
    match directive {
        Directive::Prepare(prepare) => {
            Some(Report::JobReady { fence: prepare.fence, restored: Restored::start() })
        }
        Directive::Abort { fence, reason } => {
            let failure = Failure { cause: FailureCause::Aborted, message: reason, peer: None };
            Some(Report::Failed { fence, failure })
        }
        _ => None,
    }
}

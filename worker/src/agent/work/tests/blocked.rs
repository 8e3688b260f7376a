//! How soon a push of the coordinator ends a collective that waits.

use std::net::{SocketAddr, TcpListener};
use std::sync::Mutex;

use muster_collective::{AbortHandle, Collective, Config, Error as Failed, Transport, connect};

use super::*;

/// The longest that a job may stay in a collective after the push.
const SOON: Duration = Duration::from_millis(100);

/// Waits in a barrier for a rank that never comes.
struct Blocked {
    transport: Transport,
    /// Gets the thread's folder in `/proc` before it waits.
    waits: Mutex<mpsc::Sender<String>>,
    /// Gets the time at which the wait was over.
    over: Mutex<mpsc::Sender<std::time::Instant>>,
}

impl Blocked {
    fn join(
        &self,
        rank: usize,
        listener: &TcpListener,
        peers: &[SocketAddr],
        abort: AbortHandle,
    ) -> Box<dyn Collective> {
        let config = Config {
            rank,
            world_size: peers.len(),
            job: "blocked".into(),
            generation: 1,
            secret: [0; 16],
            listener,
            peers: peers.to_vec(),
            timeout: Duration::from_secs(60),
            silence: Duration::from_secs(60),
            max_message: Config::DEFAULT_MAX_MESSAGE,
            transport: self.transport,
            abort,
        };
        connect(config).unwrap()
    }
}

impl JobRunner for Blocked {
    fn run(&self, _: Assignment, control: Control) -> Result<Outcome, RunError> {
        let listeners = [0, 1].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
        let peers = [0, 1].map(|rank: usize| listeners[rank].local_addr().unwrap());
        let abort = AbortHandle::new().unwrap();
        let handle = abort.clone();
        control.on_abort(Box::new(move |reason| handle.abort(reason)));
        std::thread::scope(|scope| {
            let (leave, left) = mpsc::channel::<()>();
            let (listeners, peers) = (&listeners, &peers);
            scope.spawn(move || {
                let _group = self.join(1, &listeners[1], peers, AbortHandle::new().unwrap());
                // Returns when the other rank is through.
                let _ = left.recv();
            });
            let mut group = self.join(0, &listeners[0], peers, abort);
            let thread = std::fs::read_link("/proc/thread-self").unwrap();
            self.waits.lock().unwrap().send(thread.display().to_string()).unwrap();
            let outcome = group.barrier();
            self.over.lock().unwrap().send(std::time::Instant::now()).unwrap();
            drop(leave);
            match outcome {
                Err(error @ Failed::Aborted { .. }) => Err(RunError::aborted(&error)),
                other => panic!("{other:?}"),
            }
        })
    }
}

/// Waits until a thread sleeps in the kernel.
fn wait_until_blocked(thread: &str) {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let status = std::fs::read_to_string(format!("/proc/{thread}/stat")).unwrap();
        if status.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('S')) {
            return;
        }
        assert!(Instant::now() < end, "{status}");
        std::thread::yield_now();
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
#[allow(clippy::print_stdout, reason = "says what it measured")]
async fn a_push_ends_a_blocked_collective_within_a_tenth_of_a_second() {
    for transport in [Transport::Tcp, Transport::Shm] {
        let ((waits, waiting), (over, ended)) = (mpsc::channel(), mpsc::channel());
        let runner = Blocked { transport, waits: waits.into(), over: over.into() };
        let mut work = work_of(runner, Duration::from_secs(5));
        work.follow(prepare(fence(1)));
        wait_until_blocked(&waiting.recv().unwrap());
        let pushed = std::time::Instant::now();
        work.follow(Directive::Abort { fence: fence(1), reason: "worker-2 was lost".into() });
        let [Report::Failed { failure, .. }] = &reports(&mut work).await[..] else { panic!("no failure") };
        assert_eq!(failure.cause, FailureCause::Aborted);
        let after = ended.recv().unwrap() - pushed;
        println!("measured: {transport:?}: out of the collective {after:?} after the push");
        assert!(after < SOON, "{transport:?}: {after:?}");
    }
}

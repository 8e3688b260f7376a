//! NCCL's faults: ranks that never join or die, a job that is told to stop, an abort that hangs. No wait is for ever.

#![allow(clippy::unwrap_used, reason = "a test ends at the first thing that does not hold")]

mod cuda;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use muster_cuda_double::{Mode, Modes, Order, Rank, Streams, Suite, in_processes};
use muster_kernels::cuda::nccl::{Communicator, Ending, Failure, Guard, STUCK_EXIT_CODE, Stuck, UniqueId};
use muster_kernels::cuda::reduce::fill;
use muster_kernels::cuda::{Device, Error, Settings};

/// Longer than any test runs: where it counts, something else has to end the wait.
const LONG: Duration = Duration::from_secs(100);
const SHORT: Duration = Duration::from_millis(300);

/// Streams that run by themselves, whose failed calls stay where they are until an abort.
fn two_devices() -> Suite {
    cuda::kernels().with("MUSTER_DOUBLE_DEVICES", "2").with("MUSTER_DOUBLE_NCCL_ERROR", "stay")
}

fn by_themselves() -> Modes {
    Modes::only(Mode::plain(Order::Forward, Streams::Async))
}

/// Runs a body with a planted fault, or with more devices than a machine may have: on the double only.
fn on_the_double<F: FnOnce()>(suite: &Suite, body: F) {
    for outcome in suite.outcomes(&by_themselves(), body).into_iter().flatten() {
        assert!(outcome.passed, "{}\n{}", outcome.mode, outcome.output);
    }
}

fn fresh_id() -> String {
    UniqueId::new().unwrap().to_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn id_of(rank: &Rank) -> UniqueId {
    let mut bytes = [0; 128];
    for (byte, hex) in bytes.iter_mut().zip(rank.shared.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(hex).unwrap(), 16).unwrap();
    }
    UniqueId::from_bytes(bytes)
}

fn connect(rank: &Rank, guard: Guard) -> Result<(Device, Communicator), Error> {
    let device = Device::open(Settings::of(rank.rank)).unwrap();
    let communicator = Communicator::connect(&device, rank.rank, rank.world_size, id_of(rank), guard)?;
    Ok((device, communicator))
}

/// A rank whose peer is played by nobody, or by a thread.
fn rank(rank: usize, shared: &str) -> Rank {
    Rank { rank, world_size: 2, shared: shared.to_owned() }
}

fn failure(error: Error) -> Failure {
    match error {
        Error::Communicator { failure, .. } => failure,
        other => panic!("{other}"),
    }
}

#[test]
fn a_rank_that_never_joins_is_waited_for_until_the_deadline_and_counted() {
    on_the_double(&two_devices(), || {
        let error = connect(&rank(0, &fresh_id()), Guard::within(SHORT)).map(drop).unwrap_err();
        assert_eq!(
            error.to_string(),
            "NCCL, rank 0 of 2: the 2 ranks did not all join within 300ms; look for one that did not start or cannot be \
             reached"
        );
    });
}

#[test]
fn a_job_that_is_told_to_stop_does_not_wait_for_ranks_to_join() {
    on_the_double(&two_devices(), || {
        let cancelled = Arc::new(|| Some("worker-2 was lost".to_owned()));
        let guard = Guard { cancelled, ..Guard::within(LONG) };
        let error = connect(&rank(0, &fresh_id()), guard).map(drop).unwrap_err();
        assert_eq!(failure(error), Failure::Cancelled { reason: "worker-2 was lost".to_owned() });
    });
}

/// Begins a sum that cannot end, and waits for it in the driver.
fn sum_and_wait_in_the_driver(device: &Device, communicator: &mut Communicator) -> Result<(), Error> {
    let mut values = device.buffer(1 << 18).unwrap();
    fill(device, &mut values.view_mut(), 1.0).unwrap();
    communicator.all_reduce(&mut values, 0..1 << 18)?;
    communicator.join().unwrap();
    device.synchronize().unwrap();
    communicator.check()
}

#[test]
fn a_rank_that_is_killed_amid_a_sum_ends_the_wait_of_the_others_in_the_driver() {
    // Ranks meet once to compare their calls and twice for each quarter: the fourth meeting is within the second.
    on_the_double(&two_devices().with("MUSTER_DOUBLE_NCCL_KILL", "1:4"), || {
        let body = |rank: Rank| {
            let (device, mut communicator) = connect(&rank, Guard::within(LONG)).unwrap();
            let error = sum_and_wait_in_the_driver(&device, &mut communicator).unwrap_err();
            let Failure::Nccl { call: "all_reduce", text } = failure(error) else { panic!("not NCCL's") };
            assert_eq!(text, "ncclRemoteError");
            assert!(matches!(communicator.wait(), Err(Error::Communicator { rank: 0, .. })));
        };
        let Some(ranks) = in_processes(2, fresh_id, body) else { return };
        assert!(ranks[0].passed, "{}", ranks[0].output);
        assert_eq!((ranks[1].passed, ranks[1].code), (false, None), "{}", ranks[1].output);
    });
}

#[test]
fn a_dead_rank_that_nccl_does_not_notice_ends_the_wait_at_the_deadline() {
    let suite = two_devices().with("MUSTER_DOUBLE_NCCL_KILL", "1:4").with("MUSTER_DOUBLE_NCCL_DEATH", "hang");
    on_the_double(&suite, || {
        let body = |rank: Rank| {
            let (device, mut communicator) = connect(&rank, Guard::within(Duration::from_secs(2))).unwrap();
            let error = sum_and_wait_in_the_driver(&device, &mut communicator).unwrap_err();
            let deadline = Duration::from_secs(2);
            assert_eq!(failure(error), Failure::Deadline { call: "all_reduce", deadline });
        };
        let Some(ranks) = in_processes(2, fresh_id, body) else { return };
        assert!(ranks[0].passed, "{}", ranks[0].output);
    });
}

/// Plays a rank that joins and then calls nothing until `let_go` ends.
fn idle_peer(shared: &str, let_go: &mpsc::Receiver<()>) {
    let (_device, _communicator) = connect(&rank(1, shared), Guard::within(LONG)).unwrap();
    let _ = let_go.recv();
}

#[test]
fn an_abort_from_another_thread_ends_the_wait_in_the_driver() {
    on_the_double(&two_devices(), || {
        let shared = fresh_id();
        let (told, flag) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (keep, let_go) = mpsc::channel();
        std::thread::scope(|scope| {
            let shared = shared.as_str();
            scope.spawn(move || idle_peer(shared, &let_go));
            let cancelled = {
                let (told, flag) = (Arc::clone(&told), Arc::clone(&flag));
                Arc::new(move || {
                    told.store(true, Ordering::Release);
                    flag.load(Ordering::Acquire).then(|| "the job was cancelled".to_owned())
                })
            };
            let guard = Guard { cancelled, ..Guard::within(LONG) };
            let (device, mut communicator) = connect(&rank(0, shared), guard).unwrap();
            scope.spawn(|| {
                // The watch has asked, and been told to go on.
                while !told.load(Ordering::Acquire) {
                    std::thread::yield_now();
                }
                flag.store(true, Ordering::Release);
            });
            let start = Instant::now();
            let error = sum_and_wait_in_the_driver(&device, &mut communicator).unwrap_err();
            assert_eq!(failure(error).to_string(), "aborted: the job was cancelled");
            let waited = start.elapsed();
            assert!(waited < Duration::from_secs(30), "{waited:?}: something else ended the wait");
            drop(keep);
        });
    });
}

/// Where the planted abort ends: a file of the test's.
fn release() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("nccl-abort-ends")
}

#[test]
fn an_abort_that_hangs_past_its_bound_is_told_to_the_ending() {
    let how = format!("until:{}", release().display());
    let suite = cuda::kernels().with("MUSTER_DOUBLE_NCCL_ABORT", &how);
    on_the_double(&suite, || {
        let _ = std::fs::remove_file(release());
        let (tell, told) = mpsc::channel();
        let ending = Ending::with(move |stuck| {
            tell.send(stuck.clone()).unwrap();
            std::fs::write(release(), "").unwrap();
        });
        let cancelled = Arc::new(|| Some("told to".to_owned()));
        let guard = Guard { cancelled, patience: SHORT, ending, ..Guard::within(LONG) };
        let error = connect(&rank(0, &fresh_id()), guard).map(drop).unwrap_err();
        let cause = Failure::Cancelled { reason: "told to".to_owned() };
        assert_eq!(failure(error), cause);
        let stuck = Stuck { rank: 0, world_size: 2, patience: SHORT, cause: Some(cause) };
        assert_eq!(told.recv(), Ok(stuck));
        std::fs::remove_file(release()).unwrap();
    });
}

#[test]
fn a_process_that_nccl_does_not_let_go_of_ends_with_its_own_code_and_a_line() {
    on_the_double(&two_devices().with("MUSTER_DOUBLE_NCCL_ABORT", "hang"), || {
        let body = |rank: Rank| {
            let guard = Guard { patience: SHORT, ..Guard::within(LONG) };
            let (_device, communicator) = connect(&rank, guard).unwrap();
            drop(communicator);
            panic!("the process goes on");
        };
        let Some(ranks) = in_processes(1, fresh_id, body) else { return };
        assert_eq!(ranks[0].code, Some(STUCK_EXIT_CODE), "{}", ranks[0].output);
        let line = "NCCL of rank 0 of 1 did not abort within 300ms; the process ends with exit code 75";
        assert!(ranks[0].output.contains(line), "{}", ranks[0].output);
    });
}

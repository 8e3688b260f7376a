//! Sums of dense gradients over NCCL, on the double: they equal those of the host, and no fault of a peer is waited for.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use muster_collective::AbortHandle;
use muster_cuda_double::{Mode, Modes, Order, Streams, Suite};
use muster_kernels::cuda::{Device, Settings};
use muster_proto::job::JobSpec;
use support::{Cluster, dataset, job};

/// Streams that run by themselves, and a device for each rank.
fn suite() -> Suite {
    let kernels: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernels/cuda");
    Suite::of_folder(kernels).with("MUSTER_DOUBLE_DEVICES", "4").within(Duration::from_secs(300))
}

fn by_themselves() -> Modes {
    Modes::only(Mode::plain(Order::Forward, Streams::Async))
}

fn free_job(text: &str) -> JobSpec {
    let mut job = job(text);
    job.training.max_steps = Some(4);
    job.reproducible = false;
    job
}

fn faults() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("nccl-faults")
}

/// Returns when the double has told that a rank stalls.
fn stalled() {
    while !std::fs::read_to_string(faults()).is_ok_and(|text| text.contains("stalls")) {
        std::thread::yield_now();
    }
}

#[test]
fn a_pushed_abort_ends_a_step_whose_sum_waits_for_a_peer_that_is_stuck() {
    // A sum of so few values meets three times: rank 1 stays in its second one.
    let faults = faults();
    let suite = suite()
        .with("MUSTER_DOUBLE_NCCL_STALL", "1:4")
        .with("MUSTER_DOUBLE_NCCL_ERROR", "stay")
        .with("MUSTER_DOUBLE_FAULTS", faults.to_str().unwrap());
    suite.everywhere(&by_themselves(), || {
        let _ = std::fs::remove_file(&faults);
        let (data, job, cluster) = (dataset(), free_job(""), Cluster::new(2));
        let (hand, handles) = mpsc::channel();
        let start = Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let handles: BTreeMap<usize, AbortHandle> =
                    [handles.recv().unwrap(), handles.recv().unwrap()].into();
                stalled();
                handles.values().for_each(|handle| handle.abort("worker-2 was lost"));
            });
            let errors = cluster.on_ranks(|mut collective| {
                let mut trainer = cluster.trainer(data.path(), &job, &mut *collective);
                trainer.move_to(Device::open(Settings::of(collective.rank())).unwrap()).unwrap();
                hand.send((collective.rank(), collective.abort_handle())).unwrap();
                (0..4).find_map(|_| trainer.step(0, &mut *collective).err()).unwrap()
            });
            for error in errors {
                assert!(format!("{error:?}").contains("{ reason: \"worker-2 was lost\" }"), "{error:?}");
            }
        });
        let waited = start.elapsed();
        assert!(waited < Duration::from_secs(30), "{waited:?}: NCCL's own deadline ended the wait");
    });
}

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

/// Runs a body with a planted fault, or with more devices than a machine may have: on the double only.
fn on_the_double<F: FnOnce()>(suite: &Suite, body: F) {
    for outcome in suite.outcomes(&by_themselves(), body).into_iter().flatten() {
        assert!(outcome.passed, "{}\n{}", outcome.mode, outcome.output);
    }
}

fn free_job(text: &str) -> JobSpec {
    let mut job = job(text);
    job.training.max_steps = Some(4);
    job.reproducible = false;
    job
}

/// The dense parameters of each rank after four steps, each on a device of its own.
fn trained(world: usize, text: &str) -> Vec<Vec<f32>> {
    let (data, job, cluster) = (dataset(), free_job(text), Cluster::new(world));
    cluster.on_ranks(|mut collective| {
        let mut trainer = cluster.trainer(data.path(), &job, &mut *collective);
        trainer.move_to(Device::open(Settings::of(collective.rank())).unwrap()).unwrap();
        for _ in 0..4 {
            trainer.step(0, &mut *collective).unwrap();
        }
        trainer.sync_host().unwrap();
        trainer.dense.values
    })
}

/// Three layers and a projection, so that there are four stretches of the gradient to sum.
const DEEP: &str = "[model]\nembedding_dim = 8\nhidden_size = 12\nlayers = 3\nprojection = 8\n[optimizer]\nkind = \"sgd\"\n\
    lr = 0.5\n[training]\nclip_norm = 0.1\n[batch]\n";

#[test]
fn sums_beside_the_backward_pass_equal_those_after_it() {
    // Slow links, so that an update which does not wait for a sum comes before it.
    on_the_double(&suite().with("MUSTER_DOUBLE_NCCL_DELAY", "40"), || {
        // Two ranks, so that the order of a sum over them is no matter.
        let beside = trained(2, &format!("{DEEP}gradient_bucket = 0\n"));
        let after = trained(2, &format!("{DEEP}gradient_bucket = \"1 GiB\"\n"));
        assert_eq!(beside[0], beside[1]);
        assert_eq!(beside, after);
        let alone = trained(1, DEEP);
        let worst = alone[0].iter().zip(&beside[0]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 1e-5, "a parameter is {worst} away from that of one rank");
    });
}

#[test]
fn a_rank_without_micro_batches_takes_part_in_each_sum() {
    on_the_double(&suite(), || {
        let text = format!("{DEEP}gradient_bucket = 0\nmicro_batches = 2\n");
        let (three, alone) = (trained(3, &text), trained(1, &text));
        assert!(three.iter().all(|rank| *rank == three[0]));
        let worst = alone[0].iter().zip(&three[0]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 1e-5, "a parameter is {worst} away from that of one rank");
    });
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
    on_the_double(&suite, || {
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

//! Training on a GPU: near the CPU's result, and with the same digest on any number of ranks and under any placement.
//!
//! Runs on the double of the CUDA libraries, or on a real GPU with `MUSTER_REQUIRE_CUDA=1`; ranks are threads that
//! share the first device.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod support;

use std::path::{Path, PathBuf};
use std::time::Duration;

use muster_cuda_double::{Mode, Modes, Order, Streams, Suite};
use muster_kernels::cuda::{Device, Settings};
use muster_proto::job::{JobSpec, WarmStartSpec};
use muster_worker::checkpoint::verify;
use muster_worker::warm_start::begin;
use support::{Cluster, dataset, job, wide_dataset, wide_job};

/// All heads, and tables that are input only, output only or both.
const HEADS: [&str; 6] = [
    "[model.head.softmax]\ntied = true\n",
    "[model.head.softmax]\ntied = false\nbias = false\n",
    "[model.head.sampled_softmax]\nnegatives = 20\n",
    "[model.head.sampled_softmax]\nnegatives = 20\ntied = false\n",
    "[model.head.mse]\nlabel = \"rating\"\n",
    "[model.head.bce]\nlabel = \"clicked\"\ntied = false\n",
];

/// Products over the output table with rounded operands.
const BF16: &str = "[model.head.softmax]\nprecision = \"bf16\"\n";

/// Layers, projection, features, dropout everywhere, clipping, a schedule.
const EVERYTHING: &str = "[model]\nembedding_dim = 8\nhidden_size = 12\nlayers = 2\nprojection = 8\n\
    dropout_embedding = 0.2\ndropout_layers = 0.2\ndropout_output = 0.2\n[[model.features]]\ncolumn = \"category\"\n\
    dim = 4\n[[model.features]]\ncolumn = \"rating\"\n[training]\nclip_norm = 0.1\nmax_steps = 4\n\
    [schedule]\nwarmup_steps = 3\ndecay = \"cosine\"\n[batch]\nmax_len = 4\nmicro_batches = 5\n";

fn on_the_double(modes: &Modes, body: impl FnOnce()) {
    let kernels: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernels/cuda");
    Suite::of_folder(kernels).within(Duration::from_secs(300)).everywhere(modes, body);
}

fn plain() -> Modes {
    Modes::only(Mode::plain(Order::Forward, Streams::Eager))
}

fn short(text: &str) -> JobSpec {
    let mut job = job(text);
    job.training.max_steps = Some(4);
    job
}

/// Losses of the first steps, and the parameters after them.
fn steps(data: &Path, job: &JobSpec, on_gpu: bool) -> (Vec<f64>, Vec<f32>) {
    let results = Cluster::new(1).on_ranks(|mut collective| {
        let mut trainer = Cluster::new(1).trainer(data, job, &mut *collective);
        begin(&mut trainer, &mut *collective).unwrap();
        if on_gpu {
            trainer.move_to(Device::open(Settings::of(0)).unwrap()).unwrap();
        }
        let losses = (0..4).map(|_| trainer.step(0, &mut *collective).unwrap().loss).collect();
        trainer.sync_host().unwrap();
        let shards = trainer.set.tables.iter().flat_map(|table| table.shards.values());
        let tables = shards.flat_map(|shard| shard.weight.iter().chain(&shard.bias)).copied();
        (losses, trainer.dense.values.iter().copied().chain(tables).collect())
    });
    results.into_iter().next().unwrap()
}

fn assert_near_the_cpu(what: &str, job: &JobSpec) {
    assert_within(what, job, 1e-4, 2e-4);
}

/// Losses differ by at most `of_losses` of themselves, parameters by `of_parameters`.
fn assert_within(what: &str, job: &JobSpec, of_losses: f64, of_parameters: f32) {
    let data = dataset();
    let (losses, parameters) = steps(data.path(), job, true);
    let (expected_losses, expected) = steps(data.path(), job, false);
    for (step, (loss, expected)) in losses.iter().zip(&expected_losses).enumerate() {
        let error = (loss - expected).abs() / expected.abs();
        assert!(error < of_losses, "{what}: the loss of step {step} is {loss}, the CPU's {expected}");
    }
    assert_eq!(parameters.len(), expected.len(), "{what}");
    let worst = parameters.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst < of_parameters, "{what}: a parameter is {worst} away from the CPU's");
}

fn assert_one_digest(what: &str, job: &JobSpec) {
    let data = dataset();
    let digest =
        |world| Cluster { on_gpu: true, ..Cluster::new(world) }.train(data.path(), job, None).model_digest;
    let alone = digest(1);
    for world in [2, 4] {
        assert_eq!(digest(world), alone, "{what} on {world} ranks");
    }
}

#[test]
fn a_table_that_is_cut_into_columns_is_refused_with_the_key_and_what_to_do() {
    let text = "[model.head.sampled_softmax]\nnegatives = 20\n[tables.column_blocks]\nitem = 2\n";
    on_the_double(&plain(), || {
        let data = dataset();
        let refused = Cluster::new(1).on_ranks(|mut collective| {
            let mut trainer = Cluster::new(1).trainer(data.path(), &job(text), &mut *collective);
            trainer.move_to(Device::open(Settings::of(0)).unwrap()).unwrap_err().to_string()
        });
        for words in ["tables.column_blocks.item", "--device cpu"] {
            assert!(refused[0].contains(words), "{words} is not in {}", refused[0]);
        }
    });
}

#[test]
fn a_model_that_begins_from_another_trains_as_on_the_cpu_also_while_parts_of_it_are_frozen() {
    let text = "[optimizer]\nkind = \"sgd\"\nlr = 0.5\nmomentum = 0.5\n[training]\nclip_norm = 0.2\n";
    let (data, run) = (dataset(), tempfile::tempdir().unwrap());
    Cluster::new(1).train(data.path(), &short(text), Some(run.path()));
    on_the_double(&plain(), || {
        for head in ["", "[model.head.sampled_softmax]\nnegatives = 20\n"] {
            for (freeze_tables, freeze_dense) in [(0, 0), (3, 0), (0, 3), (2, 1)] {
                let mut job = short(&format!("{text}{head}"));
                job.warm_start = Some(WarmStartSpec {
                    dataset: Some(data.path().join("data").display().to_string()),
                    freeze_tables,
                    freeze_dense,
                    ..WarmStartSpec::of(run.path().display().to_string())
                });
                assert_near_the_cpu(&format!("{head}frozen {freeze_tables} and {freeze_dense}"), &job);
            }
        }
    });
}

#[test]
fn every_head_trains_as_on_the_cpu() {
    on_the_double(&Modes::usual(), || {
        for head in HEADS {
            // Plain SGD, so that a difference stays what it is; Adam divides small gradients by small numbers.
            assert_near_the_cpu(head, &short(&format!("{head}[optimizer]\nkind = \"sgd\"\nlr = 0.5\n")));
        }
        assert_near_the_cpu("everything at once", &short(EVERYTHING));
    });
}

#[test]
fn rounded_operands_train_as_on_the_cpu_and_give_one_digest_on_any_number_of_ranks() {
    on_the_double(&plain(), || {
        let job = short(&format!("{BF16}[optimizer]\nkind = \"sgd\"\nlr = 0.5\n"));
        // The CPU rounds exps and scaled hidden states, the GPU their product: a bfloat16's 2^-9 apart, not an f32's.
        assert_within("bf16", &job, 1e-3, 2e-3);
        assert_one_digest("bf16", &short(BF16));
        assert_ne!(steps(dataset().path(), &job, true), steps(dataset().path(), &short(""), true));
    });
}

#[test]
fn every_optimizer_trains_as_on_the_cpu() {
    on_the_double(&plain(), || {
        for kind in ["sgd", "adam", "adamw", "adagrad"] {
            let optimizer = format!(
                "[optimizer]\nkind = \"{kind}\"\nlr = 0.01\nmomentum = 0.5\nweight_decay = 0.01\neps = 1e-3\n"
            );
            assert_near_the_cpu(kind, &short(&optimizer));
        }
        for kind in ["row_wise_adagrad", "lazy_adam"] {
            let tables = format!("[table_optimizer]\nkind = \"{kind}\"\nlr = 0.01\neps = 1e-3\n");
            assert_near_the_cpu(kind, &short(&tables));
            assert_near_the_cpu(
                kind,
                &short(&format!("{tables}[model.head.sampled_softmax]\nnegatives = 20\n")),
            );
        }
    });
}

#[test]
fn every_head_gives_one_digest_on_any_number_of_ranks() {
    on_the_double(&plain(), || {
        for head in HEADS {
            assert_one_digest(head, &short(head));
        }
        assert_one_digest("everything at once", &short(EVERYTHING));
        for kind in ["row_wise_adagrad", "lazy_adam"] {
            let tables =
                format!("[table_optimizer]\nkind = \"{kind}\"\nlr = 0.01\n[training]\nclip_norm = 0.05\n");
            assert_one_digest(
                kind,
                &short(&format!("{tables}[model.head.sampled_softmax]\nnegatives = 20\n")),
            );
        }
    });
}

#[test]
fn every_placement_gives_the_same_digest() {
    on_the_double(&plain(), || {
        let data = dataset();
        let digest = |placement: &str| {
            let job = short(&format!("[tables.placement]\nitem = \"{placement}\"\n"));
            Cluster { on_gpu: true, ..Cluster::new(2) }.train(data.path(), &job, None).model_digest
        };
        let row_wise = digest("row_wise");
        assert_eq!(digest("table_wise"), row_wise);
        assert_eq!(digest("data_parallel"), row_wise);
    });
}

#[test]
fn tables_in_the_hosts_memory_train_to_the_digest_of_tables_on_the_device() {
    on_the_double(&plain(), || {
        let job = |kind: &str, cache: &str| {
            short(&format!(
                "[model.head.sampled_softmax]\nnegatives = 20\ntied = false\n[[model.features]]\ncolumn = \"category\"\ndim = 4\n\
                 [table_optimizer]\nkind = \"{kind}\"\nlr = 0.01\n[training]\nclip_norm = 0.05\n{cache}"
            ))
        };
        let data = dataset();
        let digest = |job: &JobSpec, world| {
            Cluster { on_gpu: true, ..Cluster::new(world) }.train(data.path(), job, None).model_digest
        };
        for kind in ["row_wise_adagrad", "lazy_adam"] {
            let on_device = digest(&job(kind, ""), 1);
            // Room for no row, for fewer than a step needs, and for all.
            for bytes in [0, 600, 1 << 20] {
                let cache =
                    format!("[tables.device_cache]\nitem = {bytes}\noutput = {bytes}\ncategory = 64\n");
                for world in [1, 3] {
                    let hosted = digest(&job(kind, &cache), world);
                    assert_eq!(hosted, on_device, "{kind}, {bytes} bytes of cache, {world} ranks");
                }
            }
        }
    });
}

#[test]
fn a_run_that_stops_and_goes_on_on_a_gpu_ends_as_if_never_stopped() {
    on_the_double(&plain(), || {
        let (data, job, run) = (dataset(), job(""), tempfile::tempdir().unwrap());
        let on_gpu = |world, generation| Cluster { generation, on_gpu: true, ..Cluster::new(world) };
        let whole = on_gpu(1, 1).train(data.path(), &job, None);
        assert!(on_gpu(2, 1).train_until(data.path(), &job, run.path(), 3).drained);
        let resumed = on_gpu(3, 2).train(data.path(), &job, Some(run.path()));
        assert_eq!((resumed.steps, resumed.model_digest), (whole.steps, whole.model_digest));
    });
}

#[test]
fn a_checkpoint_of_a_gpu_goes_on_on_the_cpu_and_back() {
    on_the_double(&plain(), || {
        let (data, job, run) = (dataset(), job(""), tempfile::tempdir().unwrap());
        let run = run.path();
        let begun = Cluster { on_gpu: true, ..Cluster::new(2) }.train_until(data.path(), &job, run, 3);
        assert!(begun.drained);
        let second = Cluster { generation: 2, ..Cluster::new(1) }.train_until(data.path(), &job, run, 3);
        let third =
            Cluster { generation: 3, on_gpu: true, ..Cluster::new(3) }.train(data.path(), &job, Some(run));
        assert!(second.steps > begun.steps && third.steps > second.steps);
        let whole = Cluster::new(1).train(data.path(), &job, None);
        assert_eq!(third.steps, whole.steps);
        assert_eq!(third.test.users, whole.test.users);
    });
}

#[test]
fn increments_of_a_gpu_have_all_rows_that_it_wrote() {
    let data = wide_dataset();
    // What the writer digested is the whole piece as it was: a row that was not noted would show.
    on_the_double(&plain(), || {
        for text in ["", "[tables.device_cache]\nitem = \"8KiB\"\n"] {
            let job = wide_job(&format!("[checkpoint]\nevery_steps = 2\n{text}"));
            let run = tempfile::tempdir().unwrap();
            Cluster { on_gpu: true, ..Cluster::new(2) }.train(data.path(), &job, Some(run.path()));
            let verdict = verify(run.path(), None).unwrap();
            assert_eq!((verdict.increments, verdict.problems), (2, Vec::new()), "{text}");
        }
    });
}

//! The real program on GPUs, and on a machine without one.
//!
//! Worker processes train on the double of the CUDA libraries, which has four devices; with `MUSTER_REQUIRE_CUDA=1` on
//! those of the machine.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot be set up has failed, or says why it is skipped"
)]

use std::ffi::OsString;
use std::net::TcpListener;
use std::path::Path;

use muster_cuda_double::{Error, Sanitizer, Suite};
use muster_tests::binary::run_command;
use muster_tests::folder::Folder;
use muster_tests::process::{Running, signal, wait_for};
use muster_tests::refusal::{Refusal, assert_refused};
use muster_tests::small::prepared;
use serde_json::Value;

/// The program under test.
const MUSTER: &str = env!("CARGO_BIN_EXE_muster-under-test");

/// What a program needs to run on the double; none, aloud, where it cannot be built.
fn gpus() -> Option<Vec<(&'static str, OsString)>> {
    if std::env::var_os("MUSTER_REQUIRE_CUDA").is_some() {
        return Some(Vec::new());
    }
    let kernels = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernels/cuda");
    match Suite::of_folder(kernels).build(Sanitizer::Plain) {
        Ok(double) => {
            let mut variables = double.env();
            variables.push(("MUSTER_DOUBLE_DEVICES", "4".into()));
            Some(variables)
        }
        Err(error @ (Error::NoCompiler { .. } | Error::Platform { .. }))
            if std::env::var_os("MUSTER_REQUIRE_ALL").is_none() =>
        {
            println!("skipped: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

fn result(folder: &Folder, variables: &[(&'static str, OsString)], args: &[&str]) -> Value {
    let mut command = folder.command(args);
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    run_command(&mut command).expect_success().json()
}

fn train<'a>(out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["train", "job.toml", "--dataset", "prepared", "--out", out], more].concat()
}

fn metric(run: &Value, name: &str) -> f64 {
    run["metrics"][name].as_f64().unwrap()
}

#[test]
fn one_and_four_worker_processes_train_the_same_model_on_gpus() {
    let Some(variables) = gpus() else { return };
    let folder = prepared(MUSTER);
    let on_cpu = result(&folder, &[], &train("cpu", &["--device", "cpu"]));
    let one = result(&folder, &variables, &train("one", &["--device", "cuda"]));
    let four = result(&folder, &variables, &train("four", &["--device", "cuda", "--workers", "4"]));
    assert_eq!(one["model_digest"], four["model_digest"]);
    assert_ne!(one["model_digest"], on_cpu["model_digest"], "a GPU was not used");
    for run in [&one, &four] {
        assert_eq!((&run["steps"], &run["samples"]), (&on_cpu["steps"], &on_cpu["samples"]));
        let difference = (metric(run, "NDCG@10") - metric(&on_cpu, "NDCG@10")).abs();
        assert!(difference < 0.02, "NDCG@10 is {difference} away from the CPU's");
    }
    assert_eq!(result(&folder, &variables, &["verify", "four"])["ok"], true);
    let manifest =
        std::fs::read_to_string(Path::new(one["checkpoint"].as_str().unwrap()).join("manifest.json"));
    assert!(manifest.unwrap().contains("muster-1-cuda"));
}

#[test]
fn gradients_go_over_nccl_where_the_order_of_sums_is_free() {
    let Some(variables) = gpus() else { return };
    let folder = prepared(MUSTER);
    let in_order = result(&folder, &variables, &train("order", &["--device", "cuda"]));
    let free = ["--device", "cuda", "--workers", "2", "--set", "reproducible=false", "--log-level", "debug"];
    let free = result(&folder, &variables, &train("free", &free));
    let difference = (metric(&free, "NDCG@10") - metric(&in_order, "NDCG@10")).abs();
    assert!(difference < 0.02, "NDCG@10 differs by {difference}");
    let log = std::fs::read_to_string(folder.at("free/logs/worker-0.log")).unwrap();
    assert!(!log.contains("through host memory"), "{log}");
}

#[test]
fn the_coordinator_shows_which_gpu_each_worker_has_and_whom_it_reaches() {
    let Some(mut variables) = gpus() else { return };
    variables.push(("MUSTER_DOUBLE_PEERS", "2".into()));
    let folder = prepared(MUSTER);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (listen, url) = (format!("127.0.0.1:{port}"), format!("http://127.0.0.1:{port}"));
    let coordinator = Running::start(&mut folder.command(&["coordinator", "--listen", &listen]));
    // On a machine with fewer GPUs, the worker takes the first.
    let number = if variables.len() > 1 { "1" } else { "0" };
    let args = ["worker", "--coordinator", &url, "--threads", "1", "--device", "cuda", "--gpu", number];
    let mut command = folder.command(&args);
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    let worker = Running::start(&mut command);
    let gpu = wait_for("the worker to register", || {
        let outcome = folder.muster(&["workers", "list", "--coordinator", &url]);
        let workers = (outcome.code == Some(0)).then(|| outcome.json())?;
        workers["workers"].as_array()?.first().map(|worker| worker["capabilities"]["gpu"].clone())
    });
    assert_eq!(gpu["ordinal"].to_string(), number, "{gpu}");
    assert!(
        !gpu["pci_bus_id"].as_str().unwrap().is_empty() && gpu["memory_bytes"].as_u64().unwrap() > 0,
        "{gpu}"
    );
    let mut list = std::process::Command::new(MUSTER);
    let text = run_command(list.args(["workers", "list", "--coordinator", &url])).expect_success().stdout;
    assert!(text.contains(gpu["name"].as_str().unwrap()), "{text}");
    if number == "1" {
        assert_eq!(gpu["direct_peers"], serde_json::json!(["0000:01:00.0"]));
        assert!(text.contains("2.0 GiB, sm 9.0, 0000:02:00.0, reaches 1 of 3"), "{text}");
    }
    signal("TERM", worker.id());
    assert_eq!(worker.end().0, Some(0));
    signal("TERM", coordinator.id());
    assert_eq!(coordinator.end().0, Some(0));
}

#[test]
fn a_machine_without_a_gpu_says_so_in_one_sentence() {
    if std::env::var_os("MUSTER_REQUIRE_CUDA").is_some() {
        println!("skipped: this machine has a GPU");
        return;
    }
    let folder = prepared(MUSTER);
    let refused = folder.muster(&train("run", &["--device", "cuda"]));
    let words = &["CUDA cannot be used", "no NVIDIA driver"];
    assert_refused(&refused, Refusal { code: 2, file: "", field: "--device", words });
    assert!(!folder.at("run").exists(), "a refused run leaves no folder");

    let args = train("run", &["--device", "auto"]);
    let mut command = std::process::Command::new(MUSTER);
    let outcome = run_command(command.args(&args).current_dir(folder.path())).expect_success();
    assert!(outcome.stderr.contains("training on the CPU: CUDA cannot be used"), "{outcome:#?}");
}

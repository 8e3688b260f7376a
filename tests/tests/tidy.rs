//! The repository's habits as tests: arrows between crates, sizes, module docs, fences around `unsafe`.
//!
//! A rule that cannot be kept is argued in ARCHITECTURE.md, not worked around here.

use muster_tests::source::{RustFile, is_code, manifests, root, rust_files};

/// Which crates of the workspace a crate may see. `muster-tests` and `muster-cli` may see all below them.
const ARROWS: &[(&str, &[&str])] = &[
    ("muster-proto", &[]),
    ("muster-kernels", &["muster-cuda-double"]),
    // A dev-dependency of whoever tests the CUDA path, never of the product.
    ("muster-cuda-double", &[]),
    ("muster-collective", &[]),
    ("muster-objects", &[]),
    ("muster-collect", &["muster-proto"]),
    ("muster-data", &["muster-objects", "muster-proto"]),
    ("muster-core", &["muster-proto"]),
    (
        "muster-worker",
        &[
            // A worker judges candidates by the rules that the coordinator goes by.
            "muster-core",
            "muster-kernels",
            "muster-proto",
            "muster-data",
            "muster-objects",
            "muster-collective",
            "muster-cuda-double",
        ],
    ),
    ("muster-coordinator", &["muster-core", "muster-proto"]),
    (
        "muster-cli",
        &[
            "muster-coordinator",
            "muster-core",
            "muster-worker",
            "muster-data",
            "muster-collect",
            "muster-collective",
            "muster-kernels",
            "muster-proto",
        ],
    ),
    (
        "muster-tests",
        &[
            "muster-cli",
            "muster-coordinator",
            "muster-core",
            "muster-worker",
            "muster-data",
            "muster-collect",
            "muster-collective",
            "muster-kernels",
            "muster-cuda-double",
            "muster-proto",
        ],
    ),
];

/// Crates from outside that only these crates may use directly.
const KEEPERS: &[(&str, &[&str])] = &[
    ("cudarc", &["muster-kernels", "muster-cuda-double"]),
    // It needs a `protoc` to build; coordinator/proto/etcd.proto is the client.
    ("etcd-client", &[]),
    ("axum", &["muster-coordinator", "muster-worker", "muster-collect"]),
    ("object_store", &["muster-objects"]),
];

/// Crates that must stay free of an async runtime: they decide, compute, or block on purpose.
const WITHOUT_RUNTIME: &[&str] = &["muster-core", "muster-kernels", "muster-collective", "muster-data"];

/// The only files with `unsafe`, and what it is there for.
const UNSAFE_FILES: &[(&str, &str)] = &[
    ("kernels/double/tests/device/mod.rs", "launches the double's kernels with planted faults"),
    ("kernels/double/tests/good.rs", "launches the double's own kernels"),
    ("kernels/double/tests/planted_host.rs", "makes the mistakes that the double has to find"),
    ("kernels/double/tests/ranks.rs", "joins a communicator without blocking"),
    ("kernels/src/cuda/blas.rs", "calls of cuBLAS"),
    ("kernels/src/cuda/launch.rs", "hands addresses to kernels, whose signatures it checks"),
    ("kernels/src/cuda/memory.rs", "copies to, from and on the device"),
    ("kernels/src/cuda/memory/pool.rs", "allocates and frees device memory"),
    ("kernels/src/cuda/module.rs", "loads the kernels' machine code"),
    ("kernels/src/cuda/nccl.rs", "calls of NCCL"),
    ("kernels/src/cuda/nccl/ending.rs", "ends the process without its exit handlers"),
    ("kernels/src/cuda/nccl/raw.rs", "makes, asks and aborts a bare communicator"),
    ("kernels/src/cuda/pinned.rs", "page-locked memory, which the driver allocates"),
    ("kernels/src/cuda/probe.rs", "tries to load NVIDIA's libraries"),
    ("kernels/src/cuda/topology.rs", "asks the driver about devices that are not open"),
    ("kernels/src/embedding/memory.rs", "page-aligned memory on huge pages"),
    ("kernels/src/isa.rs", "calls the versions of an op that a check at run time allows"),
    ("kernels/src/isa/x86.rs", "vector intrinsics and raw loads"),
    ("kernels/src/prefetch.rs", "the prefetch instruction takes a raw pointer"),
    ("worker/collective/src/shm/region.rs", "maps memory that other processes write"),
    ("worker/collective/src/shm/stream.rs", "turns slots of shared memory into slices"),
    ("worker/src/allocator.rs", "asks the C library's allocator to give memory back"),
];

/// The most lines of code in one file, tests, blanks and comments not counted.
const LONGEST_FILE: usize = 400;

fn assert_none(findings: &[String], rule: &str) {
    assert!(findings.is_empty(), "{rule}:\n  {}", findings.join("\n  "));
}

/// This file names what it forbids, so the text rules pass over it.
fn files_under_rules() -> Vec<RustFile> {
    rust_files().into_iter().filter(|file| file.path != "tests/tests/tidy.rs").collect()
}

#[test]
fn crates_see_only_the_crates_below_them() {
    let mut findings = Vec::new();
    for manifest in manifests() {
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == manifest.name) else {
            findings.push(format!("{}: crate {} has no row in ARROWS", manifest.path, manifest.name));
            continue;
        };
        for dependency in manifest.dependencies() {
            if dependency.starts_with("muster-") && !allowed.contains(&dependency.as_str()) {
                findings.push(format!("{}: {} -> {dependency}", manifest.path, manifest.name));
            }
        }
    }
    assert_none(&findings, "arrows point downward (ARCHITECTURE.md)");
}

#[test]
fn the_product_never_sees_the_double_of_cuda() {
    let mut findings = Vec::new();
    for manifest in manifests().iter().filter(|manifest| manifest.name != "muster-tests") {
        let product = ["dependencies", "build-dependencies"].map(|kind| manifest.toml.get(kind));
        if product.into_iter().flatten().any(|table| table.get("muster-cuda-double").is_some()) {
            findings.push(manifest.path.clone());
        }
    }
    assert_none(&findings, "muster-cuda-double is a dev-dependency");
}

#[test]
fn crates_that_decide_or_compute_have_no_async_runtime() {
    let mut findings = Vec::new();
    for manifest in manifests().iter().filter(|m| WITHOUT_RUNTIME.contains(&m.name.as_str())) {
        let runtime = |name: &&String| name.starts_with("tokio") || name.starts_with("tonic");
        findings.extend(
            manifest.dependencies().iter().filter(runtime).map(|d| format!("{}: {d}", manifest.path)),
        );
    }
    assert_none(&findings, "no async runtime here");
}

#[test]
fn outside_crates_stay_with_their_keepers() {
    let mut findings = Vec::new();
    for manifest in manifests() {
        for (outside, keepers) in KEEPERS {
            let used = manifest.dependencies().iter().any(|d| d == outside);
            if used && !keepers.contains(&manifest.name.as_str()) {
                findings.push(format!("{}: {outside} belongs to {}", manifest.path, keepers.join(", ")));
            }
        }
    }
    assert_none(&findings, "one keeper per outside crate");
}

#[test]
fn every_crate_takes_the_lints_of_the_workspace() {
    let lints_of_workspace = |manifest: &muster_tests::source::Manifest| {
        manifest.toml.get("lints").and_then(|l| l.get("workspace")).and_then(toml::Value::as_bool)
            == Some(true)
    };
    let without: Vec<String> =
        manifests().into_iter().filter(|m| !lints_of_workspace(m)).map(|m| m.path).collect();
    assert_none(&without, "`[lints] workspace = true` is missing");
}

#[test]
fn every_module_says_what_it_is_for() {
    let silent = rust_files().into_iter().filter(|f| !f.text.starts_with("//!")).map(|f| f.path);
    assert_none(&silent.collect::<Vec<_>>(), "a file opens with `//!` and its purpose");
}

#[test]
fn no_file_grows_past_its_limit_without_a_reason() {
    let mut findings = Vec::new();
    for file in rust_files() {
        let n_lines = if file.is_test() {
            file.numbered().filter(|(_, line)| is_code(line)).count()
        } else {
            file.product_lines().filter(|(_, line)| is_code(line)).count()
        };
        let limit_line = format!("Longer than {LONGEST_FILE} lines because");
        if n_lines > LONGEST_FILE && !file.header().contains(&limit_line) {
            findings.push(format!("{}: {n_lines} code lines", file.path));
        }
    }
    assert_none(&findings, &format!("at most {LONGEST_FILE} code lines, or the header says why"));
}

#[test]
fn unsafe_code_stands_only_in_the_listed_files() {
    let has_unsafe = |file: &RustFile| {
        let word = |line: &str| line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|w| w == "unsafe");
        file.numbered().any(|(_, line)| is_code(line) && word(line))
    };
    let mut findings = Vec::new();
    for file in files_under_rules() {
        let listed = UNSAFE_FILES.iter().any(|(path, _)| *path == file.path);
        match (has_unsafe(&file), listed) {
            (true, false) => findings.push(format!("{}: not listed in UNSAFE_FILES", file.path)),
            (false, true) => findings.push(format!("{}: listed, but has no unsafe code", file.path)),
            _ => {}
        }
    }
    for (path, reason) in UNSAFE_FILES {
        if !root().join(path).is_file() {
            findings.push(format!("{path}: listed ({reason}), but not there"));
        }
    }
    assert_none(&findings, "unsafe code is fenced");
}

#[test]
fn tests_never_sleep_and_are_never_ignored() {
    let mut findings = Vec::new();
    for file in files_under_rules() {
        for (number, line) in file.test_lines().filter(|(_, line)| is_code(line)) {
            if line.contains("sleep(") || line.contains("#[ignore") || line.contains("#[should_panic") {
                findings.push(format!("{}:{number}: {}", file.path, line.trim()));
            }
        }
    }
    assert_none(&findings, "wait for a condition with a deadline; run every test; match on errors");
}

#[test]
fn nothing_is_left_to_do_in_the_text() {
    let mut findings = Vec::new();
    for file in files_under_rules() {
        for (number, line) in file.numbered() {
            if ["TODO", "FIXME", "XXX", "HACK"].iter().any(|mark| line.contains(mark)) {
                findings.push(format!("{}:{number}: {}", file.path, line.trim()));
            }
        }
    }
    assert_none(&findings, "an open end is an issue, not a comment");
}

#[test]
fn log_messages_are_lower_case_and_carry_fields() {
    let levels = ["error!(", "warn!(", "info!(", "debug!(", "trace!("];
    let mut findings = Vec::new();
    for file in files_under_rules() {
        for (number, line) in file.product_lines().filter(|(_, line)| is_code(line)) {
            let Some(call) = levels.iter().find_map(|level| line.split_once(level)) else { continue };
            let message = call.1.rsplit_once('"').and_then(|(head, _)| head.rsplit_once('"')).map(|(_, m)| m);
            let capital = message.and_then(|m| m.chars().next()).is_some_and(char::is_uppercase);
            let formatted = message.is_some_and(|m| m.contains('{'));
            if capital || formatted {
                findings.push(format!("{}:{number}: {}", file.path, line.trim()));
            }
        }
    }
    assert_none(&findings, "log lower case, with fields instead of formatted text");
}

#[test]
fn no_room_is_named_after_nothing() {
    let nameless = ["utils.rs", "util.rs", "common.rs", "helpers.rs", "misc.rs", "manager.rs", "base.rs"];
    let found =
        rust_files().into_iter().filter(|f| nameless.iter().any(|n| f.path.ends_with(&format!("/{n}"))));
    assert_none(&found.map(|f| f.path).collect::<Vec<_>>(), "name a file after what it holds");
}

#[test]
fn the_map_names_only_places_that_are_there() {
    let map = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap_or_default();
    let quoted = map.split('`').skip(1).step_by(2);
    let is_path =
        |text: &&str| text.contains('/') && !text.contains([' ', '*', '<']) && !text.contains("NAME");
    let missing = quoted.filter(is_path).filter(|path| !root().join(path).exists()).map(str::to_owned);
    assert_none(&missing.collect::<Vec<_>>(), "ARCHITECTURE.md points at what is there");
}

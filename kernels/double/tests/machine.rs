//! What a machine lacks is said: no compiler, a source that does not compile, two kernels of one name.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use muster_cuda_double::{Error, Modes, Sanitizer, Suite, build};

/// Runs the next test of this file again, with a compiler that is not there.
fn without_compiler(require_all: &str) -> Output {
    let mut command = Command::new(std::env::current_exe().expect("a test runs"));
    command.args(["the_body_of_a_test_on_this_machine", "--exact", "--nocapture"]);
    command.env("MUSTER_CXX", "/nowhere/g++").env("MUSTER_REQUIRE_ALL", require_all);
    command.output().expect("a test starts")
}

#[test]
fn the_body_of_a_test_on_this_machine() {
    Suite::of(Vec::new()).everywhere(&Modes::usual(), || {});
}

#[test]
fn without_a_compiler_a_test_is_passed_over_aloud() {
    let output = without_compiler("0");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}");
    assert!(text.contains("passed over: the compiler /nowhere/g++ cannot be run"), "{text}");
}

#[test]
fn without_a_compiler_a_test_fails_where_all_are_required() {
    assert!(!without_compiler("1").status.success());
}

/// A folder of its own under cargo's for tests.
fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&folder).expect("cargo's folder can be written");
    folder
}

fn write(folder: &str, files: &[(&str, &str)]) -> Vec<PathBuf> {
    let folder = self::folder(folder);
    let write = |(name, text): &(&str, &str)| {
        let path = folder.join(name);
        fs::write(&path, text).expect("cargo's folder can be written");
        path
    };
    files.iter().map(write).collect()
}

#[test]
fn a_source_that_does_not_compile_is_named_with_the_compiler_s_words() {
    let sources =
        write("broken", &[("broken.cu", "extern \"C\" __global__ void broken_kernel(int n) { nonsense; }")]);
    match build(&sources, Sanitizer::Plain, &folder("broken-out")) {
        Err(Error::Compile { output, .. }) => {
            assert!(output.contains("broken.cu:1") && output.contains("nonsense"));
        }
        Err(error) if error.is_missing_tool() => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn two_kernels_of_one_name_are_refused() {
    let text = "extern \"C\" __global__ void twin_kernel(int n) {}";
    match build(&write("twins", &[("a.cu", text), ("b.cu", text)]), Sanitizer::Plain, &folder("twins-out")) {
        Err(Error::KernelTwice { name, .. }) => assert_eq!(name, "twin_kernel"),
        Err(error) if error.is_missing_tool() => {}
        other => panic!("{other:?}"),
    }
}

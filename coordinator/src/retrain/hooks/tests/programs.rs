//! Programs that end well, badly, and not at all.

use std::fs::{self, File, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::*;

/// How long what has to happen may take on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// A hook `it` that is this script.
fn script(text: &str) -> Hooks {
    let text = toml_text(text);
    hooks(&format!("[hooks.it]\nkind = \"command\"\ncommand = [\"/bin/sh\", \"-c\", {text}]\n"))
}

fn toml_text(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

#[tokio::test]
async fn a_program_is_told_in_json_and_in_variables_which_model_is_to_be_in_service() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let told = format!("cat > '{}'; env > '{}'", path("input"), path("variables"));
    let text = format!(
        "[hooks.it]\nkind = \"command\"\ncommand = [\"/bin/sh\", \"-c\", {}]\nenvironment = {{ FLEET = \"eu\" }}\n",
        toml_text(&told)
    );
    hooks(&text).call("it", &call(7, "/runs/shop/checkpoint")).await.unwrap();
    let input: Value = serde_json::from_str(&fs::read_to_string(path("input")).unwrap()).unwrap();
    let expected = json!({
        "stage": "promote", "model": "shop", "version": 7, "checkpoint": "/runs/shop/checkpoint", "dataset": "/data/shop",
        "model_digest": "d1", "run": "00ff", "idempotency": "00ff:promote",
    });
    assert_eq!(input, expected);
    let variables = fs::read_to_string(path("variables")).unwrap();
    let has = |line: &str| variables.lines().any(|there| there == line);
    assert!(
        has("FLEET=eu") && has("MUSTER_HOOK_VERSION=7") && has("MUSTER_HOOK_STAGE=promote"),
        "{variables}"
    );
    // Cargo sets it for tests; a hook has no business with the coordinator's environment.
    assert!(!variables.contains("CARGO_MANIFEST_DIR"), "{variables}");
}

#[tokio::test]
async fn a_program_that_fails_is_told_with_its_code_and_what_it_said_in_order() {
    let hooks = script("echo first; echo second >&2; exit 3");
    let error = hooks.call("it", &call(1, "/c")).await.unwrap_err().to_string();
    assert!(error.contains("exit status: 3") && error.contains("first\nsecond"), "{error}");
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named() {
    let hooks = hooks("[hooks.it]\nkind = \"command\"\ncommand = [\"/nowhere/deploy\", \"now\"]\n");
    let error = hooks.call("it", &call(1, "/c")).await.unwrap_err();
    assert!(
        matches!(&error, HookError::Start { program, .. } if program == "/nowhere/deploy now"),
        "{error}"
    );
}

#[tokio::test]
async fn of_a_program_that_says_much_the_end_is_kept() {
    let hooks = script("head -c 1000000 /dev/zero | tr '\\0' x; echo the end; exit 1");
    let error = hooks.call("it", &call(1, "/c")).await.unwrap_err();
    let HookError::Failed { output, .. } = error else { panic!("{error}") };
    assert_eq!(output.len(), KEPT);
    assert!(output.ends_with("the end\n"));
}

/// A pipe with a name, that all processes of a script hold open: who reads it sees its end when the last of them has gone.
fn fifo(folder: &Path) -> String {
    let path = folder.join("held");
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    path.display().to_string()
}

/// Says that it is there, starts a process of its own, and waits for it.
fn hanging(fifo: &str) -> Hooks {
    script(&format!("exec 9> '{fifo}'; sleep 600 & echo hanging; echo started >&9; wait"))
}

/// Waits until the script said that it is there. While this runs, a clock that stands still does not jump ahead.
async fn started(fifo: String) -> File {
    let open = move || {
        let mut file = File::open(fifo).unwrap();
        let mut word = [0; 8];
        file.read_exact(&mut word).unwrap();
        assert_eq!(&word, b"started\n");
        file
    };
    tokio::task::spawn_blocking(open).await.unwrap()
}

/// Sees the end of all processes of the script.
fn sees_the_end_of(fifo: &str, held: File) {
    let flags = OFlags::NONBLOCK.bits() as i32;
    let mut file = OpenOptions::new().read(true).custom_flags(flags).open(fifo).unwrap();
    drop(held);
    let until = Instant::now() + PATIENCE;
    loop {
        match file.read(&mut [0; 8]) {
            Ok(0) => return,
            other => assert!(Instant::now() < until, "some process is still there: {other:?}"),
        }
        std::thread::yield_now();
    }
}

#[tokio::test(start_paused = true)]
async fn a_program_that_hangs_is_ended_at_its_deadline_with_all_that_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = fifo(folder.path());
    let hooks = hanging(&fifo);
    let matter = call(1, "/c");
    let (called, held) = tokio::join!(hooks.call("it", &matter), started(fifo.clone()));
    let error = called.unwrap_err();
    assert!(
        matches!(error, HookError::Deadline { deadline, .. } if deadline == Duration::from_secs(300)),
        "{error}"
    );
    assert!(error.to_string().contains("said: hanging"), "{error}");
    sees_the_end_of(&fifo, held);
}

#[tokio::test]
async fn a_program_that_nobody_waits_for_any_more_is_ended_with_all_that_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = fifo(folder.path());
    let hooks = hanging(&fifo);
    let matter = call(1, "/c");
    let held = tokio::select! {
        called = hooks.call("it", &matter) => panic!("it ended: {called:?}"),
        held = started(fifo.clone()) => held,
    };
    sees_the_end_of(&fifo, held);
}

#[tokio::test]
async fn what_a_program_leaves_running_on_purpose_stays_and_keeps_nobody_waiting() {
    let hooks = script("sleep 600 & echo $!; exit 3");
    let error = hooks.call("it", &call(1, "/c")).await.unwrap_err();
    let HookError::Failed { output, .. } = error else { panic!("{error}") };
    let left = Pid::from_raw(output.trim().parse().unwrap()).unwrap();
    kill_process(left, Signal::KILL).unwrap();
}

#[tokio::test]
async fn a_program_that_reads_nothing_and_closes_its_output_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("mark");
    let hooks = script(&format!("exec 0<&- >&- 2>&-; : > '{}'", mark.display()));
    hooks.call("it", &call(1, &"/c".repeat(100_000))).await.unwrap_err();
    hooks.call("it", &call(1, "/c")).await.unwrap();
    assert!(mark.exists());
}

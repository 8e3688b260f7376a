//! A process that adds to a base is killed at every stage: the base is as before or has all of the increment, and goes on.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use muster_tests::folder::Folder;

const SECONDS: u64 = 60;

fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_muster-under-test"));
    command.current_dir(folder).args(args).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Kills a process as soon as `is_due`; false where it ended before.
fn kill_when(mut command: Command, is_due: impl Fn() -> bool) -> bool {
    let mut child = command.spawn().expect("a process that starts");
    let deadline = Instant::now() + Duration::from_secs(SECONDS);
    let was_due = loop {
        if is_due() {
            break true;
        }
        if child.try_wait().expect("a child").is_some() {
            break false;
        }
        assert!(Instant::now() < deadline, "the process neither comes to the stage nor ends");
        std::hint::spin_loop();
    };
    let _ = child.kill();
    child.wait().expect("a child that ended");
    was_due
}

#[test]
fn a_base_holds_an_increment_whole_or_not_at_all_when_its_process_is_killed() {
    let folder = Folder::new(env!("CARGO_BIN_EXE_muster-under-test"));
    let dir = folder.path();
    folder.result(&[
        "generate",
        "--kind",
        "shop",
        "--out",
        "log",
        "--events",
        "60000",
        "--set",
        "files=2",
        "--set",
        "dirt.rate=0.05",
    ]);
    let add = |file: &str| -> Vec<String> {
        ["prepare", "log/dataset.toml", "--into", "base", "--set"]
            .map(str::to_owned)
            .into_iter()
            .chain([format!("input=log/{file}")])
            .collect()
    };
    let cut = || {
        folder.result(&["prepare", "log/dataset.toml", "--from", "base", "--out", "cut"])["digest"].clone()
    };
    let run = |args: &[String]| folder.result(&args.iter().map(String::as_str).collect::<Vec<_>>());
    let (first, second) = (add("events-00000.csv"), add("events-00001.csv"));
    run(&first);
    let before = cut();
    let whole = folder.result(&["prepare", "log/dataset.toml", "--out", "whole"])["digest"].clone();
    let base = dir.join("base");
    let manifest = || std::fs::read(base.join("base.json")).unwrap_or_default();
    let stage = |path: &str| base.join(path).exists();
    let old = manifest();
    // Each stage by what can be seen of it: rows are read, keys written, the folder in place, the manifest replaced.
    let stages: [(&str, &dyn Fn() -> bool); 5] = [
        ("reading", &|| stage("adding")),
        ("spilled", &|| stage("adding/spill-00000")),
        ("keys", &|| stage("adding/items.arrow")),
        ("renamed", &|| stage("increment-00001")),
        ("named", &|| manifest() != old),
    ];
    let mut seen = Vec::new();
    for (name, is_due) in stages {
        let args: Vec<&str> = second.iter().map(String::as_str).collect();
        seen.push((name, kill_when(command(dir, &args), is_due)));
        let digest = cut();
        let is_in = manifest() != old;
        assert_eq!(digest, if is_in { whole.clone() } else { before.clone() }, "killed at {name}");
        if is_in {
            std::fs::remove_dir_all(base.join("increment-00001")).expect("an increment");
            std::fs::write(base.join("base.json"), &old).expect("the manifest of before");
        }
    }
    assert!(seen.iter().filter(|(_, was_due)| *was_due).count() >= 3, "too few stages were met: {seen:?}");
    run(&second);
    assert_eq!(cut(), whole);
    // Nothing is left of those that were killed.
    let names = std::fs::read_dir(&base).expect("the base").map(|entry| entry.expect("a name").file_name());
    let mut names: Vec<String> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    names.retain(|name| !name.starts_with(".tmp"));
    names.sort();
    assert_eq!(names, ["base.json", "increment-00000", "increment-00001", "lock"]);
}

//! Runs the scripts in `testdata/`: what happens, then `----`, then what the core wants done.
//!
//! `MUSTER_UPDATE=1` writes what the core does now into the scripts, for review as a diff.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod script;

use std::fmt::Write as _;
use std::path::Path;

use script::World;

/// Plays one script and returns it with what the core really did.
fn play(text: &str) -> String {
    let mut world = World::default();
    let mut played = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        writeln!(played, "{line}").unwrap();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut done = world.command(line);
        while let Some(command) = lines.next_if(|line| !line.starts_with("----")) {
            writeln!(played, "{command}").unwrap();
            done.extend(world.command(command));
        }
        lines.next().unwrap_or_else(|| panic!("`{line}` is not followed by ----"));
        writeln!(played, "----").unwrap();
        // What was expected goes up to the next empty line; what happened takes its place.
        while lines.next_if(|line| !line.is_empty()).is_some() {}
        done.iter().for_each(|line| writeln!(played, "{line}").unwrap());
    }
    played
}

#[test]
fn every_script_ends_as_it_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let update = std::env::var_os("MUSTER_UPDATE").is_some();
    let mut differing = Vec::new();
    let mut scripts: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    scripts.sort();
    assert!(scripts.len() >= 10, "the scripts are missing");
    for script in scripts {
        let expected = std::fs::read_to_string(&script).unwrap();
        let played = play(&expected);
        if update {
            std::fs::write(&script, played).unwrap();
        } else if let Some(line) = first_difference(&expected, &played) {
            differing.push(format!("{}: {line}", script.display()));
        }
    }
    assert!(differing.is_empty(), "{}\n(MUSTER_UPDATE=1 accepts what the core does)", differing.join("\n"));
}

fn first_difference(expected: &str, played: &str) -> Option<String> {
    let pairs = (1..).zip(expected.lines().chain(std::iter::repeat("(end)")).zip(played.lines()));
    let mut differing = pairs.filter(|(_, (expected, played))| expected != played);
    let first = differing
        .next()
        .map(|(line, (expected, played))| format!("line {line}\n  expected {expected}\n  but was  {played}"));
    first.or_else(|| (expected != played).then(|| "the script is longer than what was played".to_owned()))
}

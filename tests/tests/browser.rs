//! The pages that commands write, opened by a browser.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a command that cannot be run has failed; a skip is loud"
)]

use std::path::Path;
use std::process::{Command, Output, Stdio};

use muster_tests::folder::Folder;
use muster_tests::small::prepared;

const MUSTER: &str = env!("CARGO_BIN_EXE_muster-under-test");
const BROWSER: &str = "chromium";

/// Whether there is a browser; loudly, where there is none.
fn can_open() -> bool {
    if Command::new(BROWSER).arg("--version").stdout(Stdio::null()).status().is_ok() {
        return true;
    }
    assert!(std::env::var_os("MUSTER_REQUIRE_ALL").is_none(), "there is no `{BROWSER}` in PATH");
    println!("skipped: there is no `{BROWSER}` in PATH (apt-get install chromium)");
    false
}

/// Opens a file without any network, in a profile of its own.
fn open(folder: &Folder, page: &Path, flag: &str) -> Output {
    let profile = format!("--user-data-dir={}", folder.at("profile").display());
    // A browser that hangs is ended.
    let mut browser = Command::new("timeout");
    browser.args(["60", BROWSER]);
    browser.args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--window-size=1000,1400",
    ]);
    browser.args([
        "--host-resolver-rules=MAP * ~NOTFOUND",
        "--enable-logging=stderr",
        "--allow-file-access-from-files",
    ]);
    let output = browser.args([&profile, flag]).arg(format!("file://{}", page.display())).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("CONSOLE"), "the page has errors: {said}");
    output
}

/// Width and height of a picture, and how many bytes it took; one of nothing takes few.
fn picture(path: &Path) -> (u32, u32, usize) {
    let bytes = std::fs::read(path).unwrap();
    assert!(bytes.starts_with(b"\x89PNG"));
    let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    (number(16), number(20), bytes.len())
}

fn assert_opens(folder: &Folder, name: &str, charts: usize) {
    let path = folder.at(name);
    let written = std::fs::read_to_string(&path).unwrap();
    let seen = String::from_utf8(open(folder, &path, "--dump-dom").stdout).unwrap();
    // What a browser had to mend would not be as it was written.
    for element in ["<svg", "<table", "<tr", "<td", "<h2", "<polyline", "<rect", "<text"] {
        assert_eq!(seen.matches(element).count(), written.matches(element).count(), "{element} in {name}");
    }
    assert_eq!(seen.matches("<svg").count(), charts, "{name}");
    let shot = folder.at(&format!("{name}.png"));
    open(folder, &path, &format!("--screenshot={}", shot.display()));
    let (width, height, bytes) = picture(&shot);
    assert!((width, height) == (1000, 1400) && bytes > 20_000, "{name}: {width} x {height}, {bytes} bytes");
}

#[test]
fn the_pages_of_stats_and_of_capacity_open_without_a_network_and_show_their_charts() {
    if !can_open() {
        return;
    }
    let folder = prepared(MUSTER);
    folder.result(&["data", "stats", "prepared", "--against", "prepared", "--html", "stats.html"]);
    assert_opens(&folder, "stats.html", 1);
    let spec = muster_tests::source::root().join("deploy/examples/capacity/shop.toml");
    folder.result(&["capacity", spec.to_str().unwrap(), "--html", "capacity.html"]);
    assert_opens(&folder, "capacity.html", 2);
}

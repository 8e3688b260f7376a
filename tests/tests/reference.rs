//! The reference pages under `docs/reference/` say what the program says.
//!
//! `UPDATE_REFERENCE=1 cargo test -p muster-tests --test reference` rewrites them.

#![allow(clippy::unwrap_used, reason = "a page that cannot be written has failed")]

use std::fs;

use muster_tests::source::root;

fn assert_current(name: &str, page: &str) {
    let path = root().join("docs/reference").join(name);
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, page).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page,
        "docs/reference/{name} is stale: UPDATE_REFERENCE=1 cargo test -p muster-tests --test reference"
    );
}

#[test]
fn the_page_of_commands_is_what_help_prints() {
    assert_current("cli.md", &muster_cli::reference::cli_page());
}

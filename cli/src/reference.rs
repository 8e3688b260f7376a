//! The reference page of the command line, generated from the flags themselves.

use std::fmt::Write;

use clap::{Command, CommandFactory};

use crate::args::Cli;

/// `docs/reference/cli.md`: the help of every command, as the program prints it.
pub fn cli_page() -> String {
    let mut page = String::from(
        "# Commands\n\nGenerated from the program; `UPDATE_REFERENCE=1 cargo test -p muster-tests --test reference` rewrites it.\n",
    );
    let mut root = Cli::command().term_width(100).disable_help_subcommand(true);
    root.build();
    section(&mut page, &mut root, "muster");
    page
}

fn section(page: &mut String, command: &mut Command, name: &str) {
    let help = command.clone().render_long_help().to_string();
    let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
    let _ = write!(page, "\n## {name}\n\n```text\n{}\n```\n", lines.join("\n").trim_end());
    for child in command.get_subcommands_mut() {
        let child_name = format!("{name} {}", child.get_name());
        section(page, child, &child_name);
    }
}

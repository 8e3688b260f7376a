//! The `muster` binary: everything is in the library, so that a test drives the same entry.

fn main() -> std::process::ExitCode {
    muster_cli::main()
}

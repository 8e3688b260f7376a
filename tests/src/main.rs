//! The `muster` binary as the tests start it; the same entry as `cli/src/main.rs`.

fn main() -> std::process::ExitCode {
    muster_cli::main()
}

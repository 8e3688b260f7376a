//! Runs the real program: a command with its own folder, and what came out of it.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// What one run of `muster` left: exit code, text for people, logs.
#[derive(Debug)]
pub struct Outcome {
    /// The exit code; `None` where a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Outcome {
    /// Standard output as one JSON object, as `--output json` promises.
    ///
    /// # Panics
    /// Where it is anything else; the text is in the message.
    pub fn json(&self) -> serde_json::Value {
        match serde_json::from_str(&self.stdout) {
            Ok(value) => value,
            Err(error) => panic!("stdout is not one JSON object ({error}): {self:?}"),
        }
    }

    /// The outcome itself where the run succeeded.
    ///
    /// # Panics
    /// Where the exit code is not 0; both streams are in the message.
    #[must_use]
    pub fn expect_success(self) -> Self {
        assert_eq!(self.code, Some(0), "muster failed: {self:?}");
        self
    }
}

/// Runs `program` (`env!("CARGO_BIN_EXE_muster-under-test")`) in `folder` to its end.
///
/// # Panics
/// Where the program cannot be started.
pub fn run<S: AsRef<OsStr>>(program: &str, folder: &Path, args: &[S]) -> Outcome {
    let mut command = Command::new(program);
    command.args(args).current_dir(folder);
    run_command(&mut command)
}

/// Runs a prepared command to its end, with nothing on its standard input.
///
/// # Panics
/// Where the program cannot be started.
pub fn run_command(command: &mut Command) -> Outcome {
    match command.stdin(Stdio::null()).output() {
        Ok(Output { status, stdout, stderr }) => Outcome {
            code: status.code(),
            stdout: String::from_utf8_lossy(&stdout).into_owned(),
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
        },
        Err(error) => panic!("cannot start {command:?}: {error}"),
    }
}

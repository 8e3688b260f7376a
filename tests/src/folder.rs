//! A folder of a test's own with the program ready to run in it.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::binary::{Outcome, run_command};

/// A temporary folder, gone with the test.
#[derive(Debug)]
pub struct Folder {
    dir: TempDir,
    program: &'static str,
}

impl Folder {
    /// An empty folder; `program` is `env!("CARGO_BIN_EXE_muster-under-test")`.
    ///
    /// # Panics
    /// Where the system gives no temporary folder.
    pub fn new(program: &'static str) -> Self {
        match TempDir::new() {
            Ok(dir) => Self { dir, program },
            Err(error) => panic!("no temporary folder: {error}"),
        }
    }

    /// The folder's path.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The path of something in the folder.
    pub fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file into the folder, with the folders it lies in.
    ///
    /// # Panics
    /// Where it cannot be written.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.at(name);
        let written =
            path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, content));
        assert!(written.is_ok(), "cannot write {}: {written:?}", path.display());
        path
    }

    /// The program in this folder, with JSON on its standard output, away from the caller's environment.
    pub fn command<S: AsRef<OsStr>>(&self, args: &[S]) -> Command {
        let mut command = Command::new(self.program);
        command.args(args).args(["--output", "json"]).current_dir(self.path());
        for name in ["MUSTER_DATA", "MUSTER_COORDINATOR", "MUSTER_TOKEN_FILE", "MUSTER_LOG"] {
            command.env_remove(name);
        }
        command
    }

    /// Runs the program in this folder to its end.
    pub fn muster<S: AsRef<OsStr>>(&self, args: &[S]) -> Outcome {
        run_command(&mut self.command(args))
    }

    /// Runs the program with a limit on the size of the files it writes, as a disk that is full would.
    ///
    /// The signal that comes with the limit is ignored, so that a write fails with an error as on a full disk.
    pub fn muster_on_full_disk<S: AsRef<OsStr>>(&self, kib: u32, args: &[S]) -> Outcome {
        let script = format!("trap '' XFSZ; ulimit -f {kib}; exec \"$0\" \"$@\"");
        let mut command = Command::new("bash");
        command.args(["-c", &script, self.program]).args(args).args(["--output", "json"]);
        run_command(command.current_dir(self.path()).env_remove("MUSTER_DATA"))
    }

    /// Runs the program and gives its result.
    ///
    /// # Panics
    /// Where it fails or says anything but one JSON object.
    pub fn result<S: AsRef<OsStr>>(&self, args: &[S]) -> Value {
        self.muster(args).expect_success().json()
    }
}

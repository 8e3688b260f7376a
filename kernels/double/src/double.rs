//! A built double: the folder of its libraries and the environment that makes a program find them.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::modes::Sanitizer;

/// A folder with `libcuda.so.1`, `libcublas.so.13`, `libnccl.so` and their links, all one library.
#[derive(Debug, Clone)]
pub struct Double {
    folder: PathBuf,
    sanitizer: Sanitizer,
    runtime: Option<PathBuf>,
}

impl Double {
    pub(crate) fn new(folder: PathBuf, sanitizer: Sanitizer, runtime: Option<PathBuf>) -> Self {
        Self { folder, sanitizer, runtime }
    }

    /// The folder of the libraries.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Which sanitizer watches.
    pub fn sanitizer(&self) -> Sanitizer {
        self.sanitizer
    }

    /// The variables that a program needs to run on the double.
    pub fn env(&self) -> Vec<(&'static str, OsString)> {
        let mut path = self.folder.clone().into_os_string();
        if let Some(before) = std::env::var_os("LD_LIBRARY_PATH").filter(|before| !before.is_empty()) {
            path.push(":");
            path.push(before);
        }
        let mut variables = vec![("LD_LIBRARY_PATH", path)];
        if let Some(runtime) = &self.runtime {
            variables.push(("LD_PRELOAD", runtime.clone().into_os_string()));
        }
        let set = |name: &'static str, value: &str| (name, OsString::from(value));
        match self.sanitizer {
            Sanitizer::Plain => {}
            Sanitizer::Address => variables.extend([
                // What a test process keeps to its end is not a leak; the double counts the device's side itself.
                set("ASAN_OPTIONS", "detect_leaks=0:detect_stack_use_after_return=0"),
                set("UBSAN_OPTIONS", "print_stacktrace=1:halt_on_error=1"),
            ]),
            Sanitizer::Thread => variables.push(set("TSAN_OPTIONS", "ignore_noninstrumented_modules=1")),
        }
        variables
    }

    /// A command that runs a program on the double.
    ///
    /// TSan needs memory at fixed places, so its programs run without address randomization where `setarch` is there.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let setarch = Path::new("/usr/bin/setarch");
        let mut command = if self.sanitizer == Sanitizer::Thread && setarch.is_file() {
            let mut command = Command::new(setarch);
            command.args(["x86_64", "-R"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.envs(self.env());
        command
    }
}

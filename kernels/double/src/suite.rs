//! Runs one test body in a child process for each mode, on the double, or on the machine's own CUDA.
//!
//! A library's path is fixed when a process starts, so a test that needs the double starts its own executable again,
//! filtered to itself. In the child the same call runs the body.

use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::builder::{self, build};
use crate::child;
use crate::double::Double;
use crate::error::Error;
use crate::modes::{Mode, Modes, Sanitizer};

/// Set in children to the name of the test that they run.
const CHILD: &str = "MUSTER_DOUBLE_CHILD";

/// The kernels under test, and the fake machine they run on.
#[derive(Debug, Clone)]
pub struct Suite {
    sources: Vec<PathBuf>,
    variables: Vec<(String, String)>,
    limit: Duration,
}

/// How a test's child ended.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The mode it ran in.
    pub mode: Mode,
    /// True where the test passed, nothing leaked and no sanitizer spoke.
    pub passed: bool,
    /// All it wrote.
    pub output: String,
}

impl Outcome {
    /// True where the child's output holds the text.
    pub fn says(&self, text: &str) -> bool {
        self.output.contains(text)
    }
}

impl Suite {
    /// The kernels in every `.cu` file of a folder. On the machine's own libraries (`MUSTER_REQUIRE_CUDA=1`) the sources
    /// are not needed, and the folder may be absent.
    ///
    /// # Panics
    /// The folder cannot be read.
    pub fn of_folder(folder: impl AsRef<Path>) -> Self {
        if is_set("MUSTER_REQUIRE_CUDA") {
            return Self::of(Vec::new());
        }
        match builder::sources(folder.as_ref(), &["cu"]) {
            Ok(sources) => Self::of(sources),
            Err(error) => panic!("{error}: no kernels"),
        }
    }

    /// The kernels in these files.
    pub fn of(sources: Vec<PathBuf>) -> Self {
        Self { sources, variables: Vec::new(), limit: Duration::from_secs(300) }
    }

    /// With a variable of the fake machine set, such as `MUSTER_DOUBLE_DEVICES`.
    #[must_use]
    pub fn with(mut self, variable: &str, value: &str) -> Self {
        self.variables.push((variable.to_owned(), value.to_owned()));
        self
    }

    /// With another limit to a child's life than five minutes.
    #[must_use]
    pub fn within(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    /// Runs the body in every mode and panics with the modes in which it failed.
    ///
    /// On a machine without g++ says so and passes, unless `MUSTER_REQUIRE_ALL=1`. With `MUSTER_REQUIRE_CUDA=1` the
    /// body runs once, in this process, on the machine's own libraries.
    ///
    /// # Panics
    /// The body failed in a mode, or the double could not be built.
    pub fn everywhere<F: FnOnce()>(&self, modes: &Modes, body: F) {
        if is_set("MUSTER_REQUIRE_CUDA") {
            return body();
        }
        let Some(outcomes) = self.outcomes(modes, body) else { return };
        let failed: Vec<&Outcome> = outcomes.iter().filter(|outcome| !outcome.passed).collect();
        let list = |outcome: &&Outcome| format!("== {}\n{}", outcome.mode, tail(&outcome.output));
        let text = failed.iter().map(list).collect::<Vec<_>>().join("\n");
        assert!(failed.is_empty(), "failed in {} of {} modes\n{text}", failed.len(), outcomes.len());
    }

    /// Runs the body in every mode and gives how each ended.
    ///
    /// `None` in a child, where the body has run, and where the test is passed over.
    ///
    /// # Panics
    /// The double could not be built, or a child not be started or ended in time.
    pub fn outcomes<F: FnOnce()>(&self, modes: &Modes, body: F) -> Option<Vec<Outcome>> {
        if env::var_os(CHILD).is_some() {
            body();
            return None;
        }
        if is_set("MUSTER_REQUIRE_CUDA") {
            passed_over("needs the double, and MUSTER_REQUIRE_CUDA=1 asks for a real device");
            return None;
        }
        let test = test_name::<F>();
        let mut outcomes = Vec::new();
        for mode in modes.iter() {
            let double = match self.build(mode.sanitizer) {
                Ok(double) => double,
                Err(error) if error.is_missing_tool() && !is_set("MUSTER_REQUIRE_ALL") => {
                    passed_over(&error.to_string());
                    return None;
                }
                Err(error) => panic!("{error}"),
            };
            match self.run(&double, mode, &test) {
                Ok(outcome) => outcomes.push(outcome),
                Err(error) => panic!("{error}"),
            }
        }
        Some(outcomes)
    }

    /// Builds the double of these kernels, or finds it built.
    ///
    /// # Errors
    /// See [`build`].
    pub fn build(&self, sanitizer: Sanitizer) -> Result<Double, Error> {
        build(&self.sources, sanitizer, &target_folder())
    }

    fn run(&self, double: &Double, mode: Mode, test: &str) -> Result<Outcome, Error> {
        let program = env::current_exe().map_err(Error::io("the running test"))?;
        let mut command = double.command(&program);
        command.args([test, "--exact", "--nocapture", "--test-threads=1"]);
        command.env(CHILD, test).env("MUSTER_DOUBLE_REPORT", "1").env("RUST_BACKTRACE", "0");
        command.envs(mode.variables()).envs(self.variables.iter().map(|(name, value)| (name, value)));
        let ended = child::run(command, self.limit).map_err(Error::io(&program))?;
        let Some(status) = ended.status else {
            let seconds = self.limit.as_secs();
            return Err(Error::TooLong { test: test.to_owned(), mode: mode.to_string(), seconds });
        };
        let clean = ["muster-double: leak:", "WARNING: ThreadSanitizer", "runtime error:"];
        let passed = status.success()
            && ended.output.contains("1 passed")
            && !clean.iter().any(|complaint| ended.output.contains(complaint));
        Ok(Outcome { mode, passed, output: ended.output })
    }
}

/// The path of the test that the closure stands in, without its crate, as the test runner names it.
pub(crate) fn test_name<F>() -> String {
    let full = std::any::type_name::<F>();
    let path = full.split_once("::").map_or(full, |(_, path)| path);
    path.split("::{{closure}}").next().unwrap_or(path).to_owned()
}

/// `target/cuda-double`, beside the folder of the build that this executable is from.
fn target_folder() -> PathBuf {
    let program = env::current_exe().unwrap_or_default();
    let target = program.ancestors().nth(3).map_or_else(env::temp_dir, Path::to_path_buf);
    target.join("cuda-double")
}

#[allow(clippy::print_stdout, reason = "a test that does not run says so where its result stands")]
fn passed_over(reason: &str) {
    println!("passed over: {reason}");
}

fn is_set(variable: &str) -> bool {
    env::var(variable).is_ok_and(|value| value == "1")
}

/// The last lines of an output: what went wrong stands there.
fn tail(output: &str) -> String {
    let lines: Vec<&str> = output.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

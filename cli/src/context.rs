//! What every command is handed: where its result goes and how it shows that it moves.

use crate::args::Global;
use crate::logging::Level;
use crate::output::Output;
use crate::progress::{self, Progress};

/// The surroundings of one command.
#[derive(Debug, Clone, Copy)]
pub struct Context {
    /// Where the result goes.
    pub output: Output,
    /// The log level, as child processes are given it.
    pub log_level: Level,
}

impl Context {
    /// The surroundings that the global flags ask for.
    pub fn new(global: Global) -> Self {
        Self { output: Output::new(global.output, global.quiet), log_level: global.log_level }
    }

    /// A fresh sink for progress.
    pub fn progress(&self) -> Box<dyn Progress> {
        progress::for_stderr(self.output.is_quiet())
    }
}

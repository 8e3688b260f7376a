//! What can keep the double from being built or a test from being run on it.

use std::io;
use std::path::PathBuf;

/// Why there is no double.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The double switches stacks by hand.
    #[error("the CUDA double runs on x86-64 Linux only, and this is {arch} {os}")]
    Platform {
        /// The processor's architecture.
        arch: &'static str,
        /// The operating system.
        os: &'static str,
    },
    /// No compiler.
    #[error("the compiler {program} cannot be run; install g++ or set MUSTER_CXX")]
    NoCompiler {
        /// The program that was tried.
        program: String,
        /// Why it did not start.
        #[source]
        source: io::Error,
    },
    /// The compiler refused a source.
    #[error("compiling {file}:\n{output}")]
    Compile {
        /// The source, or the library where linking failed.
        file: PathBuf,
        /// What the compiler said.
        output: String,
    },
    /// The compiler has no such sanitizer.
    #[error("the compiler has no {library}; install its sanitizer runtime")]
    NoSanitizer {
        /// The library that it does not find.
        library: &'static str,
    },
    /// Two files define a kernel of the same name.
    #[error("kernel {name} is in {first} and in {second}")]
    KernelTwice {
        /// The kernel.
        name: String,
        /// Where it is.
        first: PathBuf,
        /// Where it is again.
        second: PathBuf,
    },
    /// A file or folder.
    #[error("{path}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A child process ran longer than it may.
    #[error("{test} under {mode} ran longer than {seconds} s")]
    TooLong {
        /// The test.
        test: String,
        /// The mode it ran in.
        mode: String,
        /// The limit.
        seconds: u64,
    },
}

impl Error {
    /// An error of the file system at `path`.
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }

    /// True where the machine lacks something, so that a test may be passed over.
    pub fn is_missing_tool(&self) -> bool {
        matches!(self, Self::Platform { .. } | Self::NoCompiler { .. } | Self::NoSanitizer { .. })
    }
}

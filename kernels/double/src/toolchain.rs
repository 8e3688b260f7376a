//! The C++ compiler: which one, what it can do, and the flags of each build.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::error::Error;
use crate::modes::Sanitizer;

/// What a source is, which decides how it is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// The engine switches stacks: TSan hears about it by annotations only.
    Engine,
    /// The doubles of the libraries.
    Driver,
    /// Kernels.
    Kernel,
}

/// A compiler that runs.
#[derive(Debug)]
pub(crate) struct Toolchain {
    program: String,
    /// Its name and version, for digests.
    pub(crate) version: String,
}

impl Toolchain {
    /// The compiler that `MUSTER_CXX` names, or g++.
    pub(crate) fn find() -> Result<Self, Error> {
        if !cfg!(all(target_arch = "x86_64", target_os = "linux")) {
            return Err(Error::Platform { arch: std::env::consts::ARCH, os: std::env::consts::OS });
        }
        let program = std::env::var("MUSTER_CXX").unwrap_or_else(|_| "g++".to_owned());
        let output = run(&program, Command::new(&program).arg("-dumpfullversion"))?;
        let version = format!("{program} {}", String::from_utf8_lossy(&output.stdout).trim());
        Ok(Self { program, version })
    }

    /// The flags that make an object of a source of this part.
    pub(crate) fn flags(part: Part, sanitizer: Sanitizer) -> Vec<&'static str> {
        // Products and sums stay apart, as nvcc leaves them with --fmad=false; fmaf is one instruction where there is one.
        let mut flags = vec![
            "-std=c++17",
            "-fPIC",
            "-g1",
            "-fvisibility=hidden",
            "-ffp-contract=off",
            "-fno-strict-aliasing",
            "-Wall",
            "-Wextra",
            "-Wno-unknown-pragmas",
        ];
        if is_fma_there() {
            flags.extend(["-mavx2", "-mfma"]);
        }
        let watched = if part == Part::Kernel { "-O1" } else { "-O2" };
        match sanitizer {
            // The doubles of the libraries are the same in every build.
            _ if part == Part::Driver => flags.push("-O2"),
            Sanitizer::Plain => flags.push("-O2"),
            Sanitizer::Address => flags.extend([watched, "-DMUSTER_ASAN", "-fno-omit-frame-pointer"]),
            Sanitizer::Thread => flags.extend([watched, "-DMUSTER_TSAN", "-fno-omit-frame-pointer"]),
        }
        match (part, sanitizer) {
            (Part::Driver | Part::Engine, _) => {}
            (Part::Kernel, Sanitizer::Address) => flags.extend([
                "-fsanitize=address,undefined",
                "-fno-sanitize=vptr",
                "-fno-sanitize-recover=undefined",
                "-fsanitize-sections=shim_shared",
            ]),
            (Part::Kernel, Sanitizer::Thread) => {
                flags.extend(["-fsanitize=thread", "--param", "tsan-distinguish-volatile=1"]);
            }
            (Part::Kernel, Sanitizer::Plain) => {}
        }
        if part == Part::Kernel {
            // A large array of a kernel must touch the guard page below its stack, not step over it.
            flags.extend(["-DMUSTER_HOST_SHIM", "-fstack-clash-protection"]);
        }
        flags
    }

    /// Compiles one source to one object.
    pub(crate) fn compile(&self, flags: &[String], source: &Path, object: &Path) -> Result<(), Error> {
        let mut command = Command::new(&self.program);
        command.args(flags).arg("-c").arg(source).arg("-o").arg(object);
        self.check(&mut command, source)
    }

    /// Links objects, in this order, to a shared library.
    pub(crate) fn link(
        &self,
        sanitizer: Sanitizer,
        objects: &[PathBuf],
        library: &Path,
    ) -> Result<(), Error> {
        let mut command = Command::new(&self.program);
        command.args(["-shared", "-Wl,-soname,libcuda.so.1", "-Wl,-z,defs", "-pthread"]);
        let watched = match sanitizer {
            Sanitizer::Plain => None,
            Sanitizer::Address => Some("-fsanitize=address,undefined"),
            Sanitizer::Thread => Some("-fsanitize=thread"),
        };
        command.args(watched).args(objects).arg("-o").arg(library).arg("-lrt");
        self.check(&mut command, library)
    }

    /// The runtime that has to be loaded before everything else.
    pub(crate) fn runtime(&self, sanitizer: Sanitizer) -> Result<Option<PathBuf>, Error> {
        let library = match sanitizer {
            Sanitizer::Plain => return Ok(None),
            Sanitizer::Address => "libasan.so",
            Sanitizer::Thread => "libtsan.so",
        };
        let asked = format!("-print-file-name={library}");
        let output = run(&self.program, Command::new(&self.program).arg(asked))?;
        let path = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
        // The compiler prints the bare name back where it has no such file.
        if path.is_absolute() { Ok(Some(path)) } else { Err(Error::NoSanitizer { library }) }
    }

    fn check(&self, command: &mut Command, file: &Path) -> Result<(), Error> {
        let output = run(&self.program, command)?;
        if output.status.success() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(Error::Compile { file: file.to_path_buf(), output: text })
    }
}

fn run(program: &str, command: &mut Command) -> Result<Output, Error> {
    command.output().map_err(|source| Error::NoCompiler { program: program.to_owned(), source })
}

#[cfg(target_arch = "x86_64")]
fn is_fma_there() -> bool {
    std::arch::is_x86_feature_detected!("fma") && std::arch::is_x86_feature_detected!("avx2")
}

#[cfg(not(target_arch = "x86_64"))]
fn is_fma_there() -> bool {
    false
}

//! What the tests share: a device with its stream, the kernels of this folder as a module, and how a fault is expected.

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(unsafe_code, reason = "a launch cannot check that its arguments fit the kernel's signature")]
#![allow(clippy::unwrap_used, reason = "test code outside of test functions")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cudarc::driver::{
    CudaContext, CudaFunction, CudaModule, CudaSlice, CudaStream, DriverError, LaunchConfig, PushKernelArg,
};
use cudarc::nvrtc::Ptx;
use muster_cuda_double::{Mode, Modes, Order, Sanitizer, Streams, Suite};

/// A device with one stream and the kernels loaded.
pub(crate) struct Device {
    pub(crate) context: Arc<CudaContext>,
    pub(crate) stream: Arc<CudaStream>,
    module: Arc<CudaModule>,
}

impl Device {
    /// Opens a device by its number, on its default stream.
    pub(crate) fn open(ordinal: usize) -> Self {
        let context = CudaContext::new(ordinal).unwrap();
        let stream = context.default_stream();
        let module = context.load_module(Ptx::from_src(IMAGE)).unwrap();
        Self { context, stream, module }
    }

    pub(crate) fn kernel(&self, name: &str) -> CudaFunction {
        self.module.load_function(name).unwrap()
    }

    /// 64 floats that are zero.
    pub(crate) fn zeros(&self) -> CudaSlice<f32> {
        self.stream.alloc_zeros(64).unwrap()
    }

    /// Launches a kernel of `bad.cu`.
    pub(crate) fn launch(
        &self,
        name: &str,
        x: &mut CudaSlice<f32>,
        cfg: LaunchConfig,
    ) -> Result<(), DriverError> {
        let kernel = self.kernel(name);
        // SAFETY: the kernels take 64 floats and their number; what they do with them is the test.
        unsafe { self.stream.launch_builder(&kernel).arg(x).arg(&64i32).launch(cfg) }.map(|_| ())
    }

    /// Launches a kernel of `bad.cu` with all of its blocks at once.
    pub(crate) fn launch_cooperative(
        &self,
        name: &str,
        x: &mut CudaSlice<f32>,
        cfg: LaunchConfig,
    ) -> Result<(), DriverError> {
        let kernel = self.kernel(name);
        // SAFETY: as in `launch`.
        unsafe { self.stream.launch_builder(&kernel).arg(x).arg(&64i32).launch_cooperative(cfg) }.map(|_| ())
    }

    /// Runs a kernel of `bad.cu` on 64 zeros and gives what it left.
    pub(crate) fn run(&self, name: &str, cfg: LaunchConfig) -> Vec<f32> {
        let mut x = self.zeros();
        self.launch(name, &mut x, cfg).unwrap();
        self.stream.clone_dtoh(&x).unwrap()
    }
}

/// A launch of one dimension.
pub(crate) fn config(blocks: u32, threads: u32, shared_mem_bytes: u32) -> LaunchConfig {
    LaunchConfig { grid_dim: (blocks, 1, 1), block_dim: (threads, 1, 1), shared_mem_bytes }
}

fn kernels(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kernels").join(name)
}

/// The kernels without faults.
pub(crate) fn good() -> Suite {
    Suite::of(vec![kernels("good.cu")])
}

/// The kernels with one planted fault each.
pub(crate) fn bad() -> Suite {
    Suite::of(vec![kernels("good.cu"), kernels("bad.cu")])
}

pub(crate) const EAGER: Mode = Mode::plain(Order::Forward, Streams::Eager);
pub(crate) const LAZY: Mode = Mode::plain(Order::Forward, Streams::Lazy);
pub(crate) const ASAN: Mode = EAGER.under(Sanitizer::Address);
pub(crate) const TSAN: Mode = EAGER.under(Sanitizer::Thread);

/// The body fails in this mode, and what it writes has `text`.
pub(crate) fn caught<F: FnOnce()>(suite: &Suite, mode: Mode, text: &str, body: F) {
    let Some(outcomes) = suite.outcomes(&Modes::only(mode), body) else { return };
    for outcome in outcomes {
        assert!(
            !outcome.passed && outcome.says(text),
            "expected a failure with {text:?} under {mode}, passed: {}\n{}",
            outcome.passed,
            outcome.output
        );
    }
}

/// Stands for an image: these tests have no CUDA compiler, and the double runs the host build in any case.
const IMAGE: &str = "muster-double: no image";

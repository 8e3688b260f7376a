//! The kernels' machine code, embedded in the program, and handles of its kernels.
#![allow(
    unsafe_code,
    reason = "loading a module and asking it for kernels; each block says what makes it sound"
)]

use std::ffi::CString;
use std::sync::Arc;
use std::sync::Mutex;

use cudarc::driver::{result, sys};

use super::Error;
use super::launch::Kind;
use super::signatures::SIGNATURES;
use super::streams::Streams;

/// For sm_80, sm_90, sm_100 and, as PTX, newer; `kernels/cuda/build_fatbin.py` makes it.
static FATBIN: &[u8] = include_bytes!("../../cuda/muster.fatbin");

/// Dynamic shared memory that a kernel may use without asking.
const SHARED_WITHOUT_ASKING: u32 = 48 << 10;

/// A loaded kernel.
#[derive(Debug)]
pub(super) struct Kernel {
    pub(super) name: &'static str,
    pub(super) parameters: &'static [Kind],
    pub(super) function: sys::CUfunction,
    /// Dynamic shared memory that was asked for.
    shared: Mutex<u32>,
}

/// The loaded fatbin; kernels live as long as it does.
#[derive(Debug)]
pub(super) struct Module {
    module: sys::CUmodule,
    kernels: Vec<Kernel>,
    streams: Arc<Streams>,
}

// SAFETY: module and function handles are plain numbers to the driver, which takes calls from every thread; what
// changes after loading is behind a mutex.
unsafe impl Send for Module {}
// SAFETY: as above.
unsafe impl Sync for Module {}

impl Module {
    /// Loads the fatbin and finds every kernel of [`SIGNATURES`] in it.
    pub(super) fn load(streams: &Arc<Streams>) -> Result<Self, Error> {
        streams.bind()?;
        // The driver reads the fatbin's header by words.
        let words: Vec<u64> = FATBIN
            .chunks(8)
            .map(|chunk| {
                let mut word = [0; 8];
                word[..chunk.len()].copy_from_slice(chunk);
                u64::from_le_bytes(word)
            })
            .collect();
        // SAFETY: `words` is a whole fatbin, aligned, and the driver copies what it needs during the call.
        let module = unsafe { result::module::load_data(words.as_ptr().cast()) }
            .map_err(Error::driver("load the kernels"))?;
        let mut loaded =
            Self { module, kernels: Vec::with_capacity(SIGNATURES.len()), streams: Arc::clone(streams) };
        for &(name, parameters) in SIGNATURES {
            let symbol = CString::new(name).expect("kernel names have no NUL");
            // SAFETY: the module is loaded, and is unloaded only when `loaded` drops.
            let function = unsafe { result::module::get_function(module, symbol) }
                .map_err(Error::driver("find a kernel in the fatbin"))?;
            loaded.kernels.push(Kernel {
                name,
                parameters,
                function,
                shared: Mutex::new(SHARED_WITHOUT_ASKING),
            });
        }
        Ok(loaded)
    }

    /// Returns the kernel called `name`; panics where the sources have none of that name.
    pub(super) fn kernel(&self, name: &str) -> &Kernel {
        match self.kernels.binary_search_by(|kernel| kernel.name.cmp(name)) {
            Ok(place) => &self.kernels[place],
            Err(_) => unreachable!("kernels/cuda has no {name}"),
        }
    }

    /// Returns how many blocks of `threads` with that dynamic shared memory one multiprocessor holds at once.
    pub(super) fn resident_blocks(&self, name: &str, threads: u32, shared: u32) -> Result<u32, Error> {
        let kernel = self.kernel(name);
        kernel.allow_shared(shared)?;
        // SAFETY: the function is of the loaded module.
        let blocks = unsafe {
            result::occupancy::max_active_block_per_multiprocessor(
                kernel.function,
                threads as i32,
                shared as usize,
            )
        };
        blocks.map(|blocks| blocks.max(0) as u32).map_err(Error::driver("ask for a kernel's occupancy"))
    }
}

impl Kernel {
    /// Asks for that much dynamic shared memory, where it is more than kernels get without asking.
    pub(super) fn allow_shared(&self, bytes: u32) -> Result<(), Error> {
        let mut allowed = self.shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if bytes <= *allowed {
            return Ok(());
        }
        let attribute = sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        // SAFETY: the function is of a loaded module, which outlives its kernels.
        unsafe { result::function::set_function_attribute(self.function, attribute, bytes as i32) }
            .map_err(Error::driver("ask for shared memory"))?;
        *allowed = bytes;
        Ok(())
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        if self.streams.bind().is_ok() {
            // Work that uses the kernels is on the compute stream; a failure means a lost device.
            let _ = self.streams.compute.synchronize();
            // SAFETY: no launch can follow, since `self` owns the handles, and earlier ones were waited for.
            let _ = unsafe { result::module::unload(self.module) };
        }
    }
}

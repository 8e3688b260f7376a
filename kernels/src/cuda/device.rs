//! A GPU: its streams, memory, kernels and cuBLAS.

use std::sync::Arc;

use cudarc::driver::CudaContext;
use cudarc::driver::sys::CUdevice_attribute as Attribute;

use super::blas::Blas;
use super::launch::Launch;
use super::memory::{self, Buffer, Pool, Scalar, View, ViewMut};
use super::module::Module;
use super::probe;
use super::streams::Streams;
use super::{Error, Usage};

/// What a device is told when it is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// The number of the device among those that are visible.
    pub ordinal: usize,
    /// The most bytes of its memory that are used; buffers beyond it are refused.
    pub memory_bound: usize,
    /// Whether products may use TF32, which keeps 10 bits of each factor; off by default.
    pub tf32: bool,
    /// Whether each buffer is an allocation of its own, of exactly its bytes, so that memory checkers see where it ends;
    /// slow, and graphs cannot be recorded.
    pub exact_memory: bool,
}

impl Settings {
    /// The device of that number, without a bound of its own, products in full f32.
    pub fn of(ordinal: usize) -> Self {
        Self { ordinal, memory_bound: usize::MAX, tf32: false, exact_memory: false }
    }
}

/// Sizes of a device that ops adapt to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Multiprocessors.
    pub multiprocessors: u32,
    /// The most dynamic shared memory of a block, in bytes.
    pub shared_per_block: u32,
    /// Whether all blocks of a launch can be resident at once.
    pub cooperative: bool,
}

/// An open GPU. Ops run on its compute stream, in the order of the calls, and return before they are done.
#[derive(Debug)]
pub struct Device {
    // Dropped in this order: what uses the streams goes before them.
    blas: Blas,
    module: Module,
    pool: Arc<Pool>,
    streams: Arc<Streams>,
    limits: Limits,
    name: String,
}

impl Device {
    /// Opens a device and loads the kernels.
    ///
    /// # Errors
    /// [`Error::Unavailable`] where a library or the device is missing, else the driver's.
    pub fn open(settings: Settings) -> Result<Self, Error> {
        let found = probe::devices()?;
        if settings.ordinal >= found {
            let reason = format!("device {} was asked for, and {found} are visible", settings.ordinal);
            return Err(Error::Unavailable { reason });
        }
        let context = CudaContext::new(settings.ordinal).map_err(Error::driver("open the device"))?;
        let attribute =
            |attribute| context.attribute(attribute).map_err(Error::driver("ask for an attribute"));
        let limits = Limits {
            multiprocessors: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?.max(1) as u32,
            shared_per_block: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)?
                .max(0) as u32,
            cooperative: attribute(Attribute::CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH)? != 0,
        };
        let name = context.name().map_err(Error::driver("ask for the device's name"))?;
        let streams = Arc::new(Streams::new(context)?);
        let module = Module::load(&streams)?;
        let blas = Blas::new(&streams, settings.tf32)?;
        let pool = Arc::new(Pool::new(Arc::clone(&streams), settings.memory_bound, settings.exact_memory));
        Ok(Self { blas, module, pool, streams, limits, name })
    }

    /// Returns the card's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the device's sizes.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Returns how much memory is in use.
    pub fn usage(&self) -> Usage {
        self.pool.usage()
    }

    /// Waits until all launched work is done; reports what failed in it.
    ///
    /// # Errors
    /// The driver's, also of work launched earlier.
    pub fn synchronize(&self) -> Result<(), Error> {
        self.streams.compute.synchronize().map_err(Error::driver("wait for the compute stream"))?;
        self.streams.copies.synchronize().map_err(Error::driver("wait for the stream of copies"))?;
        self.streams.communication.synchronize().map_err(Error::driver("wait for the communication stream"))
    }

    /// Returns a buffer whose contents are unspecified until something is written to it.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] beyond the bound.
    pub fn buffer<T: Scalar>(&self, len: usize) -> Result<Buffer<T>, Error> {
        Buffer::uninitialized(&self.pool, len)
    }

    /// Returns a buffer of zeros.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] beyond the bound.
    pub fn zeros<T: Scalar>(&self, len: usize) -> Result<Buffer<T>, Error> {
        let mut buffer = self.buffer(len)?;
        self.zero(&mut buffer.view_mut())?;
        Ok(buffer)
    }

    /// Returns a buffer with a copy of host memory.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] beyond the bound.
    pub fn upload<T: Scalar>(&self, from: &[T]) -> Result<Buffer<T>, Error> {
        let mut buffer = self.buffer(from.len())?;
        self.write(&mut buffer.view_mut(), from)?;
        Ok(buffer)
    }

    /// Copies host memory into a view of the same length.
    ///
    /// # Errors
    /// The driver's.
    pub fn write<T: Scalar>(&self, to: &mut ViewMut<'_, T>, from: &[T]) -> Result<(), Error> {
        memory::upload(&self.streams, to, from)
    }

    /// Copies device memory to the host and waits for it.
    ///
    /// # Errors
    /// The driver's, also of work launched earlier.
    pub fn download<T: Scalar>(&self, from: View<'_, T>) -> Result<Vec<T>, Error> {
        let mut to = vec![T::default(); from.len()];
        memory::download(&self.streams, from, &mut to)?;
        Ok(to)
    }

    /// Copies on the device, between views of one length.
    ///
    /// # Errors
    /// The driver's.
    pub fn copy<T: Scalar>(&self, from: View<'_, T>, to: &mut ViewMut<'_, T>) -> Result<(), Error> {
        memory::copy(&self.streams, from, to)
    }

    /// Fills with zeros.
    ///
    /// # Errors
    /// The driver's.
    pub fn zero<T: Scalar>(&self, to: &mut ViewMut<'_, T>) -> Result<(), Error> {
        memory::zero(&self.streams, to)
    }

    pub(super) fn launch(&self, kernel: &'static str) -> Launch<'_> {
        Launch::new(self, kernel)
    }

    pub(super) fn module(&self) -> &Module {
        &self.module
    }

    pub(super) fn streams(&self) -> &Arc<Streams> {
        &self.streams
    }

    pub(super) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    pub(super) fn blas(&self) -> &Blas {
        &self.blas
    }
}

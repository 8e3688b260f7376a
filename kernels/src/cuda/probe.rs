//! Whether CUDA can be used on this machine, found out without a panic.
//!
//! cudarc loads each library at its first use and panics where there is none, so every use starts here.
#![allow(unsafe_code, reason = "asking whether a library can be loaded runs its initializers")]

use super::Error;

/// Which libraries can be loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Libraries {
    /// The driver, `libcuda`.
    pub driver: bool,
    /// `libcublas`.
    pub blas: bool,
    /// `libnccl`; needed by jobs of more than one GPU only.
    pub nccl: bool,
}

impl Libraries {
    /// Looks for the libraries.
    pub fn find() -> Self {
        // SAFETY: these only try to load NVIDIA's libraries by name; their initializers have no preconditions.
        let (driver, blas, nccl) = unsafe {
            (
                cudarc::driver::sys::is_culib_present(),
                cudarc::cublas::sys::is_culib_present(),
                cudarc::nccl::sys::is_culib_present(),
            )
        };
        Self { driver, blas, nccl }
    }
}

/// Returns the number of devices that can be used.
///
/// # Errors
/// [`Error::Unavailable`] with one sentence that names what is missing.
pub fn devices() -> Result<usize, Error> {
    let unavailable = |reason: String| Err(Error::Unavailable { reason });
    let libraries = Libraries::find();
    if !libraries.driver {
        return unavailable(
            "no NVIDIA driver is installed here (libcuda.so.1 is not on the library path)".into(),
        );
    }
    if !libraries.blas {
        return unavailable(
            "cuBLAS of CUDA 13 is not installed here (libcublas.so.13 is not on the library path)".into(),
        );
    }
    match cudarc::driver::CudaContext::device_count() {
        Ok(0) => unavailable("the driver is here, but it shows no GPU (see CUDA_VISIBLE_DEVICES)".into()),
        Ok(count) => Ok(usize::try_from(count).unwrap_or(0)),
        Err(error) => {
            let text = error.error_string().map_or("no description".into(), |text| text.to_string_lossy());
            unavailable(format!("the driver does not start: {text}"))
        }
    }
}

/// Checks that NCCL is here, for a job of more than one GPU.
///
/// # Errors
/// [`Error::Unavailable`] with one sentence.
pub fn nccl() -> Result<(), Error> {
    if Libraries::find().nccl {
        return Ok(());
    }
    // cudarc looks for libnccl.so, which packages without development files do not have.
    let reason = "NCCL is not installed here (libnccl.so is not on the library path; where only libnccl.so.2 is, \
                  link it under that name)";
    Err(Error::Unavailable { reason: reason.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_a_driver_is_told_in_one_sentence() {
        if let Err(error) = devices() {
            let text = error.to_string();
            assert!(text.starts_with("CUDA cannot be used: "), "{text}");
            assert!(!text.contains('\n'), "{text}");
        }
    }
}

//! What a GPU is and which others it reaches, asked without opening it.
#![allow(unsafe_code, reason = "questions to the driver about devices; each block says what makes it sound")]

use std::ffi::{CStr, c_char};

use cudarc::driver::sys::{self, CUdevice_attribute as Attribute};
use cudarc::driver::{DriverError, result};

use super::{Error, probe};

/// Bytes of the longest PCI bus id, `dddd:bb:dd.f` with a 32-bit domain, and its end.
const BUS_ID_BYTES: usize = 32;

/// A GPU as the driver describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpu {
    /// The card's name.
    pub name: String,
    /// Its memory, in bytes.
    pub memory_bytes: u64,
    /// Its compute capability, major and minor.
    pub compute_capability: (u32, u32),
    /// Where it is on the host's bus; names it among all programs of the host.
    pub pci_bus_id: String,
    /// Its number among the GPUs that this process sees.
    pub ordinal: usize,
    /// How many GPUs this process sees.
    pub visible: usize,
    /// PCI bus ids of those among them whose memory it reads and writes directly, over NVLink or the bus.
    pub direct_peers: Vec<String>,
}

impl Gpu {
    /// Asks the driver about the GPU of that number.
    ///
    /// # Errors
    /// [`Error::Unavailable`] where a library or the GPU is missing, else the driver's.
    pub fn describe(ordinal: usize) -> Result<Self, Error> {
        let visible = probe::devices()?;
        if ordinal >= visible {
            let reason = format!("device {ordinal} was asked for, and {visible} are visible");
            return Err(Error::Unavailable { reason });
        }
        let asked = |ordinal| Self::ask(ordinal, visible);
        asked(ordinal).map_err(Error::driver("ask for a device's description"))
    }

    fn ask(ordinal: usize, visible: usize) -> Result<Self, DriverError> {
        let device = result::device::get(ordinal as i32)?;
        // SAFETY: `device` came from `device::get`, as these ask.
        let (memory_bytes, major, minor) = unsafe {
            let attribute = |which| result::device::get_attribute(device, which);
            (
                result::device::total_mem(device)? as u64,
                attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
                attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
            )
        };
        let mut direct_peers = Vec::new();
        for peer in (0..visible).filter(|peer| *peer != ordinal) {
            let other = result::device::get(peer as i32)?;
            let mut can = 0;
            // SAFETY: both devices came from `device::get`, and `can` is valid for the call.
            unsafe { sys::cuDeviceCanAccessPeer(&raw mut can, device, other) }.result()?;
            if can != 0 {
                direct_peers.push(bus_id(other)?);
            }
        }
        Ok(Self {
            name: result::device::get_name(device)?,
            memory_bytes,
            compute_capability: (major.max(0) as u32, minor.max(0) as u32),
            pci_bus_id: bus_id(device)?,
            ordinal,
            visible,
            direct_peers,
        })
    }
}

fn bus_id(device: sys::CUdevice) -> Result<String, DriverError> {
    let mut bytes = [0; BUS_ID_BYTES];
    // SAFETY: the driver writes at most as many bytes as it is told there are.
    unsafe {
        let start = bytes.as_mut_ptr().cast::<c_char>();
        sys::cuDeviceGetPCIBusId(start, BUS_ID_BYTES as i32, device)
    }
    .result()?;
    let text = CStr::from_bytes_until_nul(&bytes).unwrap_or_default();
    Ok(text.to_string_lossy().to_ascii_lowercase())
}

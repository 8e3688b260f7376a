//! The catalogue of hardware: what a device and its links can do, each figure with its source.
//!
//! Rates are per second and in one direction. "bytes" of a vendor are decimal: 1 GB is 1e9 bytes.

use crate::config::Problems;

/// What a class of devices can do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Device {
    /// The name in a spec.
    pub name: &'static str,
    /// Memory, bytes.
    pub memory: f64,
    /// Rate of the memory, bytes/s.
    pub memory_rate: f64,
    /// Last cache before the memory, bytes.
    pub cache: f64,
    /// Dense products of f32 operands, flop/s (TF32 where the device has it).
    pub flops_f32: f64,
    /// Dense products of 16-bit operands, flop/s, without sparsity.
    pub flops_f16: f64,
    /// To devices of the same node, bytes/s.
    pub link_rate: f64,
    /// To devices of other nodes, bytes/s: the device's own network card.
    pub network_rate: f64,
    /// To the memory of its host, bytes/s: PCI Express x16 at the 80 % that DMA gets; of a CPU node the memory's rate.
    pub host_rate: f64,
    /// Devices of a node.
    pub per_node: u32,
    /// Power at full load, W.
    pub power: f64,
    /// Collectives inside of a node.
    pub links: Links,
    /// Where the figures are from.
    pub source: &'static str,
}

/// Time of a collective: `(latency^k + (x / rate)^k)^(1/k)`, x the bytes that each device sends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Curve {
    /// Time of an empty message, s.
    pub latency: f64,
    /// Rate of a message without end, bytes/s.
    pub rate: f64,
    /// How sharply one turns into the other.
    pub knee: f64,
}

/// The curves of a node's collectives.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Links {
    /// all_to_all.
    pub all_to_all: Curve,
    /// all_reduce.
    pub all_reduce: Curve,
    /// reduce_scatter, and all_gather at its rate.
    pub reduce_scatter: Curve,
}

const fn curve(latency: f64, rate: f64, knee: f64) -> Curve {
    Curve { latency, rate, knee }
}

/// Fitted to NCCL 2.27.3 on 8 GPUs (ai-dynamo/aiconfigurator, half), mean error 6 to 7 %; on 2 and 4 GPUs all_to_all is within 13 %, all_reduce up to 44 %
/// too slow.
const A100_LINKS: Links = Links {
    all_to_all: curve(13e-6, 220e9, 0.6),
    all_reduce: curve(19.5e-6, 240e9, 0.6),
    reduce_scatter: curve(14.5e-6, 230e9, 0.6),
};
/// Fitted to NCCL 2.29.2 on 8 GPUs (ai-dynamo/aiconfigurator, half), mean error 4 to 12 %; on 2 and 4 GPUs all_to_all is within 14 %, all_reduce up to 80 %
/// too slow.
const H100_LINKS: Links = Links {
    all_to_all: curve(8e-6, 340e9, 0.6),
    all_reduce: curve(15.5e-6, 480e9, 0.6),
    reduce_scatter: curve(10.5e-6, 350e9, 0.7),
};
/// Latencies of H100; rates from NCCL tables of aiconfigurator as planner notes 4.4 give them (busbw at 512 MiB).
const B200_LINKS: Links = Links {
    all_to_all: curve(8e-6, 563e9, 0.6),
    all_reduce: curve(15.5e-6, 704e9, 0.6),
    reduce_scatter: curve(10.5e-6, 613e9, 0.7),
};
/// PCI Express 4.0 x16 at the 80 % that DMA gets; latency 10 us (aiconfigurator, p2p).
const PCIE_LINKS: Links = Links {
    all_to_all: curve(10e-6, 25e9, 1.0),
    all_reduce: curve(20e-6, 25e9, 1.0),
    reduce_scatter: curve(10e-6, 25e9, 1.0),
};
/// TCP on one machine: 30 us a message, the memory's rate split by the copies of a socket.
const HOST_LINKS: Links = Links {
    all_to_all: curve(30e-6, 2e9, 1.0),
    all_reduce: curve(60e-6, 2e9, 1.0),
    reduce_scatter: curve(30e-6, 2e9, 1.0),
};

/// All devices that a spec can name.
pub const DEVICES: &[Device] = &[
    Device {
        name: "a100_sxm",
        memory: 85_899_345_920.0,
        memory_rate: 2.039e12,
        cache: 40e6,
        flops_f32: 156e12,
        flops_f16: 312e12,
        link_rate: 300e9,
        network_rate: 25e9,
        host_rate: 25e9,
        per_node: 8,
        power: 400.0,
        links: A100_LINKS,
        source: "NVIDIA A100 80GB SXM datasheet; aiconfigurator a100_sxm.yaml (memory, links, network)",
    },
    Device {
        name: "h100_sxm",
        memory: 85_899_345_920.0,
        memory_rate: 3.35e12,
        cache: 50e6,
        flops_f32: 494.5e12,
        flops_f16: 989e12,
        link_rate: 450e9,
        network_rate: 50e9,
        host_rate: 50e9,
        per_node: 8,
        power: 700.0,
        links: H100_LINKS,
        source: "NVIDIA H100 SXM datasheet (half of the rates with sparsity); aiconfigurator h100_sxm.yaml",
    },
    Device {
        name: "h200_sxm",
        memory: 141e9,
        memory_rate: 4.8e12,
        cache: 50e6,
        flops_f32: 494.5e12,
        flops_f16: 989e12,
        link_rate: 450e9,
        network_rate: 50e9,
        host_rate: 50e9,
        per_node: 8,
        power: 700.0,
        links: H100_LINKS,
        source: "NVIDIA H200 SXM datasheet; links and NCCL as H100 (planner notes 4.4)",
    },
    Device {
        name: "b200",
        memory: 180e9,
        memory_rate: 7.7e12,
        cache: 126e6,
        flops_f32: 1.1e15,
        flops_f16: 2.2e15,
        link_rate: 900e9,
        network_rate: 50e9,
        host_rate: 50e9,
        per_node: 8,
        power: 1000.0,
        links: B200_LINKS,
        source: "NVIDIA HGX B200 datasheet (half of the rates with sparsity), one ConnectX-7 a GPU",
    },
    Device {
        name: "l40s",
        memory: 48e9,
        memory_rate: 864e9,
        cache: 96e6,
        flops_f32: 183e12,
        flops_f16: 362e12,
        link_rate: 32e9,
        network_rate: 25e9,
        host_rate: 25e9,
        per_node: 8,
        power: 350.0,
        links: PCIE_LINKS,
        source: "NVIDIA L40S datasheet (rates without sparsity), PCI Express 4.0 x16, no NVLink",
    },
    Device {
        name: "cpu_xeon_2",
        memory: 24e9,
        memory_rate: 19.8e9,
        cache: 35.8e6,
        flops_f32: 155e9,
        flops_f16: 155e9,
        link_rate: 2e9,
        network_rate: 1.25e9,
        host_rate: 19.8e9,
        per_node: 1,
        power: 30.0,
        links: HOST_LINKS,
        source: "two cores of an Intel Xeon at 2.5 GHz, measured one core at a time on a shared machine (copy 9.9 GB/s, \
                 AVX2 FMA 77 GFLOP/s) and doubled; 10 GbE and 30 W are assumed",
    },
];

/// The device that a spec calls `name`.
#[must_use]
pub fn device(name: &str) -> Option<&'static Device> {
    DEVICES.iter().find(|device| device.name == name)
}

/// Adds a problem that names the nearest device, unless `name` is one.
pub(super) fn check_name(name: &str, problems: &mut Problems) {
    let names: Vec<&str> = DEVICES.iter().map(|device| device.name).collect();
    problems.check(names.contains(&name), "device", || crate::config::unknown_name("device", name, &names));
}

//! What can be rented: pools of equal devices, their price, how often they fail.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::device::{self, Device};
use crate::config::Problems;
use crate::units::{self, ByteSize};

crate::documented! {
    /// Devices of one kind. Each pool is a candidate of its own: a job runs in one of them.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct PoolSpec {
        /// Name of the pool, as answers show it.
        pub name: String,
        /// The device, by its name in the catalogue.
        pub device: String,
        /// Nodes that the job gets.
        pub nodes: u32,
        /// Devices of a node; the catalogue's where absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub devices_per_node: Option<u32>,
        /// Price of one device for an hour, in the currency of `budget`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub price_per_device_hour: Option<f64>,
        /// Memory of a device, where it is not the catalogue's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub memory: Option<ByteSize>,
        /// The most that tables may take of a device's memory; what is left beside the dense part where absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub table_memory: Option<ByteSize>,
        /// Memory of a node's host, for tables with a `device_cache`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub host_memory: Option<ByteSize>,
        /// Bytes per second of a device to its host's memory, where not the catalogue's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub host_rate: Option<ByteSize>,
        /// Bytes per second to devices of the same node, where not the catalogue's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub link_rate: Option<ByteSize>,
        /// Bytes per second of a device to other nodes, where not the catalogue's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub network_rate: Option<ByteSize>,
        /// Mean time between failures of one device.
        #[serde(default = "default_mtbf", with = "units::duration")]
        pub mtbf_per_device: Duration,
        /// From a failure to the first new step, without the work that is done again.
        #[serde(default = "default_restart", with = "units::duration")]
        pub restart: Duration,
        /// Energy price of a kilowatt hour; absent: energy is told without a price.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub price_per_kwh: Option<f64>,
    }
}

/// Llama 3 (arXiv 2407.21783, table 5): 419 interruptions in 54 days of 16,384 H100, one in 50,700 device hours.
fn default_mtbf() -> Duration {
    Duration::from_secs(50_000 * 3600)
}

fn default_restart() -> Duration {
    Duration::from_secs(300)
}

impl PoolSpec {
    /// The device with this pool's own figures in it; none where the catalogue has no such name.
    #[must_use]
    pub fn device(&self) -> Option<Device> {
        let mut device = *device::device(&self.device)?;
        if let Some(memory) = self.memory {
            device.memory = memory.bytes() as f64;
        }
        if let Some(rate) = self.link_rate {
            let ratio = rate.bytes() as f64 / device.link_rate;
            device.link_rate = rate.bytes() as f64;
            for curve in
                [&mut device.links.all_to_all, &mut device.links.all_reduce, &mut device.links.reduce_scatter]
            {
                curve.rate *= ratio;
            }
        }
        if let Some(rate) = self.network_rate {
            device.network_rate = rate.bytes() as f64;
        }
        if let Some(rate) = self.host_rate {
            device.host_rate = rate.bytes() as f64;
        }
        device.per_node = self.devices_per_node.unwrap_or(device.per_node);
        Some(device)
    }

    /// Devices of the whole pool; 0 where the catalogue has no such device.
    #[must_use]
    pub fn devices(&self) -> u32 {
        self.device().map_or(0, |device| device.per_node.saturating_mul(self.nodes))
    }

    pub(super) fn validate(&self, p: &mut Problems) {
        p.check(!self.name.is_empty(), "name", || "is empty, give the pool a name");
        device::check_name(&self.device, p);
        p.check((1..=1024).contains(&self.nodes), "nodes", || {
            format!("{} nodes, give between 1 and 1024", self.nodes)
        });
        let per_node = self.devices_per_node.unwrap_or(1);
        p.check((1..=64).contains(&per_node), "devices_per_node", || {
            format!("{per_node} devices a node, give between 1 and 64")
        });
        for (field, price) in
            [("price_per_device_hour", self.price_per_device_hour), ("price_per_kwh", self.price_per_kwh)]
        {
            p.check(
                price.is_none_or(|price| price >= 0.0 && price.is_finite()),
                field,
                || "is negative or no number, give a price of 0 or more or leave it out",
            );
        }
        for (field, size) in [
            ("memory", self.memory),
            ("table_memory", self.table_memory),
            ("host_memory", self.host_memory),
            ("host_rate", self.host_rate),
            ("link_rate", self.link_rate),
            ("network_rate", self.network_rate),
        ] {
            p.check(
                size.is_none_or(|size| size.bytes() > 0),
                field,
                || "is 0, give a size or leave it out for the catalogue's",
            );
        }
        p.check(!self.mtbf_per_device.is_zero(), "mtbf_per_device", || "is 0, give for instance \"50000h\"");
    }
}

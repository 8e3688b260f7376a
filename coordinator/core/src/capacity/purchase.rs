//! What the next better purchases would give: each is planned anew, and its step and price set against those at hand.

use muster_proto::capacity::{CapacitySpec, DEVICES, Device, PoolSpec};

use super::answer::cluster;
use super::place::{Unplaced, place};
use crate::cost::Workload;

/// Something to buy.
#[derive(Debug, Clone, PartialEq)]
pub struct Purchase {
    /// In words.
    pub what: String,
    /// Seconds of a step then, or why there is no plan.
    pub seconds: Result<f64, Unplaced>,
    /// Price of all devices for an hour, where one is known.
    pub price: Option<f64>,
}

/// One node more, the next larger card, links twice as fast and memory twice as large, each by itself.
#[must_use]
pub fn purchases(spec: &CapacitySpec, pool: &PoolSpec, device: Device) -> Vec<Purchase> {
    let workload = Workload::from_spec(spec);
    let weigh = |what: String, device: Device, nodes: u32, hourly: Option<f64>| {
        let cluster = cluster(pool, device, nodes);
        Purchase {
            what,
            price: hourly.map(|price| price * cluster.n()),
            seconds: place(&workload, &cluster).map(|placed| placed.step.seconds),
        }
    };
    let price = pool.price_per_device_hour;
    let mut found = vec![weigh("one more node".into(), device, pool.nodes + 1, price)];
    if let Some(next) = next(device) {
        // Its price is known where another pool of the spec has the card.
        let same = spec.pools.iter().find(|other| other.device == next.name);
        let hourly = same.and_then(|other| other.price_per_device_hour);
        let next = Device { per_node: device.per_node, ..next };
        found.push(weigh(format!("{} instead of {}", next.name, device.name), next, pool.nodes, hourly));
    }
    if pool.nodes > 1 {
        let faster = Device { network_rate: 2.0 * device.network_rate, ..device };
        found.push(weigh("network cards twice as fast".into(), faster, pool.nodes, None));
    }
    let larger = Device { memory: 2.0 * device.memory, ..device };
    found.push(weigh("devices with twice the memory".into(), larger, pool.nodes, None));
    found
}

/// The card with the least rate of memory above this one's.
fn next(device: Device) -> Option<Device> {
    let faster = DEVICES.iter().filter(|other| other.memory_rate > device.memory_rate);
    faster.min_by(|a, b| a.memory_rate.total_cmp(&b.memory_rate)).copied()
}

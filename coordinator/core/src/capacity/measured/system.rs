//! The cluster that a measurement ran on, by the names that its publishers gave the system.
//!
//! A name may tell nodes (`2x...`, `..._n16_...`, `4-nodes-...`), devices of a node and the card (`x8H100-SXM-80GB`, `DGX H100`).

use muster_proto::capacity::{Device, device};

use crate::cost::Cluster;

/// Products whose name does not tell the card, and that ship with one HGX H100 board alone: (name, devices of a node).
///
/// By the vendors' product names; the system descriptions of the MLPerf rounds were not at hand.
const PRODUCTS: &[(&str, u32)] = &[
    ("EOS", 8),
    ("G593-SD0", 8),
    ("G593-ZD2", 8),
    ("ESC-N8-E11", 8),
    ("D74H-7U", 8),
    ("AS-8125GS-TNHR", 8),
    ("SYS-821GE-TNHR", 8),
    ("SYS-421GU-TNX", 4),
    ("SYS-421GU-TNXR", 4),
];

/// Cards as names have them, and as the catalogue does.
const CARDS: &[(&str, &str)] =
    &[("A100", "a100_sxm"), ("H100", "h100_sxm"), ("H200", "h200_sxm"), ("B200", "b200")];

/// Marks of cards on NVLink: their socket, and boards that have no other.
const SOCKETS: &[&str] = &["SXM", "DGX", "HGX"];

/// The cluster that any of `names` tells; the first that tells something is right.
///
/// # Errors
/// In words: a card that is not in the catalogue or not told, names that contradict each other.
pub(super) fn cluster_of(names: &[&str]) -> Result<Cluster, String> {
    let upper = names.iter().map(|name| name.to_uppercase());
    let upper: Vec<String> = upper.filter(|name| !name.contains("PLACEHOLDER")).collect();
    let shown = names.iter().filter(|name| !name.is_empty()).copied().collect::<Vec<_>>().join(", ");
    if let Some(why) = not_in_catalogue(&upper.join(" ")) {
        return Err(why.to_owned());
    }
    let told: Vec<u32> = upper.iter().filter_map(|name| nodes(name)).collect();
    if told.iter().any(|nodes| *nodes != told[0]) {
        return Err(format!("its names tell different numbers of nodes: {shown}"));
    }
    let named = upper.iter().find_map(|name| card(name));
    let Some(card) = named.or_else(|| upper.iter().find_map(|name| product(name))) else {
        return Err(format!("system {shown} is not in the catalogue: its names tell no card"));
    };
    let Card { device, count, is_sxm, memory } = card;
    if !is_sxm && !SOCKETS.iter().any(|mark| upper.iter().any(|name| name.contains(mark))) {
        return Err(format!("{shown} may be SXM or PCI Express, its names do not tell"));
    }
    if let Some(memory) = memory.filter(|memory| (memory / device.memory - 1.0).abs() > MEMORY_TOLERANCE) {
        let (memory, name) = (memory / 1e9, device.name);
        return Err(format!(
            "cards of {memory:.0} GB are not in the catalogue, its {name} has another memory"
        ));
    }
    let per_node = count.unwrap_or(device.per_node);
    match told.first() {
        // A number above a node's is that of all cards.
        None => of_devices(device, per_node),
        Some(nodes) if (1..=MOST_NODES).contains(nodes) && (1..=device.per_node).contains(&per_node) => {
            Ok(Cluster::new(device, *nodes, per_node))
        }
        Some(nodes) => Err(format!("{nodes} nodes of {per_node} cards are not in the catalogue")),
    }
}

/// As many nodes as a pool may have.
const MOST_NODES: u32 = 1024;

/// Datasheets and names round gigabytes differently: 80 GiB are 85.9 GB, and a B200 has 180 or 192 by the count of its stacks.
const MEMORY_TOLERANCE: f64 = 0.08;

/// So many devices in whole nodes of the catalogue's size, or in a part of one.
///
/// # Errors
/// In words: the last node would be in part used.
pub(super) fn of_devices(device: Device, devices: u32) -> Result<Cluster, String> {
    let per_node = device.per_node.min(devices);
    if devices == 0 || !devices.is_multiple_of(per_node) || devices / per_node > MOST_NODES {
        return Err(format!("{devices} devices are no whole nodes of {per_node}, up to {MOST_NODES}"));
    }
    Ok(Cluster::new(device, devices / per_node, per_node))
}

fn not_in_catalogue(name: &str) -> Option<&'static str> {
    let reasons = [
        ("SPR", "CPUs of kind Sapphire Rapids with the reference program are not in the catalogue"),
        ("PCIE", "cards on PCI Express are not in the catalogue"),
        ("NVL", "cards of kind NVL are not in the catalogue"),
        (
            "L40",
            "L40 and L40S without NVLink: their collectives were never measured, so there is no curve to forecast from",
        ),
    ];
    // NVLink is how cards are joined, NVL a kind of them.
    let name = name.replace("NVLINK", "");
    reasons.into_iter().find(|(mark, _)| name.contains(mark)).map(|(_, why)| why)
}

struct Card {
    device: Device,
    count: Option<u32>,
    /// Whether there is no other kind of the card.
    is_sxm: bool,
    memory: Option<f64>,
}

fn known(catalogue: &str) -> Option<Device> {
    device::device(catalogue).copied()
}

fn card(name: &str) -> Option<Card> {
    let found = CARDS.iter().find_map(|(mark, catalogue)| {
        let before = name.match_indices(mark).find_map(|(at, _)| Some((at, before(&name[..at])?)));
        let (at, count) = before?;
        Some((&name[at + mark.len()..], count, known(catalogue)?))
    });
    let (rest, count, device) = found?;
    Some(Card {
        device,
        count: count.or_else(|| cards_first(name)),
        is_sxm: device.name == "b200",
        memory: rest.split(|c: char| !c.is_ascii_alphanumeric()).find_map(gigabytes),
    })
}

/// What stands before a card's name: how many of them, if it is said; none where a longer name goes on, as in `GB200`.
fn before(text: &str) -> Option<Option<u32>> {
    let ends = |text: &str| text.chars().next_back().is_none_or(|c| c == 'X' || !c.is_ascii_alphanumeric());
    // `X4H100` and `8XH100` count cards, the digits of `XE9680XH200` are the product's.
    let bare =
        text.strip_suffix('X').filter(|bare| bare.ends_with(|c: char| c.is_ascii_digit())).unwrap_or(text);
    let product = bare.trim_end_matches(|c: char| c.is_ascii_digit());
    if product.len() < bare.len() && ends(product) {
        return Some(bare[product.len()..].parse().ok());
    }
    (bare.len() < text.len() || ends(text)).then_some(None)
}

/// `8X NVIDIA H100` counts cards, `16XNVIDIA DGX H100` nodes.
fn cards_first(name: &str) -> Option<u32> {
    let (count, rest) = number_at_start(name)?;
    let rest =
        rest.strip_prefix('X')?.trim_start().trim_start_matches("NVIDIA").trim_start_matches([' ', '-', '_']);
    CARDS.iter().any(|(card, _)| rest.starts_with(card)).then_some(count)
}

fn gigabytes(word: &str) -> Option<f64> {
    word.strip_suffix("GB")?.parse::<f64>().ok().map(|number| number * 1e9)
}

fn product(name: &str) -> Option<Card> {
    let bare = number_at_start(name).and_then(|(_, rest)| rest.strip_prefix('X')).unwrap_or(name);
    let head = bare.split('_').next()?;
    let (_, count) = PRODUCTS.iter().find(|(product, _)| *product == head)?;
    Some(Card { device: known("h100_sxm")?, count: Some(*count), is_sxm: true, memory: None })
}

fn number_at_start(text: &str) -> Option<(u32, &str)> {
    let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
    text[..text.len() - rest.len()].parse().ok().map(|number| (number, rest))
}

fn nodes(name: &str) -> Option<u32> {
    let by_mark = || {
        name.match_indices("_N").find_map(|(at, mark)| {
            let (nodes, rest) = number_at_start(&name[at + mark.len()..])?;
            rest.chars().next().is_none_or(|c| !c.is_ascii_alphanumeric()).then_some(nodes)
        })
    };
    let by_factor = || {
        let (nodes, rest) = number_at_start(name)?;
        (rest.starts_with('X') && cards_first(name).is_none()).then_some(nodes)
    };
    let by_word = || {
        let (nodes, rest) = number_at_start(name)?;
        rest.trim_start_matches(['-', '_', ' ']).starts_with("NODE").then_some(nodes)
    };
    by_mark().or_else(by_factor).or_else(by_word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(names: &[&str]) -> (&'static str, u32, u32) {
        let cluster = cluster_of(names).unwrap();
        (cluster.device.name, cluster.nodes(), cluster.per_node)
    }

    #[test]
    fn names_tell_nodes_cards_and_how_many_of_them() {
        let h100 = |nodes, per_node| ("h100_sxm", nodes, per_node);
        for (names, expected) in [
            (["XE8640x4H100-SXM-80GB", "1xXE8640x4H100-SXM-80GB"], h100(1, 4)),
            (["2xXE8640x4H100-SXM-80GB", "2xXE8640x4H100-SXM-80GB"], h100(2, 4)),
            (["XE9680x8A100-SXM-80GB", "1xXE9680x8A100-SXM-80GB"], ("a100_sxm", 1, 8)),
            (["dgxh100_n16_ngc23.04_merlin_hugectr", "16xNVIDIA DGX H100"], h100(16, 8)),
            (["merlin_hugectr", "4xNVIDIA DGX A100"], ("a100_sxm", 4, 8)),
            (["eos_ngc23.09_merlin_hugectr", "1xNVIDIA DGX H100"], h100(1, 8)),
            (["eos_n8_ngc23.09_merlin_hugectr", ""], h100(8, 8)),
            (["SYS-421GU-TNXR", "1xSUBMISSION_PLATFORM_PLACEHOLDER"], h100(1, 4)),
            (["G593-SD0_hugectr", "1xG593-SD0"], h100(1, 8)),
            (["hugectr", "2xG593-SD0"], h100(2, 8)),
            (["8xH200-SXM-141GB", ""], ("h200_sxm", 1, 8)),
            (["64xH100-SXM5-80GB", ""], h100(8, 8)),
            (["ngc24.04_merlin", "4-nodes DGX-H200"], ("h200_sxm", 4, 8)),
            (["dgxb200_n2_hugectr", ""], ("b200", 2, 8)),
            (["XE9680xH200-SXM-141GB", ""], ("h200_sxm", 1, 8)),
            (["8x NVIDIA H100-SXM5-80GB", ""], h100(1, 8)),
            (["8x A100-SXM4-80GB", ""], ("a100_sxm", 1, 8)),
            (["dgxh100_n8_merlin", "1xSUBMISSION_PLATFORM_PLACEHOLDER"], h100(8, 8)),
            (["h100_n4_merlin_hugectr", "4xNVIDIA DGX H100"], h100(4, 8)),
        ] {
            assert_eq!(found(&names), expected, "{names:?}");
        }
    }

    #[test]
    fn a_system_that_the_catalogue_lacks_is_told_why() {
        for (names, why) in [
            (["ESC8000-E11-8xH100-PCIE-80GB", "1xESC8000-E11"], "PCI Express"),
            (["4-nodes-SPR-pytorch", "reference_implementation"], "Sapphire Rapids"),
            (["G5500V7x8xL40S", ""], "L40"),
            (["XE9680x8A100-SXM-40GB", ""], "cards of 40 GB"),
            (["gb200_n2", ""], "tell no card"),
            (["R750x4H100", ""], "SXM or PCI Express"),
            (["dgxh100_n8", "16xNVIDIA DGX H100"], "different numbers of nodes"),
            (["12xH100-SXM", ""], "no whole nodes"),
            (["0xH100-SXM", ""], "no whole nodes"),
            (["dgxh100_n4000000000", ""], "4000000000 nodes of 8"),
            (["dgxh100_n0", ""], "0 nodes of 8"),
            (["D54U-3U", "1xSUBMISSION_PLATFORM_PLACEHOLDER"], "tell no card"),
        ] {
            let refused = cluster_of(&names).unwrap_err();
            assert!(refused.contains(why), "{names:?}: {refused}");
        }
    }
}

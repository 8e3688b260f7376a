//! What bad questions are told.

use super::CapacitySpec;
use crate::config;

const GOOD: &str = "name = \"q\"\n[[pools]]\nname = \"p\"\ndevice = \"h100_sxm\"\nnodes = 1\n\
                    [[tables]]\nname = \"item\"\nrows = 1000\ndim = 16\n[run]\nbatch = 64\nsamples = 1000\n";

fn refused(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    config::parse::<CapacitySpec>(&GOOD.replace(from, to), "q.toml", &[]).unwrap_err().to_string()
}

#[test]
fn a_good_question_is_read() {
    assert_eq!(config::parse::<CapacitySpec>(GOOD, "q.toml", &[]).unwrap().tables.len(), 1);
}

#[test]
fn zero_devices_zero_batch_and_a_negative_price_are_each_named_with_the_remedy() {
    assert_eq!(
        refused("nodes = 1", "nodes = 0"),
        "q.toml:5: pools.0.nodes: 0 nodes, give between 1 and 1024"
    );
    assert_eq!(
        refused("batch = 64", "batch = 0"),
        "q.toml:11: run.batch: is 0, a step needs at least 1 sample"
    );
    let price = refused("nodes = 1", "nodes = 1\nprice_per_device_hour = -2.0");
    assert!(price.contains("q.toml:6: pools.0.price_per_device_hour: is negative"), "{price}");
}

#[test]
fn two_pools_of_one_name_are_refused() {
    let text =
        GOOD.replacen("[[pools]]", "[[pools]]\nname = \"p\"\ndevice = \"a100_sxm\"\nnodes = 1\n[[pools]]", 1);
    let name = GOOD.split("[[pools]]").nth(1).unwrap().lines().find(|line| line.starts_with("name")).unwrap();
    let text = text.replace(name, "name = \"p\"");
    let message = config::parse::<CapacitySpec>(&text, "q.toml", &[]).unwrap_err().to_string();
    assert!(
        message.contains("pools.1.name: `p` is the name of pool 0 too, give each a name of its own"),
        "{message}"
    );
}

#[test]
fn an_unknown_card_is_told_the_nearest_one() {
    assert_eq!(
        refused("h100_sxm", "h100_sxn"),
        "q.toml:4: pools.0.device: unknown device `h100_sxn`, did you mean `h100_sxm`?"
    );
}

#[test]
fn a_table_larger_than_all_memory_is_named_with_the_bytes_missing() {
    let message = refused("rows = 1000", "rows = 10000000000");
    assert!(message.starts_with("q.toml:8: tables.0.rows: table item takes 1280.0 GB"), "{message}");
    assert!(message.contains("592.8 GB more than all memory"), "{message}");
}

#[test]
fn a_budget_needs_the_price_of_every_pool() {
    let budget = refused("batch = 64", "batch = 64\nbudget = 9.0");
    assert!(budget.contains("run.budget: cannot be held, pool p has no `price_per_device_hour`"), "{budget}");
}

#[test]
fn a_fleet_of_more_starts_than_can_be_simulated_is_refused_and_so_are_nodes_that_no_pool_has() {
    let fleet = |count: u32, nodes: u32| {
        let hourly = format!(
            "[[fleet]]\nname = \"h\"\ncount = {count}\nperiod = \"1h\"\nsamples = 1\nnodes = {nodes}\ndeadline = \"1h\"\n"
        );
        let monthly =
            "[[fleet]]\nname = \"m\"\nperiod = \"720h\"\nsamples = 1\nnodes = 1\ndeadline = \"9h\"\n";
        config::parse::<CapacitySpec>(&format!("{GOOD}{hourly}{monthly}"), "q.toml", &[]).map(|_| ())
    };
    assert!(fleet(2000, 1).is_ok());
    let many = fleet(10_000, 1).unwrap_err().to_string();
    assert!(many.contains("fleet: starts 7200001 retrainings within its slowest period"), "{many}");
    let large = fleet(1, 4_000_000_000).unwrap_err().to_string();
    assert!(large.contains("fleet.0.nodes: 4000000000 nodes, give between 1 and 1024"), "{large}");
}

#[test]
fn flops_above_any_samples_are_refused() {
    let flops = refused("[run]", "[dense]\nflops_per_sample = 1e308\n[run]");
    assert!(flops.contains("dense.flops_per_sample"), "{flops}");
}

#[test]
fn every_key_of_a_question_is_on_the_reference_page() {
    let text = GOOD.replace(
        "[run]",
        "[dense]\nlstm = [{ input = 1, hidden = 1, events = 1.0 }]\nsoftmax = { positions = 1.0, candidates = 1, dim = 1 }\n\
         [[calibration]]\nphase = \"lookup\"\npoints = [[\"1ms\", \"2ms\"], [\"2ms\", \"3ms\"]]\n[[fleet]]\nname = \"f\"\nperiod = \"1h\"\nsamples = 1\nnodes = 1\ndeadline = \"1h\"\n[run]",
    );
    let spec = config::parse::<CapacitySpec>(&text, "q.toml", &[]).unwrap();
    assert_eq!(config::reference::undocumented(super::SECTIONS, &spec).unwrap(), Vec::<String>::new());
}

#[test]
fn a_calibration_of_one_point_is_refused() {
    let message =
        refused("[run]", "[[calibration]]\nphase = \"dense\"\npoints = [[\"1ms\", \"2ms\"]]\n[run]");
    assert!(message.contains("calibration.0.points: needs at least two pairs"), "{message}");
    let twice =
        "[[calibration]]\nphase = \"dense\"\npoints = [[\"1ms\", \"2ms\"], [\"2ms\", \"3ms\"]]\n".repeat(2);
    let message = refused("[run]", &format!("{twice}[run]"));
    assert!(message.contains("calibration.1.phase: is that of calibration 0 too"), "{message}");
    let message = refused("[run]", "[[calibration]]\nphase = \"dens\"\npoints = []\n[run]");
    assert!(message.contains("did you mean `dense`?"), "{message}");
}

//! What bad questions are told, and what table lists give.

use super::{CapacitySpec, tables};
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
fn a_csv_list_gives_features_that_share_a_table() {
    let list =
        tables::from_csv("table,rows,dim,pooling,zipf_alpha,shared_group\nt0,10,8,1;10,1.2,s\n").unwrap();
    assert_eq!((list[0].pooling.clone(), list[0].zipf), (vec![1.0, 10.0], 1.2));
    let error = tables::from_csv("header\nt0,ten,8,1,,\n").unwrap_err().to_string();
    assert!(error.starts_with("line 2: rows `ten` is no whole number"), "{error}");
}

#[test]
fn a_torchrec_list_gives_a_lookup_for_each_feature() {
    let text =
        r#"[{"name":"t","num_embeddings":5,"embedding_dim":4,"feature_names":["a","b"],"pooling_factor":3}]"#;
    assert_eq!(tables::from_torchrec(text).unwrap()[0].pooling, [3.0, 3.0]);
    let error = tables::from_torchrec(r#"[{"embedding_dim":4}]"#).unwrap_err().to_string();
    assert_eq!(error, "table 0: num_embeddings is missing or no number above 0");
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
    let message = refused("[run]", "[[calibration]]\nphase = \"dens\"\npoints = []\n[run]");
    assert!(message.contains("did you mean `dense`?"), "{message}");
}

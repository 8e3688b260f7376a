//! `muster plan --options`: the plan's cost counted again from the file alone, and what is wrong with a file.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use muster_tests::folder::Folder;
use serde_json::{Value, json};

/// The program under test.
const MUSTER: &str = env!("CARGO_BIN_EXE_muster-under-test");

/// `[[value, times], ...]` written out.
fn expanded(runs: &Value) -> Vec<f64> {
    let runs = runs.as_array().unwrap().iter();
    runs.flat_map(|run| vec![run[0].as_f64().unwrap(); run[1].as_u64().unwrap() as usize]).collect()
}

/// What the ranks do and hold under a plan, by the file: the most milliseconds and the most bytes of a rank.
fn counted(file: &Value, plan: &Value) -> (f64, f64) {
    let ranks = file["world_size"].as_u64().unwrap() as usize;
    let (mut work, mut memory) = (vec![0.0; ranks], vec![0.0; ranks]);
    let tables = file["tables"].as_object().unwrap();
    assert_eq!(plan["assignment"].as_object().unwrap().len(), tables.len(), "each table is placed");
    for (name, options) in tables {
        let placed = &plan["assignment"][name];
        let (sharding, kernel) = placed["option"].as_str().unwrap().split_once('/').unwrap();
        let chosen = options.as_array().unwrap().iter();
        let mut chosen = chosen.filter(|option| option["type"] == sharding && option["kernel"] == kernel);
        let option = chosen.next().unwrap();
        let (milliseconds, bytes) = (expanded(&option["perf_ms_rle"]), expanded(&option["hbm_bytes_rle"]));
        let on = placed["ranks"].as_array().unwrap();
        assert_eq!(on.len(), milliseconds.len(), "{name}: a rank for each piece of {sharding}");
        for (piece, rank) in on.iter().enumerate() {
            let rank = rank.as_u64().unwrap() as usize;
            work[rank] += milliseconds[piece];
            memory[rank] += bytes[piece];
        }
    }
    let most = |values: Vec<f64>| values.into_iter().fold(0.0, f64::max);
    (most(work), most(memory))
}

#[test]
fn the_cost_of_published_models_is_what_the_file_says_of_the_placement_and_near_the_optimum() {
    let Some(data) = std::env::var_os("MUSTER_DATA").map(PathBuf::from) else {
        assert!(std::env::var_os("MUSTER_REQUIRE_ALL").is_none(), "MUSTER_DATA is not set");
        return println!("skipped: set MUSTER_DATA to the folder with planner/fixture_options_*.json");
    };
    let folder = Folder::new(MUSTER);
    for model in
        ["criteo_1tb_full_26_8", "mlperf_dlrm_dcnv2_26_8", "mlperf_dlrm_dcnv2_26_64", "hugectr_t200_100b_64"]
    {
        let path = data.join(format!("planner/fixture_options_{model}.json"));
        let file: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let plan = folder.result(&["plan", "--options", path.to_str().unwrap()]);
        let (cost, bound) = (plan["cost"].as_f64().unwrap(), plan["bound"].as_f64().unwrap());
        let (work, memory) = counted(&file, &plan);
        assert!((work / cost - 1.0).abs() < 1e-9, "{model}: {work} by the file, {cost} by the plan");
        assert!(
            memory <= file["hbm_cap_per_rank_bytes"].as_f64().unwrap(),
            "{model}: {memory} bytes on a rank"
        );
        assert!((plan["gap"].as_f64().unwrap() - (cost / bound - 1.0)).abs() < 1e-9, "{plan}");
        match file["proved_optimum"].as_f64() {
            Some(optimum) => {
                assert!(cost <= 1.02 * optimum, "{model}: {cost}, the optimum is {optimum}");
                assert!(bound <= optimum * (1.0 + 1e-5), "{model}: {bound} is above the optimum {optimum}");
            }
            None => assert!(cost <= 1.05 * bound, "{model}: {cost} is not within 5 % of {bound}"),
        }
        let threads = folder.result(&["plan", "--options", path.to_str().unwrap(), "--threads", "16"]);
        assert_eq!(threads["assignment"], plan["assignment"], "{model}: the number of threads shows");
    }
}

fn options(world_size: u64, objective: &str, tables: &[(&str, f64, u64)]) -> Value {
    let one = |(name, cost, bytes): &(&str, f64, u64)| {
        let option = json!({
            "type": "table_wise", "kernel": "fused", "partition_by": "device",
            "perf_ms_rle": [[cost, 1]], "hbm_bytes_rle": [[bytes, 1]],
        });
        ((*name).to_owned(), json!([option]))
    };
    json!({
        "model": "small", "world_size": world_size, "local_world_size": world_size.max(1),
        "hbm_cap_per_rank_bytes": 100, "objective": objective,
        "tables": tables.iter().map(one).collect::<BTreeMap<_, _>>(),
    })
}

const OBJECTIVE: &str = "max over ranks of sum of perf_ms";

#[test]
fn four_tables_on_two_ranks_are_shared_as_evenly_as_they_can_be() {
    let folder = Folder::new(MUSTER);
    let tables = [("a", 4.0, 10), ("b", 3.0, 10), ("c", 2.0, 10), ("d", 1.0, 10)];
    folder.write("options.json", options(2, OBJECTIVE, &tables).to_string());
    let plan = folder.result(&["plan", "--options", "options.json"]);
    assert_eq!(plan["cost"], 5.0, "{plan}");
    assert!(plan["gap"].as_f64().unwrap() < 1e-9, "{plan}");
}

#[test]
fn files_that_cannot_be_planned_end_with_exit_code_2_and_say_what_is_wrong_where() {
    let folder = Folder::new(MUSTER);
    let cases = [
        (options(0, OBJECTIVE, &[("a", 1.0, 1)]), "world_size"),
        (options(2, "least regret", &[("a", 1.0, 1)]), "objective"),
        (options(2, OBJECTIVE, &[("a", -1.0, 1)]), "a"),
        (options(2, OBJECTIVE, &[("large", 1.0, 101)]), "large"),
    ];
    for (file, named) in cases {
        folder.write("options.json", file.to_string());
        let outcome = folder.muster(&["plan", "--options", "options.json"]);
        assert_eq!(outcome.code, Some(2), "{named}");
        let error = outcome.json()["error"].to_string();
        assert!(error.contains(named), "{error}");
    }
}

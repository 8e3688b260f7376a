//! `muster plan --options`: the plan's cost counted again from the file alone, and what is wrong with a file.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use muster_tests::folder::Folder;
use muster_tests::source::root;
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

const SHOP: &str = "deploy/examples/capacity/shop.toml";

fn from_root(args: &[&str]) -> std::process::Output {
    std::process::Command::new(MUSTER).args(args).current_dir(root()).output().unwrap()
}

fn planned(args: &[&str]) -> Value {
    let output = from_root(&[&["plan", SHOP, "--output", "json"], args].concat());
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stdout));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_plan_of_a_spec_says_what_each_rank_does_and_holds_and_what_the_next_purchase_gives() {
    let plan = planned(&[]);
    assert_eq!((plan["schema"].as_u64(), plan["unit"].as_str()), (Some(1), Some("seconds")));
    let (cost, bound) = (plan["cost"].as_f64().unwrap(), plan["bound"].as_f64().unwrap());
    assert!(bound > 0.0 && bound <= cost, "{bound} {cost}");
    assert!((plan["gap"].as_f64().unwrap() - (cost / bound - 1.0)).abs() < 1e-9);
    let ranks = plan["ranks"].as_array().unwrap();
    assert_eq!(ranks.len(), 32);
    let usable = plan["usable_bytes"].as_f64().unwrap();
    assert!(ranks.iter().all(|rank| rank["memory_bytes"].as_f64().unwrap() <= usable));
    let summed: f64 = plan["phases"].as_object().unwrap().values().filter_map(Value::as_f64).sum();
    assert!((summed / cost - 1.0).abs() < 1e-9, "{summed} {cost}");
    let purchases = plan["purchases"].as_array().unwrap();
    assert!(purchases.len() >= 4, "{purchases:?}");
    let faster = purchases.iter().find(|p| p["what"].as_str().unwrap().contains("instead of")).unwrap();
    assert!(faster["step_seconds"].as_f64().unwrap() < cost, "{faster}");
    assert_eq!(faster["price_per_hour"].as_f64(), Some(96.0), "h100 has a price in the spec: 32 x 3.0");
    let threads = planned(&["--threads", "16"]);
    assert_eq!(threads["assignment"], plan["assignment"], "the number of threads shows");
}

#[test]
fn pins_and_layouts_of_a_spec_are_kept_and_contradictions_are_named_at_the_edge() {
    let plan = planned(&["--set", "tables.1.layouts=[\"table_wise\"]", "--set", "tables.1.ranks=[5]"]);
    assert_eq!(plan["assignment"]["category"], json!({"option": "table_wise", "ranks": [5]}));
    let plan = planned(&["--set", "tables.0.forbid=[\"data_parallel\", \"row_wise\"]"]);
    let option = plan["assignment"]["item"]["option"].as_str().unwrap();
    assert!(!["data_parallel", "row_wise"].contains(&option), "{option}");
    let cases: [(&[&str], &str, &str); 8] = [
        (&["tables.0.layouts=[\"grid\"]", "tables.0.forbid=[\"grid\"]"], "tables.0.forbid", "take one out"),
        (&["tables.0.layouts=[\"row_wise\"]", "tables.0.ranks=[1]"], "tables.0.ranks", "drop `ranks`"),
        (&["tables.0.ranks=[99]"], "tables.0.ranks", "ranks 0 to 31"),
        (&["tables.0.ranks=[1, 1]"], "tables.0.ranks", "twice"),
        (&["tables.0.layouts=[\"row_wize\"]"], "tables.0.layouts.0", "did you mean `row_wise`?"),
        (&["pools.0.table_memory=1MB"], "tables.0", "does not fit"),
        (&["pools.0.table_memory=0"], "pools.0.table_memory", "is 0"),
        (&["pools.0.nodes=1", "tables.1.layouts=[\"table_row_wise\"]"], "tables.1", "add nodes"),
    ];
    for (sets, field, remedy) in cases {
        let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", *set]).collect();
        let output = from_root(&[&["plan", SHOP, "--output", "json"], &sets[..]].concat());
        assert_eq!(output.status.code(), Some(2), "{sets:?}");
        let error: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(error["error"]["field"], field, "{error}");
        assert!(error["error"]["message"].as_str().unwrap().contains(remedy), "{error}");
    }
}

#[test]
fn a_plan_after_another_moves_nothing_where_nothing_changed_and_a_foreign_file_is_refused() {
    let folder = Folder::new(MUSTER);
    let path = folder.path().join("plan.json");
    let first = planned(&[]);
    std::fs::write(&path, first.to_string()).unwrap();
    let again = planned(&["--from", path.to_str().unwrap()]);
    assert_eq!(again["moves"], json!({"pieces": 0, "bytes": 0.0}), "{again}");
    assert_eq!(again["assignment"], first["assignment"]);
    for (text, what) in [("nothing", "is no JSON"), ("{}", "schema 1"), ("{\"schema\": 1}", "`assignment`")] {
        std::fs::write(&path, text).unwrap();
        let output = from_root(&["plan", SHOP, "--from", path.to_str().unwrap(), "--output", "json"]);
        assert_eq!(output.status.code(), Some(2), "{text}");
        let error: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(error["error"]["field"], "--from", "{error}");
        assert!(error["error"]["message"].as_str().unwrap().contains(what), "{error}");
    }
}

#[test]
fn the_chart_has_a_bar_for_each_kind_of_rank_and_is_the_same_each_time() {
    let folder = Folder::new(MUSTER);
    let path = folder.path().join("ranks.svg");
    let chart = || {
        planned(&["--pool", "h100", "--chart", path.to_str().unwrap()]);
        std::fs::read_to_string(&path).unwrap()
    };
    let first = chart();
    assert!(first.starts_with("<svg") && first.contains("ranks") && first.contains("<title>loss"), "{first}");
    assert_eq!(first, chart());
    let unknown = from_root(&["plan", SHOP, "--pool", "h300", "--output", "json"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&unknown.stdout).contains("the pools are: a100, h100"));
}

/// No number of an answer is negative, none is missing by being no number.
fn sane(value: &Value, at: &str) {
    match value {
        Value::Number(number) => {
            let number = number.as_f64().unwrap();
            assert!(number.is_finite() && (number >= 0.0 || at.ends_with("bias")), "{at} is {number}");
        }
        Value::Array(values) => values.iter().for_each(|value| sane(value, at)),
        Value::Object(values) => values.iter().for_each(|(key, value)| sane(value, &format!("{at}.{key}"))),
        _ => {}
    }
}

#[test]
fn a_field_with_a_nearby_bad_value_gives_an_answer_or_an_error_that_names_it() {
    let fields = [
        "pools.0.nodes",
        "pools.0.price_per_device_hour",
        "pools.0.device",
        "tables.0.rows",
        "tables.0.dim",
        "tables.0.pooling",
        "tables.0.optimizer",
        "dense.lstm.0.hidden",
        "dense.lstm.0.events",
        "dense.flops_per_sample",
        "dense.parameters",
        "dense.softmax.positions",
        "run.batch",
        "run.samples",
        "run.epochs",
        "run.deadline",
        "run.budget",
        "run.checkpoint",
        "fleet.0.count",
        "fleet.0.period",
    ];
    let (mut answers, mut refusals) = (0, 0);
    for field in fields {
        for value in ["-1", "0", "1e30", "9000000000000000000", "nan", "\"\"", "[]", "true"] {
            let set = format!("{field}={value}");
            let output = from_root(&["plan", SHOP, "--set", &set, "--output", "json"]);
            let text = String::from_utf8_lossy(&output.stdout);
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(!stderr.contains("panicked"), "{set}: {stderr}");
            let answer: Value =
                serde_json::from_str(&text).unwrap_or_else(|_| panic!("{set}: {text} {stderr}"));
            if output.status.success() {
                answers += 1;
                sane(&answer, &set);
            } else {
                refusals += 1;
                assert_eq!(output.status.code(), Some(2), "{set}: {text}");
                let named = answer["error"].to_string();
                // A batch that no memory holds is the dense part's error, which says to take a smaller batch.
                let mut parts = field.split('.');
                let (first, last) = (parts.next().unwrap(), parts.next_back().unwrap());
                assert!(named.contains(first) || named.contains(last), "{set}: {named}");
            }
        }
        let misspelt = format!("{field}x=1");
        let output = from_root(&["plan", SHOP, "--set", &misspelt, "--output", "json"]);
        assert_eq!(output.status.code(), Some(2), "{misspelt}");
    }
    assert!(answers > 10 && refusals > 60, "{answers} {refusals}");
}

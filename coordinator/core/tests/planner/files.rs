//! Files of options: the format, its refusals, and the public models where `MUSTER_DATA` has them.

use std::path::PathBuf;

use muster_core::planner::{Effort, Layout, Plan, Problem, options_file, plan, verify};

const GOOD: &str = r#"{
  "world_size": 4, "local_world_size": 2, "hbm_cap_per_rank_bytes": 1000,
  "objective": "max over ranks of sum of perf_ms", "proved_optimum": null,
  "tables": {
    "b": [{"type": "table_wise", "kernel": "fused", "partition_by": "device",
           "perf_ms_rle": [[2.0, 1]], "hbm_bytes_rle": [[100, 1]]}],
    "a": [{"type": "row_wise", "partition_by": "uniform",
           "perf_ms_rle": [[1.0, 4]], "hbm_bytes_rle": [[10, 3], [5, 1]]},
          {"type": "table_row_wise", "partition_by": "host",
           "perf_ms_rle": [[1.5, 2]], "hbm_bytes_rle": [[20, 2]]},
          {"type": "table_column_wise", "partition_by": "host",
           "perf_ms_rle": [[1.0, 3]], "hbm_bytes_rle": [[20, 3]]},
          {"type": "grid_shard", "partition_by": "multi_host",
           "perf_ms_rle": [[0.9, 4]], "hbm_bytes_rle": [[20, 4]]}]
  }}"#;

fn refusal(from: &str, to: &str) -> (String, Option<String>) {
    assert!(GOOD.contains(from));
    let error = options_file::parse(&GOOD.replacen(from, to, 1)).unwrap_err();
    (error.to_string(), error.field())
}

#[test]
fn a_file_becomes_a_problem_with_layouts_and_runs() {
    let problem = options_file::parse(GOOD).unwrap();
    assert_eq!((problem.world_size(), problem.nodes()), (4, 2));
    let layouts: Vec<Layout> = problem.tables()[0].options.iter().map(|choice| choice.layout).collect();
    assert_eq!(layouts, [Layout::EveryRank, Layout::WholeNodes, Layout::OneNode, Layout::WholeNodes]);
    let runs: Vec<(usize, u64)> =
        problem.tables()[0].options[0].runs.iter().map(|run| (run.pieces, run.memory)).collect();
    assert_eq!(runs, [(3, 10), (1, 5)]);
    assert_eq!(problem.tables()[1].options[0].name, "table_wise/fused");
    let found = plan(&problem, Effort::default()).unwrap();
    assert_eq!(found.cost, 2.0);
    assert!(found.gap() < 1e-9, "{}", found.bound);
}

#[test]
fn a_file_that_is_not_json_is_refused_with_line_and_column() {
    let (message, _) = refusal("\"tables\": {", "\"tables\": [");
    assert!(message.starts_with("line 4, column 12: "), "{message}");
    let (message, _) = refusal("\"world_size\": 4", "\"world_size\": -4");
    assert!(message.starts_with("line 2, column ") && message.contains("-4"), "{message}");
    let (message, _) = refusal("[2.0, 1]", "[NaN, 1]");
    assert!(message.starts_with("line 6, column 29: expected value"), "{message}");
}

#[test]
fn an_unknown_objective_is_refused_with_those_that_are_known() {
    let (message, field) = refusal("max over ranks of sum of perf_ms", "min of all");
    assert_eq!(message, "`objective` is `min of all`; known are: `max over ranks of sum of perf_ms`");
    assert_eq!(field.as_deref(), Some("objective"));
}

#[test]
fn more_ranks_or_pieces_than_memory_holds_are_refused() {
    let (message, field) = refusal("\"world_size\": 4", "\"world_size\": 4000000000");
    assert_eq!(message, "`world_size` is 4000000000; give at most 1048576");
    assert_eq!(field.as_deref(), Some("world_size"));
    let (message, _) = refusal("[[2.0, 1]]", "[[2.0, 4000000000]]");
    assert!(message.contains("has 4000000000 pieces; give at most 1048576"), "{message}");
}

#[test]
fn fields_that_do_not_go_together_are_refused_by_path() {
    let (message, field) = refusal("\"device\"", "\"somewhere\"");
    assert!(message.contains("known are: uniform, device, host, multi_host"), "{message}");
    assert_eq!(field.as_deref(), Some("tables.b[0].partition_by"));
    let (message, field) = refusal("[[2.0, 1]]", "[[-2.0, 1]]");
    assert!(message.contains("-2 is no cost"), "{message}");
    assert_eq!(field.as_deref(), Some("tables.b[0].perf_ms_rle"));
    let (message, field) = refusal("[[100, 1]]", "[[100, 2]]");
    assert!(message.contains("has 2 pieces, perf_ms_rle has 1"), "{message}");
    assert_eq!(field.as_deref(), Some("tables.b[0].hbm_bytes_rle"));
    let (message, field) = refusal("\"local_world_size\": 2", "\"local_world_size\": 3");
    assert!(message.contains("not a multiple"), "{message}");
    assert_eq!(field.as_deref(), Some("local_world_size"));
    let (message, field) = refusal("\"b\"", "\"a\"");
    assert!(message.contains("given twice"), "{message}");
    assert_eq!(field.as_deref(), Some("tables.a"));
    let (message, _) = refusal("\"world_size\": 4", "\"world_size\": 0");
    assert!(message.contains("no devices"), "{message}");
}

/// The plan of a public model; none, loudly, where it is not at hand.
fn solved(name: &str) -> Option<(Problem, Plan)> {
    let must = std::env::var_os("MUSTER_REQUIRE_ALL").is_some();
    let path = std::env::var_os("MUSTER_DATA").map(|dir| PathBuf::from(dir).join("planner").join(name));
    let Some(path) = path.filter(|path| path.exists()) else {
        assert!(!must, "planner/{name} is not in MUSTER_DATA");
        println!("skipped: planner/{name} is not in MUSTER_DATA");
        return None;
    };
    let problem = options_file::parse(&std::fs::read_to_string(path).unwrap()).unwrap();
    let found = plan(&problem, Effort::default()).unwrap();
    assert_eq!(verify(&problem, &found), Ok(()));
    Some((problem, found))
}

#[test]
fn plans_of_public_models_are_within_two_percent_of_the_proved_optimum() {
    // Optima as the fixtures give them, to five or six digits.
    for (name, optimum) in [
        ("fixture_options_mlperf_dlrm_dcnv2_26_8.json", 1.60357),
        ("fixture_options_mlperf_dlrm_dcnv2_26_64.json", 0.90549),
        ("fixture_options_criteo_1tb_full_26_8.json", 0.58219),
    ] {
        let Some((_, found)) = solved(name) else { return };
        assert!(found.cost <= 1.02 * optimum, "{name}: {} is not near {optimum}", found.cost);
        assert!(
            found.bound <= optimum * (1.0 + 1e-5),
            "{name}: the bound {} is above {optimum}",
            found.bound
        );
    }
}

#[test]
fn the_gap_of_hugectr_t200_on_64_ranks_is_certified_to_be_at_most_five_percent() {
    let Some((_, found)) = solved("fixture_options_hugectr_t200_100b_64.json") else { return };
    assert!(found.gap() <= 0.05, "{} over {}", found.cost, found.bound);
}

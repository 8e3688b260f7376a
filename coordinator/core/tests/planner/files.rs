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
    assert!(
        message.starts_with("line 6, column 29: tables.b[0].perf_ms_rle[0][0]: expected value"),
        "{message}"
    );
}

#[test]
fn a_value_of_the_wrong_type_or_sign_is_refused_with_its_path() {
    for (from, to, path) in [
        ("[[100, 1]]", "[[100.5, 1]]", "tables.b[0].hbm_bytes_rle[0][0]"),
        ("[[2.0, 1]]", "[[\"2\", 1]]", "tables.b[0].perf_ms_rle[0][0]"),
        ("\"world_size\": 4", "\"world_size\": \"4\"", "world_size"),
        ("\"hbm_cap_per_rank_bytes\": 1000", "\"hbm_cap_per_rank_bytes\": -5", "hbm_cap_per_rank_bytes"),
    ] {
        let (message, field) = refusal(from, to);
        assert!(message.starts_with("line ") && message.contains(&format!(": {path}: invalid")), "{message}");
        assert_eq!(field.as_deref(), Some(path));
    }
}

#[test]
fn what_does_not_fit_names_the_memory_or_the_table() {
    let problem = options_file::parse(&GOOD.replace("1000", "20")).unwrap();
    let error = options_file::FileError::from(plan(&problem, Effort::default()).unwrap_err());
    assert_eq!(error.field().as_deref(), Some("tables.b"), "{error}");
    // Each of five tables fits, all of them do not.
    let table = GOOD.split("\"b\": ").nth(1).unwrap().split("],\n    \"a\"").next().unwrap();
    let more: String = (0..5).map(|idx| format!("\"c{idx}\": {table}],")).collect();
    let file = GOOD.replace("1000", "100").replace("\"tables\": {", &format!("\"tables\": {{{more}"));
    let problem = options_file::parse(&file).unwrap();
    let error = options_file::FileError::from(plan(&problem, Effort::default()).unwrap_err());
    assert_eq!(error.field().as_deref(), Some("hbm_cap_per_rank_bytes"), "{error}");
    assert!(error.to_string().contains("bytes are missing"), "{error}");
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
    assert_eq!(message, "`world_size` is 4000000000; give between 1 and 1048576");
    assert_eq!(field.as_deref(), Some("world_size"));
    let (message, _) = refusal("[[2.0, 1]]", "[[2.0, 4000000000]]");
    assert!(message.contains("has 4000000000 pieces; give at most 1048576"), "{message}");
    let file = GOOD.replace("[[2.0, 1]]", "[[2.0, 5000]]").replace("[[100, 1]]", "[[1, 5000]]");
    let message = options_file::parse(&file).unwrap_err().to_string();
    assert!(message.contains("has 5000 pieces; `device` takes at most 4096"), "{message}");
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
    for field in ["\"world_size\": 4", "\"local_world_size\": 2"] {
        let (name, _) = field.trim_matches('"').split_once('"').unwrap();
        let (message, at) = refusal(field, &format!("\"{name}\": 0"));
        assert_eq!(message, format!("`{name}` is 0; give between 1 and 1048576"));
        assert_eq!(at.as_deref(), Some(name));
    }
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

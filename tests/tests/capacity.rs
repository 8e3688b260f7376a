//! `docs/capacity.md` shows what the program says; bad questions end with exit code 2 and name the field.
//!
//! `UPDATE_REFERENCE=1 cargo test -p muster-tests --test capacity` writes the present output into the page.

#![allow(clippy::unwrap_used, reason = "a command that cannot be run has failed")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use muster_tests::small::prepared;
use muster_tests::source::root;

fn muster(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_muster-under-test")).args(args).current_dir(root()).output().unwrap()
}

/// The page with the output of each `$ muster ...` in place of what stands below it, and how many commands there are.
fn rerun(page: &str) -> (String, usize) {
    let (mut text, mut commands, mut in_output) = (String::new(), 0, false);
    for line in page.lines() {
        if let Some(command) = line.strip_prefix("$ muster ") {
            let args: Vec<&str> = command.split_whitespace().collect();
            let output = muster(&args);
            let shown = if output.status.success() { output.stdout } else { output.stderr };
            text.push_str(&format!("{line}\n{}", String::from_utf8(shown).unwrap()));
            commands += 1;
            in_output = true;
        } else if line == "```" {
            in_output = false;
            text.push_str("```\n");
        } else if !in_output {
            text.push_str(&format!("{line}\n"));
        }
    }
    (text, commands)
}

#[test]
fn the_walk_through_a_question_shows_what_the_program_prints() {
    let path = root().join("docs/capacity.md");
    let written = fs::read_to_string(&path).unwrap();
    let (fresh, commands) = rerun(&written);
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        fs::write(&path, &fresh).unwrap();
    }
    assert!(commands >= 4, "{commands} commands");
    let written = fs::read_to_string(&path).unwrap();
    assert!(
        written == fresh,
        "docs/capacity.md is stale: UPDATE_REFERENCE=1 cargo test -p muster-tests --test capacity"
    );
}

#[test]
fn the_readmes_table_of_accuracy_is_what_the_program_says() {
    let Some(data) = std::env::var_os("MUSTER_DATA").map(|data| Path::new(&data).join("planner")) else {
        assert!(std::env::var_os("MUSTER_REQUIRE_ALL").is_none(), "MUSTER_DATA is not set");
        return eprintln!("skipped: measured steps are in MUSTER_DATA, which is not set");
    };
    let files = ["mlperf_dlrm_dcnv2_measured.csv", "measured_nv_synth_a100.json"].map(|name| data.join(name));
    let [first, second] = files.each_ref().map(|file| file.to_str().unwrap());
    let output = muster(&["capacity", "--output", "json", "--validate", first, second]);
    let validated: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    for set in validated["sets"].as_array().unwrap() {
        let scores = &set["scores"];
        let percent = |key: &str| format!("{:.1} %", scores[key].as_f64().unwrap() * 100.0);
        let row = format!(
            "| {} | {} | {} | {} |",
            scores["points"],
            percent("mape"),
            percent("max"),
            percent("bias")
        );
        assert!(readme.contains(&row), "README.md lacks `{row}` of {}", set["file"]);
    }
}

#[test]
fn bad_questions_end_with_exit_code_2_and_name_the_field() {
    let spec = "deploy/examples/capacity/shop.toml";
    let cases = [
        ("pools.0.nodes=0", "pools.0.nodes", "give between 1 and 1024"),
        ("pools.1.device=h100_sxn", "pools.1.device", "did you mean `h100_sxm`?"),
        ("pools.0.price_per_device_hour=-1", "pools.0.price_per_device_hour", "give a price of 0 or more"),
        ("run.batch=0", "run.batch", "at least 1 sample"),
        ("tables.0.rows=90000000000", "tables.0.rows", "more than all memory of the largest pool"),
        ("tables.0.dim=0", "tables.0.dim", "between 1 and 65536"),
        ("run.bathc=1", "run.bathc", "did you mean `batch`?"),
    ];
    for (set, field, remedy) in cases {
        let output = muster(&["capacity", spec, "--set", set, "--output", "json"]);
        assert_eq!(output.status.code(), Some(2), "{set}");
        let error: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(error["error"]["field"], field, "{error}");
        assert!(error["error"]["message"].as_str().unwrap().contains(remedy), "{error}");
    }
}

#[test]
fn what_is_in_the_way_of_an_answer_is_told_and_no_missing_bytes_are_made_up() {
    let spec = "deploy/examples/capacity/shop.toml";
    // Columns over nodes need two of them: the first row of each pool has no answer, the others have.
    let args = ["capacity", spec, "--set", "tables.0.layouts=[\"grid\"]", "--set", "fleet.0.nodes=2"];
    let output = muster(&args);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("table item: ") && !text.contains("lacks"), "{text}");
    let json = muster(&[&args[..], &["--output", "json"]].concat());
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    let first = &json["pools"][0]["scaling"][0]["unanswered"];
    assert!(first["message"].as_str().unwrap().contains("table item: "), "{json}");
    assert_eq!(first["no_room"], serde_json::Value::Null);

    // One retraining has nodes on which its table cannot lie: it is named with its field.
    let output = muster(&["capacity", spec, "--set", "tables.0.layouts=[\"grid\"]", "--output", "json"]);
    assert_eq!(output.status.code(), Some(2));
    let error: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(error["error"]["field"], "fleet.0.nodes", "{error}");
    let message = error["error"]["message"].as_str().unwrap();
    assert!(message.starts_with("retraining country: table item: "), "{message}");

    let never =
        ["--set", "pools.0.mtbf_per_device=60s", "--set", "pools.1.mtbf_per_device=60s", "--output", "json"];
    let output = muster(&[&["capacity", spec], &never[..]].concat());
    assert_eq!(output.status.code(), Some(2));
    let error: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(error["error"]["field"], "pools.0.mtbf_per_device", "{error}");
    assert!(error["error"]["message"].as_str().unwrap().contains("makes no progress"), "{error}");
}

#[test]
fn a_measured_model_without_a_table_list_is_kept_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let dense = r#"{"mlp": [128], "num_numerical": 4}"#;
    let measured = format!(
        r#"{{"system": "DGX-A100 (80GB), global batch 65536", "dense": {{"listed": {dense}, "absent": {dense}, "broken": {dense}}},
            "measured": {{"listed": {{"1": 9.0, "8": 3.0}}, "absent": {{"8": 4.0}}, "broken": {{"8": 5.0}}}}}}"#
    );
    fs::write(path("measured.json"), measured).unwrap();
    fs::write(path("nv_synth_listed.csv"), "table,rows,dim,pooling\nt0,100000,16,1;10\n").unwrap();
    fs::write(path("nv_synth_broken.csv"), "table,rows,dim,pooling\nt0,many,16,1\n").unwrap();
    let file = path("measured.json");
    let output = muster(&["capacity", "--output", "json", "--validate", file.to_str().unwrap()]);
    let validated: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let rows = validated["sets"][0]["rows"].as_array().unwrap();
    let reason = |name: &str| {
        let row = rows.iter().find(|row| row["row"].as_str().unwrap().starts_with(name)).unwrap();
        row["not_forecast"].as_str().map(str::to_owned)
    };
    assert_eq!(rows.len(), 4, "{validated}");
    assert_eq!(reason("listed"), None);
    assert!(reason("absent").unwrap().contains("nv_synth_absent.csv"), "{validated}");
    assert!(reason("broken").unwrap().contains("line 2: rows `many` is no whole number"), "{validated}");
    assert_eq!(validated["sets"][0]["scores"]["points"], 2);
}

#[test]
fn a_report_is_one_file_without_scripts_or_links_and_the_same_each_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("report.html");
    let args = ["capacity", "deploy/examples/capacity/shop.toml", "--html", path.to_str().unwrap()];
    let page = || {
        assert!(muster(&args).status.success());
        fs::read_to_string(&path).unwrap()
    };
    let first = page();
    assert!(first.starts_with("<!DOCTYPE html>") && first.matches("<svg").count() == 2, "{first}");
    let without_namespace = first.replace("http://www.w3.org/2000/svg", "");
    for fetched in ["<script", "http:", "https:", "src="] {
        assert!(!without_namespace.contains(fetched), "{fetched}");
    }
    assert_eq!(first, page());
}

#[test]
fn a_job_over_a_prepared_dataset_takes_the_place_of_the_specs_model() {
    let folder = prepared(env!("CARGO_BIN_EXE_muster-under-test"));
    let spec = "name = \"q\"\n[[pools]]\nname = \"two cores\"\ndevice = \"cpu_xeon_2\"\nnodes = 2\n\
                [run]\nbatch = 1\nsamples = 1\n";
    fs::write(folder.path().join("q.toml"), spec).unwrap();
    let arguments = ["capacity", "q.toml", "--job", "job.toml", "--dataset", "prepared"];
    let answer = folder.result(&arguments)["pools"][0]["answer"].clone();
    let twice = folder.result(&[&arguments[..], &["--set", "run.batch=7"]].concat());
    assert_eq!(twice["pools"][0]["answer"], answer, "the job says what a batch is");
    let users = folder.result(&["data", "stats", "prepared"])["users"].as_f64().unwrap();
    let job: toml::Table =
        toml::from_str(&fs::read_to_string(folder.path().join("job.toml")).unwrap()).unwrap();
    let batch = job["batch"]["sequences"].as_integer().unwrap() as f64;
    let epochs = job["training"]["epochs"].as_integer().unwrap() as f64;
    assert_eq!(answer["steps"].as_f64().unwrap(), (users * epochs / batch).ceil());
    let layouts: u64 =
        answer["layouts"].as_object().unwrap().values().filter_map(serde_json::Value::as_u64).sum();
    assert!(layouts >= 1, "{answer}");
}

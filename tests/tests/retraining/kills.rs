//! A coordinator that is killed at every stage of a run.

use muster_tests::process::wait_for;
use serde_json::json;

use crate::shop::{Nights, Shop, stages};

#[test]
fn a_run_whose_coordinator_is_killed_at_every_stage_trains_one_job_and_promotes_one_model() {
    let shop = Shop::new(5, "[promotion]\nhook = \"service\"\n");
    shop.folder.write("hooks.toml", "[hooks.service]\nkind = \"link\"\npath = \"live\"\n");
    let mut cluster = Nights::start(&shop.folder, &["--hooks", "hooks.toml"]);
    cluster.must(&["schedules", "apply", "nightly.toml"]);
    let run = cluster.trigger(5);
    let mut seen = Vec::new();
    let ended = loop {
        let told = wait_for("the run to go on", || {
            let told = cluster.ask(&["schedules", "run", &run])?;
            (stages(&told).len() > seen.len()).then_some(told)
        });
        seen = stages(&told);
        if !told["outcome"].is_null() {
            break told;
        }
        cluster.kill();
    };
    assert_eq!(ended["outcome"], json!("promoted"), "{ended:#}");
    assert_eq!(seen, ["waiting", "preparing", "training", "judging", "promoting", "ended"]);
    let jobs = cluster.must(&["jobs", "list"]);
    assert_eq!(jobs["jobs"].as_array().unwrap().len(), 1, "{jobs:#}");
    assert_eq!(cluster.champion(), json!(1));
    assert!(shop.folder.at("live").is_symlink());
}

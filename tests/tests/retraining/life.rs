//! From logs into service, night after night.

use std::path::Path;

use serde_json::json;

use crate::shop::{Nights, Shop, stages};

const GATES: &str =
    "[gates]\ncold_start = \"pass\"\n[gates.relative]\nrule = \"not_worse\"\nmargin = 0.5\nmin_users = 30\n";

#[test]
fn a_night_ends_with_a_champion_and_the_next_one_begins_from_it_with_new_files_only() {
    let shop = Shop::new(5, &format!("{GATES}[promotion]\nhook = \"service\"\n"));
    shop.folder.write("hooks.toml", "[hooks.service]\nkind = \"link\"\npath = \"live\"\n");
    shop.day(6);
    let cluster = Nights::start(&shop.folder, &["--hooks", "hooks.toml"]);
    cluster.must(&["schedules", "apply", "nightly.toml"]);
    let first = cluster.night(5);
    assert_eq!((&first["outcome"], &first["version"]), (&json!("promoted"), &json!(1)), "{first:#}");
    assert_eq!(stages(&first), ["waiting", "preparing", "training", "judging", "promoting", "ended"]);
    assert_eq!((&first["parent"], &first["read"]["files"]), (&json!(null), &json!(6)));
    let second = cluster.night(6);
    assert_eq!((&second["outcome"], &second["parent"]), (&json!("promoted"), &json!(1)), "{second:#}");
    assert_eq!((&second["read"]["new_files"], &second["champion"]), (&json!(0), &json!(1)));
    let judged = second["judgement"]["verdicts"].as_array().unwrap();
    assert!(judged.iter().any(|verdict| verdict["gate"] == "relative"), "{judged:#?}");
    let live = std::fs::read_link(shop.folder.at("live")).unwrap();
    let model = cluster.must(&["models", "show", "shop"]);
    assert_eq!(live, Path::new(model["versions"][0]["model"]["checkpoint"].as_str().unwrap()));
    let dataset = second["dataset"]["folder"].as_str().unwrap();
    let live = live.to_str().unwrap();
    let evaluated = shop.folder.result(&["evaluate", live, "--dataset", dataset, "--keep-seen"]);
    let ours = second["metrics"]["NDCG@10"].as_f64().unwrap();
    assert_eq!(evaluated["metrics"]["NDCG@10"].as_f64().unwrap(), ours);
    let newest = cluster.must(&["schedules", "runs", "nightly", "--limit", "1"]);
    assert_eq!((&newest["runs"][0]["run"], &newest["more"]), (&second["run"], &json!(true)));
    assert_eq!(newest["runs"].as_array().unwrap().len(), 1);
    let back = cluster.must(&["models", "rollback", "shop"]);
    assert_eq!(back["message"], "version 1 is the champion of shop again, version 2 is not");
}

#[test]
fn the_same_window_and_parent_give_the_same_model() {
    let shop = Shop::new(6, "");
    let cluster = Nights::start(&shop.folder, &[]);
    cluster.must(&["schedules", "apply", "nightly.toml"]);
    cluster.night(5);
    let second = cluster.night(6);
    cluster.must(&["models", "promote", "shop", "1"]);
    // Files that came since do not count in a rerun.
    shop.day(7);
    let run = second["run"].as_str().unwrap();
    let again = cluster.must(&["schedules", "rerun", run]);
    let again = cluster.ends(again["runs"][0].as_str().unwrap());
    assert_eq!((&again["attempt"], &again["parent"]), (&json!(2), &json!(1)));
    assert_eq!(again["dataset"]["digest"], second["dataset"]["digest"]);
    assert_eq!(again["judgement"]["candidate"], second["judgement"]["candidate"], "{again:#}\n{second:#}");
}

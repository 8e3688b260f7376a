//! Data, models and hooks that are not as they should be: an error that says so, and the champion stays.

use muster_tests::process::wait_for;
use serde_json::json;

use crate::shop::{Nights, Shop};

#[test]
fn a_log_whose_form_changed_fails_the_run_until_it_is_mended() {
    let shop = Shop::new(6, "");
    let cluster = Nights::start(&shop.folder, &[]);
    cluster.must(&["schedules", "apply", "nightly.toml"]);
    cluster.night(5);
    shop.day(7);
    let log = shop.folder.at("logs/2026-03-07.csv");
    let good = std::fs::read_to_string(&log).unwrap();
    std::fs::write(&log, good.replacen("item", "product", 1)).unwrap();
    let failed = cluster.night(7);
    let why = failed["why"].as_str().unwrap();
    assert_eq!(failed["outcome"], json!("failed"));
    assert!(why.contains("2026-03-07.csv") && why.contains("`item`"), "{why}");
    let (header, rows) = good.split_once('\n').unwrap();
    let late: String = rows.lines().map(|row| row.replace(",177", ",soon177") + "\n").collect();
    std::fs::write(&log, format!("{header}\n{late}")).unwrap();
    let failed = cluster.night(7);
    let why = failed["why"].as_str().unwrap();
    assert!(why.contains("rejected") || why.contains("2026-03-07.csv"), "{why}");
    assert_eq!(cluster.champion(), json!(1));
    let empty = shop.folder.at("logs");
    assert!(empty.is_dir());
}

#[test]
fn a_window_without_a_file_fails_the_run_and_says_so() {
    let shop = Shop::new(2, "");
    let cluster = Nights::start(&shop.folder, &[]);
    cluster.must(&["schedules", "apply", "nightly.toml"]);
    let failed = cluster.night(20);
    assert_eq!(failed["why"], "none of 2 files has a row in the window");
}

#[test]
fn a_champion_that_is_gone_from_the_disk_fails_the_run_that_needs_it_and_stays_the_champion() {
    let shop = Shop::new(6, "");
    let cluster = Nights::start(&shop.folder, &[]);
    cluster.must(&["schedules", "apply", "nightly.toml"]);
    cluster.night(5);
    let model = cluster.must(&["models", "show", "shop"]);
    let checkpoint = model["versions"][0]["model"]["checkpoint"].as_str().unwrap();
    std::fs::remove_dir_all(checkpoint).unwrap();
    let failed = cluster.night(6);
    let why = failed["why"].as_str().unwrap();
    assert_eq!(failed["outcome"], json!("failed"));
    assert!(why.contains(checkpoint), "{why}");
    assert_eq!(cluster.champion(), json!(1));
}

#[test]
fn a_hook_that_fails_or_hangs_leaves_the_champion_where_it_is() {
    for command in ["[\"sh\", \"-c\", \"echo no room >&2; exit 3\"]", "[\"sleep\", \"1000\"]"] {
        let shop = Shop::new(5, "[promotion]\nhook = \"service\"\nretries = 0\n");
        let hooks = format!("[hooks.service]\nkind = \"command\"\ncommand = {command}\ndeadline = \"1s\"\n");
        shop.folder.write("hooks.toml", hooks);
        let cluster = Nights::start(&shop.folder, &["--hooks", "hooks.toml"]);
        cluster.must(&["schedules", "apply", "nightly.toml"]);
        let failed = cluster.night(5);
        let why = failed["why"].as_str().unwrap();
        assert_eq!(failed["outcome"], json!("failed"));
        assert!(why.starts_with("the champion stays, the hook failed 1 times: "), "{why}");
        assert!(why.contains("no room") || why.contains("1s"), "{why}");
        assert_eq!(cluster.champion(), json!(null));
    }
}

#[test]
fn what_cannot_be_is_refused_with_its_field() {
    let shop = Shop::new(1, "");
    let cluster = Nights::start(&shop.folder, &[]);
    for (set, expected) in [
        ("cron=\"0 25 * * *\"", "cron"),
        ("time_zone=\"Europe/Berlim\"", "did you mean `Europe/Berlin`"),
        ("promotion.hook=\"ship\"", "the coordinator has no hook `ship`"),
        ("window.test=\"0s\"", "window.test"),
    ] {
        let refused = cluster.refused(&["schedules", "apply", "nightly.toml", "--set", set]);
        assert!(refused.contains(expected), "{set}: {refused}");
    }
    assert_eq!(cluster.must(&["schedules", "list"])["schedules"], json!([]));
}

#[test]
fn a_folder_that_cannot_be_removed_is_not_forgotten() {
    let shop = Shop::new(5, "");
    shop.day(6);
    shop.day(7);
    let mut cluster = Nights::start(&shop.folder, &[]);
    cluster.must(&["schedules", "apply", "nightly.toml"]);
    let [first, ..] = [5, 6, 7].map(|day| cluster.night(day));
    let dataset = std::path::PathBuf::from(first["dataset"]["folder"].as_str().unwrap());
    let folder = dataset.parent().unwrap();
    std::fs::remove_dir_all(folder).unwrap();
    // What stands in its place is no folder, as where a share is not mounted.
    std::fs::write(folder, "").unwrap();
    cluster.must(&["models", "remove", "shop", "1"]);
    let unremoved = |cluster: &Nights<'_>| {
        let fleet = cluster.ask(&["schedules", "fleet"])?;
        Some(fleet["unremoved"].as_array()?.iter().map(|told| told.as_str().unwrap().to_owned()).collect())
    };
    let told: Vec<String> =
        wait_for("the removal to fail", || unremoved(&cluster).filter(|told: &Vec<String>| !told.is_empty()));
    assert!(told[0].starts_with(folder.to_str().unwrap()), "{told:?}");
    // The next coordinator goes on with it.
    std::fs::remove_file(folder).unwrap();
    std::fs::create_dir_all(folder.join("train")).unwrap();
    cluster.kill();
    wait_for("the folder to go", || (!folder.exists()).then_some(()));
}

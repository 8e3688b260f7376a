//! The reference pages under `docs/reference/` say what the program says.
//!
//! `UPDATE_REFERENCE=1 cargo test -p muster-tests --test reference` rewrites them.

#![allow(clippy::unwrap_used, reason = "a page that cannot be written has failed")]

use std::fs;

use muster_proto::capacity::{self, CapacitySpec};
use muster_proto::collect::CollectSpec;
use muster_proto::config::reference::{Section, page, undocumented};
use muster_proto::dataset::{DatasetSpec, ShopSpec};
use muster_proto::hooks::HooksSpec;
use muster_proto::job::{self, JobSpec};
use muster_proto::measured::{Calibration, calibration};
use muster_proto::pool::PoolRules;
use muster_proto::schedule::ScheduleSpec;
use muster_tests::source::root;

fn assert_current(name: &str, page: &str) {
    let path = root().join("docs/reference").join(name);
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, page).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page,
        "docs/reference/{name} is stale: UPDATE_REFERENCE=1 cargo test -p muster-tests --test reference"
    );
}

#[test]
fn the_page_of_commands_is_what_help_prints() {
    assert_current("cli.md", &muster_cli::reference::cli_page());
}

/// The page of a file of keys, with a line on where it comes from.
fn page_of_keys<T: serde::Serialize>(title: &str, sections: &[Section], example: &T) -> String {
    assert_eq!(undocumented(sections, example).unwrap(), Vec::<String>::new(), "a key has no documentation");
    let page = page(title, sections, example).unwrap();
    let (heading, rest) = page.split_once('\n').unwrap();
    let origin = "Generated from the program; `UPDATE_REFERENCE=1 cargo test -p muster-tests --test reference` rewrites it.";
    format!("{heading}\n\n{origin}\n{rest}")
}

#[test]
fn the_page_of_job_files_has_every_key() {
    assert_current("job.md", &page_of_keys("Job file", job::SECTIONS, &JobSpec::default()));
}

#[test]
fn the_page_of_shop_files_has_every_key() {
    assert_current("shop.md", &page_of_keys("Shop file", &ShopSpec::sections(), &ShopSpec::default()));
}

#[test]
fn the_page_of_capacity_files_has_every_key() {
    let text = "name = \"\"\n[[pools]]\nname = \"\"\ndevice = \"h100_sxm\"\nnodes = 1\n[[tables]]\nname = \"\"\nrows = 1\n\
                dim = 8\n[run]\nbatch = 1\nsamples = 1\n";
    let mut example: toml::Table =
        toml::from_str(&toml::to_string(&toml::from_str::<CapacitySpec>(text).unwrap()).unwrap()).unwrap();
    // What has to be given has no default to show.
    example.remove("name");
    assert_current("capacity.md", &page_of_keys("Capacity file", capacity::SECTIONS, &example));
}

#[test]
fn the_page_of_calibration_files_has_every_key() {
    let text = "version = 1\nmachine = \"\"\ncores = 1\ndate = \"\"\nmuster = \"\"\nbuild = \"\"\ntransport = \"\"\nprocess = 0\nterms = []\n";
    let mut example: toml::Table =
        toml::from_str(&toml::to_string(&toml::from_str::<Calibration>(text).unwrap()).unwrap()).unwrap();
    // A program writes the file, so nothing has a default to show.
    example.clear();
    assert_current("calibration.md", &page_of_keys("Calibration file", calibration::SECTIONS, &example));
}

#[test]
fn the_page_of_collect_files_has_every_key() {
    let required = "name = \"\"\nevent_id = \"\"\n[[fields]]\nname = \"\"\nkind = \"text\"\n";
    let mut example: toml::Table =
        toml::from_str(&toml::to_string(&toml::from_str::<CollectSpec>(required).unwrap()).unwrap()).unwrap();
    // What has to be given has no default to show.
    for key in ["name", "event_id"] {
        example.remove(key);
    }
    assert_current("collect.md", &page_of_keys("Collect file", &CollectSpec::sections(), &example));
}

#[test]
fn the_page_of_schedule_files_has_every_key() {
    let required = "name = \"\"\nmodel = \"\"\ndataset = \"\"\njob = \"\"\nworkspace = \"\"\ncron = \"\"\n\
                    [health]\nmetric = \"\"\nwindow = \"1h\"\n[gates.relative]\n[gates.approval]\n[[gates.slices]]\nby = \"\"\n[retention]\n";
    let mut example: toml::Table =
        toml::from_str(&toml::to_string(&toml::from_str::<ScheduleSpec>(required).unwrap()).unwrap())
            .unwrap();
    // What has to be given has no default to show.
    for key in ["name", "model", "dataset", "job", "workspace", "cron"] {
        example.remove(key);
    }
    for key in ["metric", "window"] {
        example["health"].as_table_mut().unwrap().remove(key);
    }
    example["gates"]["slices"][0].as_table_mut().unwrap().remove("by");
    assert_current("schedule.md", &page_of_keys("Schedule file", &ScheduleSpec::sections(), &example));
}

#[test]
fn the_page_of_dataset_files_has_every_key() {
    let required = "name = \"\"\ninput = \"\"\nformat = \"csv\"\n";
    let mut example: toml::Table =
        toml::from_str(&toml::to_string(&toml::from_str::<DatasetSpec>(required).unwrap()).unwrap()).unwrap();
    // What has to be given has no default to show.
    for key in ["name", "input", "format"] {
        example.remove(key);
    }
    assert_current("dataset.md", &page_of_keys("Dataset file", &DatasetSpec::sections(), &example));
}

#[test]
fn the_page_of_pool_files_has_every_key() {
    let team = toml::from_str::<PoolRules>("[[teams]]\nname = \"\"\n").unwrap();
    let mut example: toml::Table = toml::from_str(&toml::to_string(&team).unwrap()).unwrap();
    for team in example["teams"].as_array_mut().unwrap() {
        team.as_table_mut().unwrap().remove("name");
    }
    assert_current("pool.md", &page_of_keys("Pool file", &PoolRules::sections(), &example));
}

#[test]
fn the_page_of_hooks_files_has_every_key() {
    let hook = toml::from_str::<HooksSpec>("[hooks.NAME]\nkind = \"command\"\n").unwrap();
    let mut example: toml::Table = toml::from_str(&toml::to_string(&hook).unwrap()).unwrap();
    example["hooks"]["NAME"].as_table_mut().unwrap().remove("kind");
    assert_current("hooks.md", &page_of_keys("Hooks file", &HooksSpec::sections(), &example));
}

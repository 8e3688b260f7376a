//! Schedules: patterns in time zones, the rules by example, and what holds whatever happens.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod cron;
mod laws;
mod rules;

use jiff::Timestamp;
use muster_core::retrain::Schedule;
use muster_proto::config;
use muster_proto::schedule::ScheduleSpec;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn spec(text: &str) -> ScheduleSpec {
    let names = "name = \"nightly\"\nmodel = \"shop\"\ndataset = \"dataset.toml\"\njob = \"job.toml\"\nworkspace = \"/shared/shop\"\n";
    config::parse(&format!("{names}{text}"), "schedule.toml", &[]).unwrap()
}

fn schedule(text: &str) -> Schedule {
    Schedule::new(spec(text)).unwrap()
}

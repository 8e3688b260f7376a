//! Schedules, runs and models together: each rule by example, crashes at every commit, and what holds whatever happens.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod bounds;
mod crashes;
mod laws;
mod people;
mod rules;
mod world;

use jiff::Timestamp;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

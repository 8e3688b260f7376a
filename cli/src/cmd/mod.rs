//! One command a file: its raw flags, their checks, what it does, what it reports.

pub mod calibrate;
pub mod capacity;
pub mod chaos;
pub mod collect;
pub mod coordinator;
pub mod data;
pub mod demo;
pub mod evaluate;
pub mod generate;
pub mod jobs;
pub mod models;
pub mod plan;
pub mod prepare;
pub mod recommend;
pub mod schedules;
pub mod store;
pub mod train;
pub mod verify;
pub mod worker;
pub mod workers;

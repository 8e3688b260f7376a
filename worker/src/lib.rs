//! The doer: trains, evaluates and saves its share of a job.

pub mod agent;

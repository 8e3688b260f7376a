//! A step on hosts, from measured points: the forecast of a job's steps and memory on workers that compute on processors.
//!
//! A step is cut as ranks execute it. What a rank's threads compute is a list of tasks, each with a time from the points of
//! its kind; ranks that share cores share them. What ranks do together, and what each rank does alone between, was measured
//! with as many ranks as there are. Between points a term is interpolated; beyond them it is extrapolated and named.
//!
//! Each constant of a term is a point of the calibration. What steps take beside their terms is fitted to whole jobs that the
//! calibration trained, part by part and by number of workers.

mod curve;
mod curves;
mod dense;
mod loss;
mod memory;
mod share;
mod step;
mod surface;
mod tables;
mod trials;

pub use curves::{Curves, Error};
pub use step::{Subject, activations, forecast};

//! What a step was measured to take, what it is forecast to take, and the points that forecasts go through.
//!
//! A rank measures its steps by phase ([`Breakdown`]); `muster calibrate` measures the pieces that steps are made of
//! ([`Calibration`]); from these and the shape of a job's steps ([`Workload`]) a step is forecast ([`Forecast`]).

pub mod breakdown;
pub mod calibration;
pub mod forecast;
pub mod workload;

pub use breakdown::{Breakdown, Share};
pub use calibration::{Calibration, Elapsed, Point, Term, TermPoints, Trial, TrialPart};
pub use forecast::Forecast;
pub use workload::{MicroShape, RankShape, Resident, StepShape, Workload};

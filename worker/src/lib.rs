//! The doer: trains, evaluates and saves its share of a job.
//!
//! # Layout
//! * [`agent`] talks to the coordinator and runs jobs it is told to run.
//! * [`batch`] draws and packs samples; [`embedding`] holds table shards; [`model`] the dense network; [`loss`] heads.
//! * [`train`] is the step and the epochs around it; [`checkpoint`] keeps the result on disks, [`copies`] in memory;
//!   [`evaluate`] judges it.
//! * [`calibrate`] measures what the pieces of a step take on this machine, [`workload`] counts what a job's steps are made of.
//! * [`warm_start`] begins a job from another model.
//! * [`recommend`] serves one user from a finished model; [`standalone`] has one in this process, whole.
//! * [`submission`] makes of a job and a dataset what a coordinator is asked for; [`retrain`] does so for schedules, and
//!   gathers what candidates are judged by.
//!
//! Nothing here knows how many workers there are but through the plan and the collective.

pub mod agent;
mod allocator;
pub mod batch;
pub mod calibrate;
pub mod checkpoint;
pub mod copies;
pub mod cuda;
pub mod embedding;
pub mod evaluate;
pub mod loss;
pub mod model;
mod random;
pub mod recommend;
pub mod retrain;
pub mod run_record;
pub mod runner;
pub mod standalone;
pub mod submission;
pub mod train;
pub mod tree;
pub mod warm_start;
pub mod workload;

/// The numeric contract of results: kernels' k-ordered chains with blocks of 256, 16 virtual lanes, own exp and tanh,
/// sums along canonical trees. Workers of one job must have the same.
pub const NUMERICS: &str = "muster-1";

/// The numeric contract of results of GPUs: the same sums along the same trees, with products of cuBLAS, whose order of
/// adding is its own. Checkpoints are those of [`NUMERICS`].
pub const CUDA_NUMERICS: &str = "muster-1-cuda";

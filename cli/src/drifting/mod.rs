//! `muster demo --loop`: a month of a shop whose customers change, with a model that is trained again every night by itself.
//!
//! A whole cluster runs beside an accelerated clock: each night the shop's log of the day comes, the schedules fire, and what they
//! do is waited for. Some days are bad on purpose, so that each gate has something to stop. Beside the loop a model is trained from
//! initial values each night, and one was trained once; all are scored on each day that comes, which none of them has seen.

mod nights;
mod plan;
mod scores;
mod shop;
mod told;

use std::path::PathBuf;

use jiff::Timestamp;

use crate::cluster::block_on;
use crate::context::Context;
use crate::error::Error;
use crate::run_dir;
use nights::Loop;
use told::Told;

/// What to run.
#[derive(Debug, Clone)]
pub struct Args {
    /// Number of worker processes.
    pub workers: u32,
    /// Days after the first week.
    pub days: u32,
    /// Seed of the shop.
    pub seed: u64,
    /// Folder for everything, new or empty.
    pub out: Option<PathBuf>,
}

/// The shop's first midnight.
fn opening() -> Timestamp {
    // Summer time begins in Europe and in America within the month.
    Timestamp::from_second(1_772_323_200).unwrap_or_default()
}

/// Runs it and reports.
///
/// # Errors
/// Where the folder is refused, or a part of it fails that is not meant to.
pub fn run(context: &Context, args: &Args) -> Result<(), Error> {
    let folder = run_dir::claim(args.out.as_deref(), "loop")?;
    let folder = std::path::absolute(&folder)
        .map_err(|error| Error::failed(format!("cannot use {}: {error}", folder.display())))?;
    let told: Told = block_on(async {
        let mut month = Loop::start(context, args, folder).await?;
        let ran = month.run().await;
        let stopped = month.stop().await;
        let told = ran?;
        stopped?;
        Ok(told)
    })?;
    told.save()?;
    context.output.report(&told)
}

//! Tasks: units of work that are no part of a job.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use muster_data::prepare::{Pulse, UnitArgs, run_unit};
use muster_proto::chain;
use muster_proto::control::{PrepareUnit, TaskProgress, TaskWork};
use serde::Serialize;
use serde_json::Value;

use crate::agent::{TaskControl, TaskOrder};
use crate::retrain::{self, Work};

/// Does a task; what it came to, for whoever made it.
pub(super) fn run(order: &TaskOrder, control: &TaskControl) -> Result<Value, String> {
    let done = AtomicU64::new(0);
    let pulse = || {
        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
        control.progress(TaskProgress { done, of: 0 });
        !control.stopped()
    };
    let work = Work { threads: order.threads, pulse: &pulse };
    match &order.work {
        TaskWork::Prepare(unit) => prepare(order, unit, &pulse),
        TaskWork::Window(unit) => told(retrain::prepare_window(unit, &work)),
        TaskWork::Judge(unit) => told(retrain::judge(unit, &work)),
    }
}

/// A result as the coordinator keeps it; an error with its causes.
fn told<T: Serialize, E: std::error::Error + 'static>(result: Result<T, E>) -> Result<Value, String> {
    let result = result.map_err(|error| chain(&error))?;
    serde_json::to_value(result).map_err(|error| error.to_string())
}

fn prepare(order: &TaskOrder, unit: &PrepareUnit, pulse: Pulse<'_>) -> Result<Value, String> {
    // Nobody else has this attempt in this life of a worker.
    let mark = format!(".{}-{}", order.claim.attempt, order.claim.incarnation);
    let args = UnitArgs {
        folder: Path::new(&unit.folder),
        unit: unit.unit,
        mark: &mark,
        threads: order.threads as usize,
        pulse,
    };
    run_unit(&args).map_err(|error| error.to_string())
}

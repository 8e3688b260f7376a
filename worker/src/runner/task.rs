//! Tasks: units of work that are no part of a job.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use muster_data::prepare::{UnitArgs, run_unit};
use muster_proto::control::{TaskProgress, TaskWork};
use serde_json::Value;

use crate::agent::{TaskControl, TaskOrder};

/// Does a task; what it came to, for whoever made it.
pub(super) fn run(order: &TaskOrder, control: &TaskControl) -> Result<Value, String> {
    let unit = match &order.work {
        TaskWork::Prepare(unit) => unit,
        TaskWork::Window(_) | TaskWork::Judge(_) => {
            return Err("this worker cannot do the work of schedules".to_owned());
        }
    };
    let done = AtomicU64::new(0);
    let pulse = || {
        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
        control.progress(TaskProgress { done, of: 0 });
        !control.stopped()
    };
    // Nobody else has this attempt in this life of a worker.
    let mark = format!(".{}-{}", order.claim.attempt, order.claim.incarnation);
    let args = UnitArgs {
        folder: Path::new(&unit.folder),
        unit: unit.unit,
        mark: &mark,
        threads: order.threads as usize,
        pulse: &pulse,
    };
    run_unit(&args).map_err(|error| error.to_string())
}

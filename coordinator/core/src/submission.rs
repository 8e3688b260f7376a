//! What a job must be to be taken: bounds on everything that it makes others hold or send.

use std::collections::BTreeSet;

use muster_proto::control::{DeviceKind, Queueing, Submission};
use muster_proto::sharding::ColumnBlock;

use crate::config::Config;
use crate::refusal::Refusal;

const MAX_NAME: usize = 256;
const MAX_PATH: usize = 4096;
const MAX_SPEC: usize = 1024 * 1024;
const MAX_MICRO_BATCHES: u32 = 65_536;
/// Over all tables of a job; bounds the plan that each rank is sent.
const MAX_ROW_BLOCKS: u64 = 262_144;

/// Refuses a job that cannot be, or is too large to be carried.
pub(crate) fn check(job: &Submission, config: &Config) -> Result<(), Refusal> {
    text("name", &job.name, MAX_NAME)?;
    text("spec_toml", &job.spec_toml, MAX_SPEC)?;
    text("dataset_dir", &job.dataset_dir, MAX_PATH)?;
    text("run_dir", &job.run_dir, MAX_PATH)?;
    text("numerics", job.numerics.as_deref().unwrap_or("any"), MAX_NAME)?;
    let world_size = job.world_size.0;
    if world_size == 0 || world_size as usize > config.max_workers {
        let problem = format!("{world_size} workers are asked for: ask for 1 to {}", config.max_workers);
        return Err(Refusal::Invalid { field: "world_size", problem });
    }
    if !(1..=MAX_MICRO_BATCHES).contains(&job.micro_batches) {
        let problem = format!("is {}, must be 1 to {MAX_MICRO_BATCHES}", job.micro_batches);
        return Err(Refusal::Invalid { field: "micro_batches", problem });
    }
    queueing(&job.queueing, world_size)?;
    tables(job).map_err(|problem| Refusal::Invalid { field: "tables", problem })?;
    match job.tables.iter().find(|table| table.columns.is_some()) {
        Some(cut) if job.device != Some(DeviceKind::Cpu) => {
            let problem = format!(
                "table {} is cut into column blocks, which only CPU workers train: ask for cpu, or leave out \
                 tables.column_blocks",
                cut.table()
            );
            Err(Refusal::Invalid { field: "device", problem })
        }
        _ => Ok(()),
    }
}

fn queueing(queueing: &Queueing, world_size: u32) -> Result<(), Refusal> {
    let problem = |field, problem| Err(Refusal::Invalid { field, problem });
    if queueing.team.len() > MAX_NAME {
        return problem("team", format!("has {} bytes, at most {MAX_NAME} are taken", queueing.team.len()));
    }
    match queueing.start_workers {
        Some(start) if !(1..=world_size).contains(&start) => {
            problem("start_workers", format!("is {start}, must be 1 to the {world_size} that are asked for"))
        }
        _ => Ok(()),
    }
}

fn text(field: &'static str, value: &str, limit: usize) -> Result<(), Refusal> {
    let problem = match value.len() {
        0 => "must not be empty".to_owned(),
        length if length > limit => format!("has {length} bytes, at most {limit} are taken"),
        _ => return Ok(()),
    };
    Err(Refusal::Invalid { field, problem })
}

fn tables(job: &Submission) -> Result<(), String> {
    let mut names = BTreeSet::new();
    for table in &job.tables {
        if table.name.is_empty() || table.name.len() > MAX_NAME {
            return Err(format!("a table's name has {} bytes, must have 1 to {MAX_NAME}", table.name.len()));
        }
        if !names.insert(&table.name) {
            return Err(format!("table {} is declared twice", table.name));
        }
        if table.row_blocks == 0 || table.dim == 0 {
            return Err(format!("table {} has no row blocks or no columns", table.name));
        }
        if let Some(ColumnBlock { table: whole, dim, first }) = &table.columns
            && (whole.len() > MAX_NAME || first.checked_add(table.dim).is_none_or(|end| end > *dim))
        {
            let (name, width) = (&table.name, table.dim);
            return Err(format!(
                "{name} is no column block of {whole:?}: {width} columns from {first} of {dim}"
            ));
        }
    }
    let row_blocks: u64 = job.tables.iter().map(|table| u64::from(table.row_blocks)).sum();
    if row_blocks > MAX_ROW_BLOCKS {
        return Err(format!(
            "the tables have {row_blocks} row blocks together, at most {MAX_ROW_BLOCKS} are taken"
        ));
    }
    Ok(())
}

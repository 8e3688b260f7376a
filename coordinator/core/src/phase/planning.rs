//! Planning: the pieces of the job are assigned to the ranks of a new generation.
//!
//! Takes no time as long as the plan is a simple rule, so a job passes through within one step of the core.

use muster_proto::control::Submission;
use muster_proto::ids::{Generation, JobId};
use muster_proto::sharding::{self, Placement, ShardingPlan};

use crate::assignment::{Assignment, Member};

/// What a plan is made from.
#[derive(Debug)]
pub(crate) struct Planning<'a> {
    pub(crate) job: JobId,
    pub(crate) submission: &'a Submission,
    pub(crate) generation: Generation,
    /// In rank order.
    pub(crate) members: Vec<Member>,
    /// From which the peers' shared secret is made.
    pub(crate) seed: &'a [u8; 32],
}

/// Assigns each piece of the job to a rank.
///
/// # Errors
/// If the pieces cannot be placed as the job declares them.
pub(crate) fn plan(planning: Planning<'_>) -> Result<Assignment, sharding::Error> {
    let Planning { job, submission, generation, members, seed } = planning;
    let plan = ShardingPlan::simple(&submission.tables, submission.micro_batches, submission.world_size.0)?;
    plan.check(&submission.tables)?;
    let mut hasher = blake3::Hasher::new_keyed(seed);
    hasher.update(&job.0.to_le_bytes()).update(&generation.0.to_le_bytes());
    let collective_token = *hasher.finalize().as_bytes();
    Ok(Assignment { job, generation, members, plan, collective_token, ended: Default::default() })
}

impl Assignment {
    /// The plan in a line, for people.
    pub(crate) fn summary(&self) -> String {
        let table = |(name, plan): (&String, &sharding::TablePlan)| {
            let placement = match plan.placement {
                Placement::RowWise => "row-wise",
                Placement::TableWise => "table-wise",
                Placement::DataParallel => "data-parallel",
            };
            format!("{name} {placement}")
        };
        let tables: Vec<String> = self.plan.tables.iter().map(table).collect();
        let workers: Vec<String> = self.members.iter().map(|member| member.worker.to_string()).collect();
        let tables = if tables.is_empty() { "no tables".to_owned() } else { tables.join(", ") };
        format!("generation {}: {} on {}", self.generation, tables, workers.join(", "))
    }
}

//! Takes over from the store what an earlier coordinator knew.
//!
//! Its workers go on without a coordinator; each has `failure_detection` to open a session with this one.

use std::collections::BTreeMap;

use muster_proto::ids::{JobId, TaskId, WorkerId};

use super::Core;
use crate::config::Config;
use crate::job::Job;
use crate::membership::{Hold, Membership, Worker};
use crate::phase::Context;
use crate::record::{self, WorkerRecord};
use crate::stored::RestoreError;
use crate::task::{Stage, Task, Tasks};
use crate::time::Time;

impl Core {
    /// A core that knows what the store keeps under [`record::PREFIX`]; an empty store is a new cluster.
    ///
    /// `seed` must be random: the secrets of later generations are made from it.
    ///
    /// # Errors
    /// If a record cannot be read.
    pub fn restore(
        now: Time,
        config: Config,
        seed: [u8; 32],
        pairs: impl IntoIterator<Item = (String, Vec<u8>)>,
    ) -> Result<Self, RestoreError> {
        let mut records = record::read(pairs)?;
        let context = Context { now, config: &config };
        for job in records.jobs.values_mut() {
            job.state.phase.restart_clock(context);
            job.counted = now;
        }
        let mut members = Membership::default();
        for (id, record) in records.workers {
            let hold = hold(id, &record, &records.jobs, &records.tasks);
            let WorkerRecord { incarnation, capabilities, cordon } = record;
            let deadline = now + config.failure_detection;
            members.insert(
                id,
                Worker { capabilities, incarnation, session: None, deadline, hold, running: None, cordon },
            );
        }
        let mut tasks = Tasks::default();
        let deadline = now + config.task_owner_deadline();
        for (id, mut task) in records.tasks {
            // Its worker was lost as this was written, which one commit of two keys rules out.
            if let Some((worker, claim)) = task.claim(id)
                && members.get(worker).is_none_or(|known| known.hold != Hold::Task { claim })
            {
                task.stage = Stage::Waiting;
            }
            tasks.insert(id, task, deadline);
        }
        Ok(Self {
            config,
            seed,
            counters: records.counters,
            members,
            jobs: records.jobs,
            tasks,
            may_gather: true,
            last_tick: now,
        })
    }
}

fn hold(
    id: WorkerId,
    record: &WorkerRecord,
    jobs: &BTreeMap<JobId, Job>,
    tasks: &BTreeMap<TaskId, Task>,
) -> Hold {
    for (job, state) in jobs {
        let Some(assignment) = state.state.phase.assignment() else { continue };
        let mut mine = assignment
            .live()
            .filter(|(_, member)| member.worker == id && member.incarnation == record.incarnation);
        if let Some((rank, _)) = mine.next() {
            return Hold::Rank { job: *job, generation: assignment.generation, rank };
        }
    }
    let mut claims = tasks.iter().filter_map(|(task, known)| known.claim(*task));
    let mine = claims.find(|(worker, claim)| *worker == id && claim.incarnation == record.incarnation);
    mine.map_or(Hold::Idle, |(_, claim)| Hold::Task { claim })
}

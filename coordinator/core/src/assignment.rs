//! Who holds which rank, and with it which pieces, in one generation of a job.

use std::collections::BTreeMap;
use std::fmt;

use muster_proto::control::{Cohort, Failure, Submission};
use muster_proto::fence::Fence;
use muster_proto::ids::{Generation, Incarnation, JobId, Rank, WorkerId};
use muster_proto::sharding::ShardingPlan;
use serde::{Deserialize, Serialize};

/// The worker that holds a rank.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Member {
    pub(crate) worker: WorkerId,
    pub(crate) incarnation: Incarnation,
    pub(crate) address: String,
}

/// What the tables' part of a step takes by the cost model.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Forecast {
    /// Seconds with the plan.
    pub(crate) cost: f64,
    /// Seconds that no plan's cost is below.
    pub(crate) bound: f64,
}

impl fmt::Display for Forecast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gap = if self.bound > 0.0 { self.cost / self.bound - 1.0 } else { 0.0 };
        write!(
            f,
            "tables take {:.3} ms of a step by the cost model, at least {:.3} ms with any plan, gap {:.1} %",
            self.cost * 1e3,
            self.bound * 1e3,
            gap * 100.0
        )
    }
}

/// How a rank ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RankEnd {
    Finished { summary: serde_json::Value },
    Failed(Failure),
    Yielded,
    Lost,
}

/// The ranks of one generation, their pieces, and which of them ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Assignment {
    pub(crate) job: JobId,
    pub(crate) generation: Generation,
    /// In rank order.
    pub(crate) members: Vec<Member>,
    pub(crate) plan: ShardingPlan,
    /// What the plan costs; none in what an earlier version stored.
    #[serde(default)]
    pub(crate) forecast: Option<Forecast>,
    pub(crate) collective_token: [u8; 32],
    pub(crate) ended: BTreeMap<Rank, RankEnd>,
}

impl Assignment {
    pub(crate) fn ranks(&self) -> impl Iterator<Item = (Rank, &Member)> {
        (0..).map(Rank).zip(&self.members)
    }

    /// Ranks that have not ended.
    pub(crate) fn live(&self) -> impl Iterator<Item = (Rank, &Member)> {
        self.ranks().filter(|(rank, _)| !self.ended.contains_key(rank))
    }

    pub(crate) fn all_ended(&self) -> bool {
        self.ended.len() == self.members.len()
    }

    pub(crate) fn fence(&self, member: &Member) -> Fence {
        Fence { job: self.job, generation: self.generation, incarnation: member.incarnation }
    }

    /// What all ranks are told alike.
    ///
    /// `checkpoint` is the one that the job counts on, if it has one.
    pub(crate) fn cohort(&self, submission: &Submission, checkpoint: Option<&str>) -> Cohort {
        Cohort {
            peers: self.members.iter().map(|member| (member.worker, &member.address)).collect(),
            spec_toml: submission.spec_toml.clone(),
            dataset_dir: submission.dataset_dir.clone(),
            run_dir: submission.run_dir.clone(),
            plan: self.plan.clone(),
            collective_token: self.collective_token,
            checkpoint: checkpoint.map(str::to_owned),
        }
    }
}

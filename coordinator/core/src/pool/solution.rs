//! What a pass says, and the reasons of those that wait.

use std::fmt;

use muster_proto::ids::JobId;

/// A job starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// The job.
    pub job: JobId,
    /// With so many workers.
    pub workers: u32,
}

/// A job gives workers back for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stop {
    /// The job.
    pub job: JobId,
    /// How many it keeps; 0: it is stopped at a checkpoint and waits again.
    pub keeps: u32,
    /// The job that it is asked for; where several are promised them, the last.
    pub for_job: JobId,
}

/// Why a job waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Blocked {
    /// There will never be so many workers.
    TooLarge {
        /// Workers that it needs.
        min: u32,
        /// Workers of the pool.
        workers: u32,
    },
    /// Its team may not hold more.
    Quota {
        /// The team.
        team: String,
        /// Workers that the team may hold.
        quota: u32,
        /// Workers that it holds.
        held: u32,
        /// Workers that the job needs.
        min: u32,
    },
    /// Too few are free, and none can be taken from others.
    TooFew {
        /// Workers that it needs.
        min: u32,
        /// Workers that are free for it.
        free: u32,
    },
    /// Workers are being given back for it.
    Promised {
        /// Workers that it needs.
        min: u32,
        /// Of these, free already and kept for it.
        kept: u32,
    },
    /// Free workers are kept for a job that has waited longer.
    Behind {
        /// That job.
        job: JobId,
    },
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { min, workers } => {
                write!(f, "needs {min} workers, the pool has {workers}")
            }
            Self::Quota { team, quota, held, min } => {
                write!(f, "needs {min} workers, but team {team} holds {held} of the {quota} that it may")
            }
            Self::TooFew { min, free } => write!(f, "needs {min} workers, {free} are free"),
            Self::Promised { min, kept } => {
                write!(f, "needs {min} workers, {kept} are kept for it and others are being given back")
            }
            Self::Behind { job } => write!(f, "free workers are kept for {job}, which has waited longer"),
        }
    }
}

/// A job that goes on waiting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// The job.
    pub job: JobId,
    /// Its place in the queue, from 1.
    pub place: u32,
    /// Why.
    pub why: Blocked,
}

/// What a pass says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Solution {
    /// Jobs that start, in the order in which they were next.
    pub starts: Vec<Start>,
    /// Jobs that get more workers: how many they have then.
    pub grows: Vec<Start>,
    /// Jobs that give workers back.
    pub stops: Vec<Stop>,
    /// Jobs that wait, in their order.
    pub waits: Vec<Wait>,
}

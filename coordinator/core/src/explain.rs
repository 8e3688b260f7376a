//! Why a job still waits, in words.

use std::fmt;

use muster_proto::control::DeviceKind;
use muster_proto::ids::{JobId, WorkerId};

/// Workers that are alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// What they have in common.
    pub kind: String,
    /// Which they are.
    pub workers: Vec<WorkerId>,
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let workers: Vec<String> = self.workers.iter().map(ToString::to_string).collect();
        write!(f, "{} x {} ({})", self.workers.len(), self.kind, workers.join(", "))
    }
}

/// Why a job cannot begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotReady {
    /// Free workers are kept for another job.
    Behind {
        /// That job.
        job: JobId,
    },
    /// Its team may not hold more.
    Quota {
        /// The team.
        team: String,
        /// Workers that the team may hold.
        quota: u32,
        /// Workers that it holds.
        held: u32,
        /// Ranks of the job.
        want: u32,
    },
    /// Others give workers back for it.
    Promised {
        /// Ranks of the job.
        want: u32,
        /// Of these, free already and kept for it.
        kept: u32,
    },
    /// Not enough workers are without work.
    TooFewWorkers {
        /// Workers without work.
        have: usize,
        /// Ranks of the job.
        want: usize,
        /// Workers that are at work or not connected.
        others: usize,
    },
    /// There are workers, but none that this job can use.
    NoneFits {
        /// Workers without work.
        idle: usize,
        /// The device that the job asks for.
        device: Option<DeviceKind>,
        /// The numerics that the job is bound to.
        numerics: Option<String>,
    },
    /// There are workers enough, but they would not compute the same.
    Unlike {
        /// Ranks of the job.
        want: usize,
        /// The workers by what they have in common.
        groups: Vec<Group>,
    },
}

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Behind { job } => write!(f, "free workers are kept for {job}, which has waited longer"),
            Self::Quota { team, quota, held, want } => {
                write!(f, "needs {want} workers, but team {team:?} holds {held} of the {quota} that it may")
            }
            Self::Promised { want, kept } => {
                write!(f, "needs {want} workers, {kept} are kept for it and others are being given back")
            }
            Self::TooFewWorkers { have, want, others } => {
                write!(f, "needs {want} idle workers, {have} are there")?;
                if *others > 0 { write!(f, " ({others} more are at work or not connected)") } else { Ok(()) }
            }
            Self::NoneFits { idle, device, numerics } => {
                write!(f, "none of the {idle} idle workers fits: the job asks for")?;
                let device = device.map_or_else(|| "any device".to_owned(), |device| device.to_string());
                write!(f, " {device}")?;
                numerics.iter().try_for_each(|numerics| write!(f, " with numerics {numerics}"))
            }
            Self::Unlike { want, groups } => {
                let groups: Vec<String> = groups.iter().map(ToString::to_string).collect();
                write!(f, "the job needs {want} workers that compute alike; idle are {}", groups.join(", "))
            }
        }
    }
}

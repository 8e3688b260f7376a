//! Workers that a job can have of others: what these can spare first, then what stopping them frees.

use std::cmp::Reverse;

use muster_proto::ids::JobId;

use super::problem::{Class, Policy, Running};
use super::solution::Stop;

/// The running jobs while a pass takes from them.
#[derive(Debug)]
pub(super) struct Holders {
    /// The last served first: lowest class, then the most recent.
    jobs: Vec<Running>,
    /// What can be spared by the jobs of each class, and what stopping them would free beside that.
    spare: [u32; 3],
    stoppable: [u32; 3],
    max_stops: u32,
}

impl Holders {
    pub(super) fn new(running: &[Running], policy: &Policy) -> Self {
        let mut jobs = running.to_vec();
        jobs.sort_by_key(|job| (Reverse(job.class), job.ran, Reverse(job.job)));
        let (spare, stoppable) = ([0; 3], [0; 3]);
        let mut holders = Self { jobs, spare, stoppable, max_stops: policy.max_stops };
        holders.count();
        holders
    }

    /// Has others give at least `need` workers to a job of `class`, if they can: jobs of the same class or a lower one what
    /// they can spare, lower ones all. Returns what they do, and how many workers it frees.
    pub(super) fn take(&mut self, need: u32, class: Class, for_job: JobId) -> Option<(Vec<Stop>, u32)> {
        let at = class as usize;
        let spare: u32 = self.spare[at..].iter().sum();
        let stoppable: u32 = self.stoppable[at + 1..].iter().sum();
        if spare + stoppable < need {
            return None;
        }
        let mut left = need;
        let mut keeps = vec![None; self.jobs.len()];
        for (job, keeps) in self.jobs.iter().zip(&mut keeps).filter(|(job, _)| job.class >= class) {
            let given = job.spare().min(left);
            if given > 0 {
                *keeps = Some(job.keeps() - given);
                left -= given;
            }
        }
        // What the spare workers do not make up, whole jobs do; fewer are shrunk then.
        if left > 0 {
            keeps.fill(None);
            left = need;
            for (job, keeps) in self.jobs.iter().zip(&mut keeps) {
                if left > 0 && job.class > class && job.keeps() > 0 && job.stopped < self.max_stops {
                    *keeps = Some(0);
                    left = left.saturating_sub(job.keeps());
                }
            }
            for (job, keeps) in self.jobs.iter().zip(&mut keeps) {
                let given = job.spare().min(left);
                if keeps.is_none() && job.class >= class && given > 0 {
                    *keeps = Some(job.keeps() - given);
                    left -= given;
                }
            }
        }
        let (mut stops, mut freed) = (Vec::new(), 0);
        for (job, keeps) in self.jobs.iter_mut().zip(keeps) {
            if let Some(keeps) = keeps {
                freed += job.keeps() - keeps;
                job.leaving = job.held - keeps;
                stops.push(Stop { job: job.job, keeps, for_job });
            }
        }
        self.count();
        Some((stops, freed))
    }

    fn count(&mut self) {
        (self.spare, self.stoppable) = ([0; 3], [0; 3]);
        for job in &self.jobs {
            let can_stop = job.stopped < self.max_stops;
            self.spare[job.class as usize] += job.spare();
            self.stoppable[job.class as usize] += if can_stop { job.keeps() - job.spare() } else { 0 };
        }
    }
}

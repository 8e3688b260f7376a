//! The laws that the log of a run keeps, whatever happened to its workers. The same check is made of simulated runs
//! and of the histories of real ones.
//!
//! A run is a sequence of generations. Each begins where an earlier one was, so that no step is left out; none begins
//! before a checkpoint that was durable, so that nothing is lost that was said to be kept; and within a generation
//! steps only go forward.

use std::collections::BTreeMap;

/// Something that rank 0 wrote down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// A generation begins to train.
    Began {
        /// The generation.
        generation: u64,
        /// Steps that are in the model.
        step: u64,
    },
    /// A step is done.
    Reached {
        /// The generation.
        generation: u64,
        /// The step, from 1.
        step: u64,
    },
    /// A checkpoint is durable, and known to the coordinator.
    Saved {
        /// Its step.
        step: u64,
    },
}

/// A law that was broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Breach {
    /// A number was used for two generations.
    #[error("generation {generation} begins a second time")]
    Reused {
        /// The generation that begins.
        generation: u64,
    },
    /// Steps are missing.
    #[error(
        "generation {generation} begins at step {step}, but no generation before it got beyond {reached}"
    )]
    Skipped {
        /// The generation that begins.
        generation: u64,
        /// Where it begins.
        step: u64,
        /// The last step there was.
        reached: u64,
    },
    /// What was durable is not used.
    #[error("generation {generation} begins at step {step}, before the checkpoint of step {saved}")]
    Lost {
        /// The generation that begins.
        generation: u64,
        /// Where it begins.
        step: u64,
        /// The newest checkpoint's step.
        saved: u64,
    },
    /// A generation is at a step twice, or goes back.
    #[error("generation {generation} is at step {step} after step {before}")]
    Back {
        /// The generation.
        generation: u64,
        /// The step.
        step: u64,
        /// The step before it.
        before: u64,
    },
    /// Something is written down for a generation that never began.
    #[error("generation {generation} is at step {step}, but never began")]
    Unknown {
        /// The generation.
        generation: u64,
        /// The step.
        step: u64,
    },
}

/// The most steps that lie between two entries of one generation: a log need not tell of each step.
fn interval(log: &[Entry]) -> u64 {
    let mut last = None;
    let gaps = log.iter().filter_map(|entry| match *entry {
        Entry::Reached { generation, step } => {
            let before = last.replace((generation, step)).filter(|(before, _)| *before == generation);
            before.map(|(_, before)| step.saturating_sub(before))
        }
        Entry::Began { .. } | Entry::Saved { .. } => None,
    });
    gaps.max().unwrap_or(1).max(1)
}

/// The laws that a log breaks, in its order.
#[must_use]
pub fn check(log: &[Entry]) -> Vec<Breach> {
    let mut breaches = Vec::new();
    let untold = interval(log) - 1;
    // Where each generation is.
    let mut at: BTreeMap<u64, u64> = BTreeMap::new();
    let (mut reached, mut saved) = (0, 0);
    for entry in log {
        match *entry {
            Entry::Began { generation, step } => {
                if at.contains_key(&generation) {
                    breaches.push(Breach::Reused { generation });
                }
                // One that was succeeded before it heard of its start has nobody to train with, and may be behind.
                let succeeded = at.last_key_value().is_some_and(|(last, _)| *last > generation);
                if step > reached + untold {
                    breaches.push(Breach::Skipped { generation, step, reached });
                }
                if step < saved && !succeeded {
                    breaches.push(Breach::Lost { generation, step, saved });
                }
                at.insert(generation, step);
                reached = reached.max(step);
            }
            Entry::Reached { generation, step } => match at.insert(generation, step) {
                Some(before) if before >= step => breaches.push(Breach::Back { generation, step, before }),
                Some(_) => reached = reached.max(step),
                None => breaches.push(Breach::Unknown { generation, step }),
            },
            Entry::Saved { step } => saved = saved.max(step),
        }
    }
    breaches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn began(generation: u64, step: u64) -> Entry {
        Entry::Began { generation, step }
    }

    fn reached(generation: u64, step: u64) -> Entry {
        Entry::Reached { generation, step }
    }

    #[test]
    fn a_run_that_goes_back_to_a_copy_and_on_keeps_the_laws() {
        let saved = Entry::Saved { step: 2 };
        let log =
            [began(1, 0), reached(1, 2), saved, reached(1, 4), began(3, 3), reached(3, 4), reached(3, 5)];
        assert_eq!(check(&log), []);
    }

    #[test]
    fn a_log_of_every_twentieth_step_may_go_on_between_two_of_them_but_not_beyond() {
        let log = |begins| [began(1, 0), reached(1, 20), reached(1, 40), began(2, begins), reached(2, 80)];
        assert_eq!(check(&log(59)), []);
        assert_eq!(check(&log(60)).len(), 1);
    }

    #[test]
    fn each_law_is_missed_when_it_is_broken() {
        let saved = Entry::Saved { step: 4 };
        let broken = |log: &[Entry]| check(log).remove(0).to_string();
        assert_eq!(broken(&[began(2, 0), began(2, 0)]), "generation 2 begins a second time");
        assert_eq!(
            broken(&[began(1, 0), reached(1, 4), began(2, 5)]),
            "generation 2 begins at step 5, but no generation before it got beyond 4"
        );
        assert_eq!(
            broken(&[began(1, 0), reached(1, 4), saved, began(2, 3)]),
            "generation 2 begins at step 3, before the checkpoint of step 4"
        );
        assert_eq!(
            broken(&[began(1, 0), reached(1, 4), reached(1, 4)]),
            "generation 1 is at step 4 after step 4"
        );
        assert_eq!(broken(&[reached(1, 1)]), "generation 1 is at step 1, but never began");
    }
}

//! The one function that refuses what is out of date.
//!
//! Whatever changes state carries a [`Fence`]. The receiver compares it with what it knows by [`admit`], and
//! nowhere else. Claims that are newer than the receiver's knowledge are refused too: nobody can have got them
//! from it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{Generation, Incarnation, JobId, TaskId};

/// Who claims to act, for which version of a job's membership.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Fence {
    /// The job.
    pub job: JobId,
    /// The version of the job's membership.
    pub generation: Generation,
    /// The life of the worker process that acts.
    pub incarnation: Incarnation,
}

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({}, generation {}, incarnation {})", self.job, self.generation, self.incarnation)
    }
}

/// Who claims to work on a task, for which time that it was given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskClaim {
    /// The task.
    pub task: TaskId,
    /// How often it was given to a worker, this time included.
    pub attempt: u32,
    /// The life of the worker process.
    pub incarnation: Incarnation,
}

impl fmt::Display for TaskClaim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({}, attempt {}, incarnation {})", self.task, self.attempt, self.incarnation)
    }
}

/// Why a claim is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Stale {
    /// The claim is about another job.
    #[error("refused: the claim is for {claimed}, this is {current}")]
    Job {
        /// The job at hand.
        current: JobId,
        /// The job claimed.
        claimed: JobId,
    },
    /// The claim is about another version of the membership.
    #[error("refused: the claim is for generation {claimed} of {job}, which is at generation {current}")]
    Generation {
        /// The job.
        job: JobId,
        /// Its generation.
        current: Generation,
        /// The generation claimed.
        claimed: Generation,
    },
    /// The claim is about a rank that the worker does not hold.
    #[error("refused: the claim is for {claimed}, but this worker holds no rank")]
    Unassigned {
        /// What is claimed.
        claimed: Fence,
    },
    /// The claim is about a task that the worker was not given, or was given at another time.
    #[error("refused: the claim is for {claimed}, which this worker does not work on")]
    Task {
        /// What is claimed.
        claimed: TaskClaim,
    },
    /// The claim comes from another life of the worker.
    #[error("refused: the claim comes from incarnation {claimed}, the worker is at incarnation {current}")]
    Incarnation {
        /// The incarnation at hand.
        current: Incarnation,
        /// The incarnation claimed.
        claimed: Incarnation,
    },
}

/// Lets a claim pass only if it is about the job, the generation and the incarnation at hand.
///
/// # Errors
/// The first of job, incarnation and generation in which the claim differs.
pub fn admit(current: &Fence, claimed: &Fence) -> Result<(), Stale> {
    if claimed.job != current.job {
        return Err(Stale::Job { current: current.job, claimed: claimed.job });
    }
    admit_incarnation(current.incarnation, claimed.incarnation)?;
    if claimed.generation != current.generation {
        let (job, current, claimed) = (current.job, current.generation, claimed.generation);
        return Err(Stale::Generation { job, current, claimed });
    }
    Ok(())
}

/// [`admit`] for a holder that may hold nothing.
///
/// # Errors
/// As [`admit`]; [`Stale::Unassigned`] if nothing is held.
pub fn admit_held(current: Option<&Fence>, claimed: &Fence) -> Result<(), Stale> {
    current.map_or(Err(Stale::Unassigned { claimed: *claimed }), |current| admit(current, claimed))
}

/// [`admit`] for a task, by a holder that may hold none.
///
/// # Errors
/// [`Stale::Incarnation`] where only the lives differ, else [`Stale::Task`].
pub fn admit_task(current: Option<&TaskClaim>, claimed: &TaskClaim) -> Result<(), Stale> {
    let current =
        current.filter(|current| current.task == claimed.task && current.attempt == claimed.attempt);
    let current = current.ok_or(Stale::Task { claimed: *claimed })?;
    admit_incarnation(current.incarnation, claimed.incarnation)
}

/// The part of [`admit`] that concerns what a worker says outside any job.
///
/// # Errors
/// [`Stale::Incarnation`] if the incarnations differ.
pub fn admit_incarnation(current: Incarnation, claimed: Incarnation) -> Result<(), Stale> {
    if claimed == current { Ok(()) } else { Err(Stale::Incarnation { current, claimed }) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ids::TaskOwner;

    #[test]
    fn a_task_is_claimed_by_whom_it_was_given_to_last_and_by_nobody_else() {
        let claim = |number, attempt, incarnation| TaskClaim {
            task: TaskId { owner: TaskOwner(7), number },
            attempt,
            incarnation: Incarnation(incarnation),
        };
        let held = claim(1, 2, 3);
        assert_eq!(admit_task(Some(&held), &held), Ok(()));
        for other in [claim(2, 2, 3), claim(1, 1, 3), claim(1, 3, 3)] {
            assert_eq!(admit_task(Some(&held), &other), Err(Stale::Task { claimed: other }));
        }
        let text = admit_task(Some(&held), &claim(1, 2, 4)).unwrap_err().to_string();
        assert_eq!(text, "refused: the claim comes from incarnation 4, the worker is at incarnation 3");
        let text = admit_task(None, &held).unwrap_err().to_string();
        let expected = "(task 1 of owner-7, attempt 2, incarnation 3), which this worker does not work on";
        assert!(text.ends_with(expected), "{text}");
    }

    fn fence(job: u64, generation: u64, incarnation: u64) -> Fence {
        Fence { job: JobId(job), generation: Generation(generation), incarnation: Incarnation(incarnation) }
    }

    #[test]
    fn an_older_generation_is_refused_and_named() {
        let refused = admit(&fence(1, 3, 5), &fence(1, 2, 5)).unwrap_err();
        let text = "refused: the claim is for generation 2 of job-1, which is at generation 3";
        assert_eq!(refused.to_string(), text);
    }

    #[test]
    fn an_older_life_is_refused_even_in_the_right_generation() {
        let refused = admit(&fence(1, 3, 5), &fence(1, 3, 4)).unwrap_err();
        assert_eq!(refused, Stale::Incarnation { current: Incarnation(5), claimed: Incarnation(4) });
    }

    #[test]
    fn a_claim_from_the_future_is_refused() {
        assert!(admit(&fence(1, 3, 5), &fence(1, 4, 5)).is_err());
        assert!(admit(&fence(1, 3, 5), &fence(1, 3, 6)).is_err());
    }

    proptest! {
        #[test]
        fn only_the_very_same_claim_passes(a in (0_u64..3, 0_u64..3, 0_u64..3), b in (0_u64..3, 0_u64..3, 0_u64..3)) {
            let (current, claimed) = (fence(a.0, a.1, a.2), fence(b.0, b.1, b.2));
            prop_assert_eq!(admit(&current, &claimed).is_ok(), a == b);
        }
    }
}

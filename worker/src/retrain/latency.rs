//! A smoke load: how long a model takes to answer single users, one after the other, on this worker.

use std::time::{Duration, Instant};

use muster_data::Partition;

use super::{Error, Work};
use crate::standalone::Standalone;

/// Answers that are timed; few enough that the slowest two of them are what 99 of 100 leaves out.
const ANSWERS: usize = 200;
/// Answers before, that bring the model into the processor's caches.
const WARM_UP: usize = 20;
/// Items of an answer.
const ITEMS: usize = 10;

/// The time that 99 of 100 answers took at most, for users who lie evenly over the dataset. None where it has no users.
///
/// # Errors
/// The model's, or the work is to stop.
pub(super) fn measure(model: &mut Standalone, work: &Work<'_>) -> Result<Option<Duration>, Error> {
    let Some(users) = Users::of(model) else { return Ok(None) };
    let mut took = Vec::with_capacity(ANSWERS);
    for answer in 0..WARM_UP + ANSWERS {
        let (partition, user) = users.nth(answer);
        let begun = Instant::now();
        let answered = model.recommend(partition, user, ITEMS);
        let time = begun.elapsed();
        answered.map_err(|source| Error::Score { whose: "candidate", source })?;
        if answer >= WARM_UP {
            took.push(time);
        }
        work.beat()?;
    }
    took.sort_unstable();
    Ok(Some(took[ANSWERS * 99 / 100 - 1]))
}

/// The users that are asked for, with copies of their log partitions' events.
struct Users {
    partitions: Vec<Partition>,
    chosen: Vec<(usize, u32)>,
}

impl Users {
    fn of(model: &Standalone) -> Option<Self> {
        // Partitions of one micro-batch are enough, and are many users wherever there are many.
        let group = model.trainer.groups.iter().max_by_key(|group| users_of(&group.partitions))?;
        let all = users_of(&group.partitions);
        let step = (all / (WARM_UP + ANSWERS)).max(1);
        let every = group
            .partitions
            .iter()
            .enumerate()
            .flat_map(|(place, partition)| (0..partition.users()).map(move |user| (place, user)));
        let chosen: Vec<(usize, u32)> = every.step_by(step).take(WARM_UP + ANSWERS).collect();
        (!chosen.is_empty()).then(|| Self { partitions: group.partitions.clone(), chosen })
    }

    fn nth(&self, answer: usize) -> (&Partition, u32) {
        let (place, user) = self.chosen[answer % self.chosen.len()];
        (&self.partitions[place], user)
    }
}

fn users_of(partitions: &[Partition]) -> usize {
    partitions.iter().map(|partition| partition.users() as usize).sum()
}

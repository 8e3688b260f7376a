//! How long a rank's steps take without the others: from which the coordinator sees who keeps whom waiting.

use std::time::Duration;

use muster_proto::control::StepTiming;
use muster_proto::ids::Step;

use crate::train::{Laps, Sum};

/// Own time of the steps since it was told last.
#[derive(Default)]
pub(super) struct Timing {
    step: Option<Step>,
    own: Duration,
    steps: u32,
    laps: Sum,
    told: bool,
}

impl Timing {
    pub(super) fn add(&mut self, step: Step, own: Duration) {
        self.renew();
        self.step = Some(step);
        self.own += own;
        self.steps += 1;
    }

    /// Where the time of a step went; told before the step itself is.
    pub(super) fn spent(&mut self, laps: &Laps) {
        self.renew();
        self.laps.add(laps);
    }

    /// The mean; the same again where no step was made since.
    pub(super) fn tell(&mut self) -> Option<StepTiming> {
        let step = self.step.filter(|_| self.steps > 0)?;
        self.told = true;
        let breakdown = self.laps.mean().map(Box::new);
        Some(StepTiming { step, own: self.own / self.steps, breakdown })
    }

    /// Forgets the steps that were told.
    fn renew(&mut self) {
        if std::mem::take(&mut self.told) {
            (self.own, self.steps) = Default::default();
            self.laps.renew();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(step: u64, own: Duration) -> Option<StepTiming> {
        Some(StepTiming { step: Step(step), own, breakdown: None })
    }

    #[test]
    fn what_is_told_is_the_mean_over_the_steps_since_it_was_told_before() {
        let mut timing = Timing::default();
        assert_eq!(timing.tell(), None);
        let own = Duration::from_millis;
        timing.add(Step(1), own(10));
        timing.add(Step(2), own(20));
        assert_eq!(timing.tell(), told(2, own(15)));
        assert_eq!(timing.tell(), told(2, own(15)));
        timing.add(Step(3), own(4));
        assert_eq!(timing.tell(), told(3, own(4)));
    }
}

//! How long a rank's steps take without the others: from which the coordinator sees who keeps whom waiting.

use std::time::Duration;

use muster_proto::control::StepTiming;
use muster_proto::ids::Step;

/// Own time of the steps since it was told last.
#[derive(Default)]
pub(super) struct Timing {
    step: Option<Step>,
    own: Duration,
    steps: u32,
    told: bool,
}

impl Timing {
    pub(super) fn add(&mut self, step: Step, own: Duration) {
        if std::mem::take(&mut self.told) {
            (self.own, self.steps) = Default::default();
        }
        self.step = Some(step);
        self.own += own;
        self.steps += 1;
    }

    /// The mean; the same again where no step was made since.
    pub(super) fn tell(&mut self) -> Option<StepTiming> {
        self.told = true;
        Some(StepTiming { step: self.step?, own: self.own / self.steps })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_the_mean_over_the_steps_since_it_was_told_before() {
        let mut timing = Timing::default();
        assert_eq!(timing.tell(), None);
        let own = Duration::from_millis;
        timing.add(Step(1), own(10));
        timing.add(Step(2), own(20));
        assert_eq!(timing.tell(), Some(StepTiming { step: Step(2), own: own(15) }));
        assert_eq!(timing.tell(), Some(StepTiming { step: Step(2), own: own(15) }));
        timing.add(Step(3), own(4));
        assert_eq!(timing.tell(), Some(StepTiming { step: Step(3), own: own(4) }));
    }
}

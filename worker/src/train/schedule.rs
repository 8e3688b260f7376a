//! The learning rate over steps.

use muster_proto::job::{Decay, OptimizerSpec, ScheduleSpec};

/// The learning rate of step `step` (from 1) of `total` planned steps: linear warm-up to the optimizer's rate,
/// then the decay down to `final_ratio` of it at the last step.
#[must_use]
pub fn learning_rate(schedule: &ScheduleSpec, optimizer: &OptimizerSpec, step: u64, total: u64) -> f64 {
    let (peak, warmup) = (optimizer.lr, schedule.warmup_steps);
    if step <= warmup {
        return peak * step as f64 / warmup as f64;
    }
    let decaying = total.saturating_sub(warmup).max(1);
    let done = ((step - warmup) as f64 / decaying as f64).min(1.0);
    let left = match schedule.decay {
        Decay::None => return peak,
        Decay::Linear => 1.0 - done,
        Decay::Cosine => half_cosine(done),
    };
    peak * (schedule.final_ratio + (1.0 - schedule.final_ratio) * left)
}

/// (1 + cos(pi x)) / 2 on [0, 1] by the Taylor series of sin around the middle, so that the rate has the same bits
/// on every machine (the standard library's cosine is the platform's).
fn half_cosine(x: f64) -> f64 {
    let angle = std::f64::consts::PI * (0.5 - x);
    let square = angle * angle;
    let mut term = angle;
    let mut sine = angle;
    for k in 1..12 {
        term *= -square / f64::from((2 * k) * (2 * k + 1));
        sine += term;
    }
    f64::midpoint(1.0, sine)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(decay: Decay, warmup_steps: u64, step: u64) -> f64 {
        let schedule = ScheduleSpec { warmup_steps, decay, final_ratio: 0.1 };
        learning_rate(&schedule, &OptimizerSpec { lr: 2.0, ..OptimizerSpec::default() }, step, 110)
    }

    #[test]
    fn warm_up_is_linear_and_ends_at_the_peak() {
        assert_eq!(rate(Decay::None, 10, 1), 0.2);
        assert_eq!(rate(Decay::None, 10, 10), 2.0);
        assert_eq!(rate(Decay::None, 0, 1), 2.0);
    }

    #[test]
    fn decays_go_from_the_peak_to_the_final_ratio() {
        for decay in [Decay::Linear, Decay::Cosine] {
            assert!((rate(decay, 10, 60) - 2.0 * 0.55).abs() < 1e-12);
            assert!((rate(decay, 10, 110) - 0.2).abs() < 1e-12);
            assert!((rate(decay, 10, 500) - 0.2).abs() < 1e-12);
        }
    }

    #[test]
    fn the_cosine_is_the_cosine() {
        for i in 0..=100 {
            let x = f64::from(i) / 100.0;
            assert!((half_cosine(x) - (1.0 + (std::f64::consts::PI * x).cos()) / 2.0).abs() < 1e-14);
        }
    }
}

//! Time over size: straight lines between points that never fall.

use crate::cost::calibration;

/// Seconds over the sizes of one shape.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Curve {
    /// (size, seconds), both rising; at least one.
    points: Vec<(f64, f64)>,
}

impl Curve {
    /// From (size, seconds), pooled as [`calibration::Calibration`] does where a larger size takes less; none without points.
    pub(super) fn new(measured: &[(f64, f64)]) -> Option<Self> {
        let mut sizes: Vec<f64> = measured.iter().map(|point| point.0).collect();
        sizes.sort_by(f64::total_cmp);
        sizes.dedup();
        let points = match calibration::Calibration::new(measured) {
            Ok(pooled) => sizes.iter().map(|size| (*size, pooled.predict(*size).seconds)).collect(),
            Err(_) => measured.first().copied().into_iter().collect::<Vec<_>>(),
        };
        (!points.is_empty()).then_some(Self { points })
    }

    /// Seconds at `size`, and whether that lies outside of what was measured.
    ///
    /// Work has a cost to start and a cost for each unit, so lines are straight; with one point the cost to start is not
    /// known and taken as nothing. Beyond the largest size time grows at most in proportion to it.
    pub(super) fn predict(&self, size: f64) -> (f64, bool) {
        let (first, last) = (self.points[0], self.points[self.points.len() - 1]);
        let size = size.max(0.0);
        if self.points.len() == 1 {
            return (first.1 * size / first.0, false);
        }
        let after = self.points.partition_point(|point| point.0 <= size).clamp(1, self.points.len() - 1);
        let (low, high) = (self.points[after - 1], self.points[after]);
        let seconds = low.1 + (high.1 - low.1) * (size - low.0) / (high.0 - low.0);
        if size < first.0 {
            return (seconds.max(first.1 * size / first.0), size < first.0 / 4.0);
        }
        if size > last.0 {
            return (seconds.min(last.1 * size / last.0), size > last.0 * 4.0);
        }
        (seconds, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_with_a_cost_to_start_is_met_between_and_beyond_its_points() {
        let affine = |size: f64| 3.0 + 0.5 * size;
        let curve = Curve::new(&[(400.0, affine(400.0)), (48.0, affine(48.0))]).unwrap();
        for size in [16.0, 48.0, 120.0, 400.0] {
            assert!((curve.predict(size).0 - affine(size)).abs() < 1e-9, "{size}");
        }
        assert!((curve.predict(800.0).0 - affine(800.0)).abs() < 1e-9);
        assert_eq!((curve.predict(4.0).1, curve.predict(4000.0).1), (true, true));
        assert_eq!((curve.predict(30.0).1, curve.predict(900.0).1), (false, false));
    }

    #[test]
    fn one_point_is_in_proportion() {
        assert_eq!(Curve::new(&[(10.0, 5.0)]).unwrap().predict(4.0), (2.0, false));
        assert_eq!(Curve::new(&[]), None);
    }
}

//! Curves over shapes: a grid of them, between which logarithms are interpolated.

use super::curve::Curve;

/// The curves of one term, at a grid of shapes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Surface {
    /// The shapes' numbers that were measured, axis by axis, ascending.
    axes: Vec<Vec<f64>>,
    /// A curve for each place of the grid, the last axis fastest; the nearest one's where none was measured.
    cells: Vec<Curve>,
}

impl Surface {
    /// From (shape, size, seconds); none without points.
    pub(super) fn new(points: &[(Vec<f64>, f64, f64)]) -> Option<Self> {
        let n_axes = points.first()?.0.len();
        let axes: Vec<Vec<f64>> = (0..n_axes)
            .map(|axis| {
                let mut values: Vec<f64> = points.iter().map(|point| point.0[axis]).collect();
                values.sort_by(f64::total_cmp);
                values.dedup();
                values
            })
            .collect();
        let shapes = shapes(&axes);
        let of = |shape: &Vec<f64>| {
            let here = points.iter().filter(|point| point.0 == *shape);
            Curve::new(&here.map(|point| (point.1, point.2)).collect::<Vec<_>>())
        };
        let measured: Vec<Option<Curve>> = shapes.iter().map(of).collect();
        let cells = shapes.iter().zip(&measured).map(|(shape, curve)| {
            let curve = curve.clone();
            curve.or_else(|| nearest(shape, &shapes, &measured))
        });
        Some(Self { cells: cells.collect::<Option<_>>()?, axes })
    }

    /// Seconds at a shape and size, and whether that lies outside of what was measured.
    pub(super) fn predict(&self, at: &[f64], size: f64) -> (f64, bool) {
        let mut outside = false;
        // Weight and place of the grid's neighbours, axis by axis.
        let mut corners = vec![(1.0_f64, 0_usize)];
        for (axis, value) in self.axes.iter().zip(at) {
            let (low, share) = place(axis, *value);
            outside |= *value < axis[0] * 0.6 || *value > axis[axis.len() - 1] * 1.7;
            let next = |(weight, index): (f64, usize)| {
                let start = index * axis.len() + low;
                let single = axis.len() == 1;
                let parts = [(weight * (1.0 - share), start), (weight * share, start + usize::from(!single))];
                parts.into_iter().filter(|part| part.0 != 0.0)
            };
            corners = corners.into_iter().flat_map(next).collect();
        }
        let mut logarithm = 0.0;
        for (weight, index) in corners {
            let (seconds, beyond) = self.cells[index].predict(size);
            outside |= beyond;
            logarithm += weight * seconds.max(f64::MIN_POSITIVE).ln();
        }
        (logarithm.exp(), outside)
    }
}

/// The place before `value` on an axis, and how far it is to the next, by logarithms; beyond the ends the last stretch goes on.
fn place(axis: &[f64], value: f64) -> (usize, f64) {
    if axis.len() == 1 {
        return (0, 0.0);
    }
    let low = axis.partition_point(|known| *known <= value).clamp(1, axis.len() - 1) - 1;
    let (from, to) = (axis[low].ln(), axis[low + 1].ln());
    (low, (value.max(f64::MIN_POSITIVE).ln() - from) / (to - from))
}

/// All shapes of a grid, the last axis fastest.
fn shapes(axes: &[Vec<f64>]) -> Vec<Vec<f64>> {
    axes.iter().fold(vec![Vec::new()], |shapes, axis| {
        let longer = |shape: Vec<f64>| axis.iter().map(move |value| [&shape[..], &[*value]].concat());
        shapes.into_iter().flat_map(longer).collect()
    })
}

fn nearest(shape: &[f64], shapes: &[Vec<f64>], measured: &[Option<Curve>]) -> Option<Curve> {
    let far = |other: &[f64]| -> f64 { other.iter().zip(shape).map(|(a, b)| (a / b).ln().abs()).sum() };
    let known = shapes.iter().zip(measured).filter_map(|(other, curve)| Some((far(other), curve.as_ref()?)));
    known.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, curve)| curve.clone())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn grid(of: impl Fn(f64, f64, f64) -> f64) -> Surface {
        let mut points = Vec::new();
        for a in [16.0, 64.0, 256.0] {
            for b in [1.0, 8.0] {
                for size in [50.0, 400.0] {
                    points.push((vec![a, b], size, of(a, b, size)));
                }
            }
        }
        Surface::new(&points).unwrap()
    }

    proptest! {
        #[test]
        fn a_power_law_is_met_at_every_shape(a in 10.0_f64..400.0, b in 0.7_f64..12.0, size in 10.0_f64..900.0) {
            let law = |a: f64, b: f64, size: f64| 1e-9 * a.powf(1.7) * b.powf(-0.3) * size;
            let (seconds, _) = grid(law).predict(&[a, b], size);
            prop_assert!((seconds / law(a, b, size) - 1.0).abs() < 1e-9);
        }
    }

    #[test]
    fn shapes_far_beyond_the_grid_are_told() {
        let surface = grid(|a, _, size| a * size);
        assert!(surface.predict(&[1024.0, 4.0], 100.0).1);
        assert!(surface.predict(&[64.0, 0.1], 100.0).1);
        assert!(!surface.predict(&[300.0, 10.0], 100.0).1);
    }

    #[test]
    fn a_place_that_was_not_measured_has_its_nearest_neighbours_curve() {
        let points = [(vec![1.0, 1.0], 1.0, 2.0), (vec![2.0, 2.0], 1.0, 8.0)];
        let surface = Surface::new(&points).unwrap();
        assert!((surface.predict(&[1.0, 2.0], 1.0).0 - 2.0).abs() < 1e-12);
    }
}

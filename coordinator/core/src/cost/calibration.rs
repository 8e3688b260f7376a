//! Measured points in place of a formula: monotone interpolation between logarithms.

/// Why points cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// There are too few.
    #[error("{found} points with a size above 0, give at least 2 of different sizes")]
    TooFew {
        /// How many there are.
        found: usize,
    },
}

/// Measured seconds over sizes of one term.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibration {
    /// (ln size, ln seconds), both rising.
    points: Vec<(f64, f64)>,
}

/// A prediction, and whether it lies outside of what was measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prediction {
    /// Seconds.
    pub seconds: f64,
    /// Outside of the measured sizes.
    pub extrapolated: bool,
}

impl Calibration {
    /// From (size, seconds). Points of one size are taken as their mean; where more takes less time (noise), neighbours are pooled
    /// to their mean (Ayer et al. 1955), so that the curve never falls.
    ///
    /// # Errors
    /// Fewer than two sizes above 0.
    pub fn new(measured: &[(f64, f64)]) -> Result<Self, Error> {
        let legal = |(size, seconds): &&(f64, f64)| {
            *size > 0.0 && *seconds > 0.0 && size.is_finite() && seconds.is_finite()
        };
        let mut points: Vec<(f64, f64)> =
            measured.iter().filter(legal).map(|(size, seconds)| (size.ln(), seconds.ln())).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        let mut sizes: Vec<(f64, f64, f64)> = Vec::new();
        for (size, seconds) in points {
            match sizes.last_mut() {
                Some(last) if last.0 == size => {
                    last.1 += seconds;
                    last.2 += 1.0;
                }
                _ => sizes.push((size, seconds, 1.0)),
            }
        }
        if sizes.len() < 2 {
            return Err(Error::TooFew { found: sizes.len() });
        }
        Ok(Self { points: pooled(&sizes) })
    }

    /// Seconds at `size`; beyond the points along the last slope, at most proportional to the size.
    #[must_use]
    pub fn predict(&self, size: f64) -> Prediction {
        let x = size.max(f64::MIN_POSITIVE).ln();
        let last = self.points.len() - 1;
        let extrapolated = x < self.points[0].0 || x > self.points[last].0;
        if x < self.points[0].0 {
            // Below the smallest message only the latency is left.
            return Prediction { seconds: self.points[0].1.exp(), extrapolated };
        }
        let after = self.points.partition_point(|point| point.0 <= x).clamp(1, last);
        let (low, high) = (self.points[after - 1], self.points[after]);
        let slope = (high.1 - low.1) / (high.0 - low.0);
        let slope = if x > high.0 { slope.min(1.0) } else { slope };
        let from = if x > high.0 { high } else { low };
        Prediction { seconds: (from.1 + slope * (x - from.0)).exp(), extrapolated }
    }
}

impl Calibration {
    /// The least ratio of seconds to size for all sizes up to `size`.
    ///
    /// Between two points the ratio rises or falls throughout, so its least is at a point or at an end.
    #[must_use]
    pub fn least_ratio(&self, size: f64) -> f64 {
        let points = self.points.iter().take_while(|(x, _)| *x <= size.max(f64::MIN_POSITIVE).ln());
        let at_points = points.map(|(x, y)| (y - x).exp()).fold(f64::INFINITY, f64::min);
        at_points.min(self.predict(size).seconds / size)
    }
}

/// Isotonic regression of (size, sum, count) by pooling adjacent violators.
fn pooled(sizes: &[(f64, f64, f64)]) -> Vec<(f64, f64)> {
    let mut blocks: Vec<(f64, f64, usize)> = Vec::new();
    for (_, sum, count) in sizes {
        let mut block = (*sum, *count, 1);
        while let Some(last) = blocks.last().copied().filter(|last| last.0 / last.1 > block.0 / block.1) {
            block = (last.0 + block.0, last.1 + block.1, last.2 + block.2);
            blocks.pop();
        }
        blocks.push(block);
    }
    let levels = blocks.iter().flat_map(|(sum, count, len)| std::iter::repeat_n(sum / count, *len));
    sizes.iter().map(|(size, _, _)| *size).zip(levels).collect()
}

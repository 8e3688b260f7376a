//! How good forecasts are.

/// Errors of forecasts, as shares of what was measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scores {
    /// Points.
    pub points: usize,
    /// Mean of the errors' sizes.
    pub mape: f64,
    /// The largest size.
    pub max: f64,
    /// Mean of the errors with their signs.
    pub bias: f64,
    /// Kendall's tau-b of forecasts and measurements.
    pub tau: f64,
}

/// The signed error of a forecast, as a share of what was measured.
#[must_use]
pub fn error(forecast: f64, measured: f64) -> f64 {
    forecast / measured - 1.0
}

/// Scores of (forecast, measured) pairs; none without a pair.
#[must_use]
pub fn scores(pairs: &[(f64, f64)]) -> Option<Scores> {
    if pairs.is_empty() {
        return None;
    }
    let errors: Vec<f64> = pairs.iter().map(|(forecast, measured)| error(*forecast, *measured)).collect();
    let n = errors.len() as f64;
    Some(Scores {
        points: errors.len(),
        mape: errors.iter().map(|error| error.abs()).sum::<f64>() / n,
        max: errors.iter().map(|error| error.abs()).fold(0.0, f64::max),
        bias: errors.iter().sum::<f64>() / n,
        tau: kendall_tau(pairs),
    })
}

/// Kendall's tau-b (Kendall 1945), which counts ties; 0 where all values of one side are equal.
#[must_use]
pub fn kendall_tau(pairs: &[(f64, f64)]) -> f64 {
    let (mut concordant, mut ties_a, mut ties_b, mut all) = (0.0, 0.0, 0.0, 0.0);
    for (idx, a) in pairs.iter().enumerate() {
        for b in &pairs[..idx] {
            let (first, second) = (a.0.total_cmp(&b.0), a.1.total_cmp(&b.1));
            all += 1.0;
            ties_a += f64::from(u8::from(first.is_eq()));
            ties_b += f64::from(u8::from(second.is_eq()));
            concordant += f64::from(first as i8) * f64::from(second as i8);
        }
    }
    let scale = ((all - ties_a) * (all - ties_b)).sqrt();
    if scale > 0.0 { (concordant / scale).clamp(-1.0, 1.0) } else { 0.0 }
}

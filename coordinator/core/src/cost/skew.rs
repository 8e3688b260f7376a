//! How often rows are asked for: Zipf's law by logarithmic bins, distinct rows, hits in a cache.
//!
//! `p_r` is proportional to `r^-alpha`, r from 1. Rows of a bin are taken as equally likely; 16 bins a doubling keep the error of
//! distinct rows under 1 %.

/// Rows that are about equally likely.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Bin {
    rows: f64,
    /// Probability of the bin as a whole.
    share: f64,
}

/// The popularity of a table's rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Skew {
    bins: Vec<Bin>,
}

impl Skew {
    /// Zipf's law with exponent `alpha` over `rows` rows; 0 is uniform.
    #[must_use]
    pub fn zipf(rows: u64, alpha: f64) -> Self {
        let rows = rows.max(1) as f64;
        if alpha == 0.0 {
            return Self { bins: vec![Bin { rows, share: 1.0 }] };
        }
        let mut bins = Vec::new();
        let mut low = 1.0_f64;
        while low <= rows {
            let high = (low * 2f64.powf(1.0 / 16.0)).floor().max(low + 1.0).min(rows + 1.0);
            bins.push(Bin { rows: high - low, share: mass(low, high, alpha) });
            low = high;
        }
        let total: f64 = bins.iter().map(|bin| bin.share).sum();
        bins.iter_mut().for_each(|bin| bin.share /= total);
        Self { bins }
    }

    /// A reuse histogram: (rows, accesses) of each bin, as the locality statistics of `dlrm_datasets` give them.
    ///
    /// Bins without rows are left out; the most popular come first.
    #[must_use]
    pub fn histogram(bins: &[(f64, f64)]) -> Self {
        let total: f64 = bins.iter().map(|(_, accesses)| accesses).sum();
        let mut bins: Vec<Bin> = bins
            .iter()
            .filter(|(rows, _)| *rows > 0.0)
            .map(|(rows, accesses)| Bin { rows: *rows, share: accesses / total.max(f64::MIN_POSITIVE) })
            .collect();
        bins.sort_by(|a, b| (b.share / b.rows).total_cmp(&(a.share / a.rows)));
        Self { bins }
    }

    /// Expected distinct rows of `lookups` independent lookups: the sum over rows of `1 - (1 - p)^n`.
    #[must_use]
    pub fn distinct(&self, lookups: f64) -> f64 {
        let of_bin = |bin: &Bin| {
            let p = (bin.share / bin.rows).min(1.0);
            if p >= 1.0 { lookups.min(1.0) } else { bin.rows * -(lookups * (-p).ln_1p()).exp_m1() }
        };
        self.bins.iter().map(of_bin).sum::<f64>().min(lookups)
    }

    /// Share of lookups that the `rows` most popular rows get.
    #[must_use]
    pub fn share_of_top(&self, rows: f64) -> f64 {
        let mut left = rows;
        let mut share = 0.0;
        for bin in &self.bins {
            let part = (left / bin.rows).clamp(0.0, 1.0);
            share += bin.share * part;
            left -= bin.rows * part;
        }
        share.min(1.0)
    }
}

/// Integral of `r^-alpha` over the rows `low..high`, from half a row before each.
fn mass(low: f64, high: f64, alpha: f64) -> f64 {
    if high - low <= 1.0 {
        return low.powf(-alpha);
    }
    let (low, high) = (low - 0.5, high - 0.5);
    if (alpha - 1.0).abs() < 1e-9 {
        return (high / low).ln();
    }
    (high.powf(1.0 - alpha) - low.powf(1.0 - alpha)) / (1.0 - alpha)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distinct_rows_by_bins_are_those_of_the_exact_sum() {
        for (rows, alpha, lookups) in [(1000_u64, 1.05, 500.0), (100_000, 0.7, 20_000.0), (50_000, 1.0, 1e6)]
        {
            let weights: Vec<f64> = (1..=rows).map(|r| (r as f64).powf(-alpha)).collect();
            let total: f64 = weights.iter().sum();
            let exact: f64 = weights.iter().map(|w| 1.0 - (1.0 - w / total).powf(lookups)).sum();
            let binned = Skew::zipf(rows, alpha).distinct(lookups);
            assert!((binned / exact - 1.0).abs() < 0.01, "{rows} {alpha}: {binned} {exact}");
        }
    }

    #[test]
    fn the_whole_table_gets_all_lookups() {
        let skew = Skew::zipf(12_345, 1.05);
        assert!((skew.share_of_top(12_345.0) - 1.0).abs() < 1e-9);
        assert!(skew.share_of_top(100.0) > 0.4);
    }

    #[test]
    fn a_histogram_puts_the_hottest_rows_first() {
        let skew = Skew::histogram(&[(90.0, 10.0), (10.0, 90.0)]);
        assert!((skew.share_of_top(10.0) - 0.9).abs() < 1e-12);
    }
}

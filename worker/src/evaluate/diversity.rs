//! Intra-list diversity: one minus the mean cosine of the pairs of a list (Ziegler et al. 2005), over the rows of
//! the table that items are scored against.

use muster_collective::Collective;

use super::Error;
use super::counts::RankingCounts;
use super::ranking::Ranked;
use crate::embedding::{LookupRequest, Rows, TableSet, look_up};

/// Counts the diversity of each list at each k. Collective: the rows are looked up at their owners.
pub(super) fn count(
    set: &TableSet,
    table: usize,
    ranked: &[Ranked],
    counts: &mut RankingCounts,
    collective: &mut dyn Collective,
) -> Result<(), Error> {
    let ids = ranked.iter().flat_map(|user| user.list.iter().map(|(item, _)| *item));
    let rows = look_up(set, vec![LookupRequest::of(table, ids)], collective)?.remove(0);
    let unit = unit_rows(&rows);
    let ks = counts.ks.clone();
    for user in ranked {
        // The sum over pairs is (|sum of unit vectors|² - number of vectors) / 2, so one pass does for every k.
        let mut sum = vec![0.0_f64; rows.dim];
        let mut length = 0;
        for (k_index, k) in ks.iter().enumerate() {
            for (item, _) in user.list.iter().take(*k as usize).skip(length) {
                let slot = rows.slot(*item);
                let row = &unit[slot * rows.dim..(slot + 1) * rows.dim];
                sum.iter_mut().zip(row).for_each(|(s, v)| *s += v);
            }
            length = user.list.len().min(*k as usize);
            let n = length as f64;
            let squares: f64 = sum.iter().map(|s| s * s).sum();
            let similarity = if length > 1 { (squares - n) / (n * (n - 1.0)) } else { 1.0 };
            counts.add_diversity(k_index, 1.0 - similarity);
        }
    }
    Ok(())
}

fn unit_rows(rows: &Rows) -> Vec<f64> {
    let mut unit: Vec<f64> = rows.rows.iter().map(|v| f64::from(*v)).collect();
    for row in unit.chunks_exact_mut(rows.dim.max(1)) {
        let norm = row.iter().map(|v| v * v).sum::<f64>().sqrt();
        if norm > 0.0 {
            row.iter_mut().for_each(|v| *v /= norm);
        }
    }
    unit
}

//! Metrics in the order people read them: what was hit first, list lengths ascending.

use std::collections::BTreeSet;

use crate::table::Table;

/// The families from the most to the least read; others follow by name.
const FAMILIES: [&str; 10] =
    ["HR", "NDCG", "MRR", "Recall", "Precision", "F1", "Coverage", "Gini", "Novelty", "Diversity"];

/// A metric's name taken apart: the family, and the list length where it has one.
fn parts(name: &str) -> (&str, Option<u32>) {
    match name.split_once('@') {
        Some((family, k)) => (family, k.parse().ok()),
        None => (name, None),
    }
}

fn place(family: &str) -> usize {
    FAMILIES.iter().position(|known| *known == family).unwrap_or(FAMILIES.len())
}

/// The names in reading order.
pub fn ordered<'n>(names: impl Iterator<Item = &'n str>) -> Vec<&'n str> {
    let mut names: Vec<&str> = names.collect();
    names.sort_by_key(|name| {
        let (family, k) = parts(name);
        (place(family), family, k)
    });
    names
}

/// A table of metrics: a row a family, a column a list length.
pub fn table(metrics: &[(&str, f64)]) -> Table {
    let ks: BTreeSet<Option<u32>> = metrics.iter().map(|(name, _)| parts(name).1).collect();
    let title = |k: &Option<u32>| k.map_or_else(String::new, |k| format!("@{k}"));
    let mut table = Table::new(["metric".to_owned()].into_iter().chain(ks.iter().map(title)));
    let mut families: Vec<&str> = ordered(metrics.iter().map(|(name, _)| *name));
    families = families.into_iter().map(|name| parts(name).0).collect();
    families.dedup();
    for family in families {
        let value = |k: &Option<u32>| {
            let found = metrics.iter().find(|(name, _)| parts(name) == (family, *k));
            found.map_or_else(String::new, |(_, value)| format!("{value:.4}"))
        };
        table.row([family.to_owned()].into_iter().chain(ks.iter().map(value)));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_a_row_and_a_list_length_a_column() {
        let text = table(&[("NDCG@5", 0.2), ("HR@10", 0.4), ("NDCG@10", 0.25), ("HR@5", 0.3)]).render();
        let expected = "  metric      @5     @10\n  ──────  ──────  ──────\n  HR      0.3000  0.4000\n  NDCG    0.2000  0.2500";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_metric_without_list_length_stands_alone() {
        assert_eq!(ordered(["mse", "HR@5", "AUC"].into_iter()), ["HR@5", "AUC", "mse"]);
    }
}

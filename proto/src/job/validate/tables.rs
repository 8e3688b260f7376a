//! The rules of how tables are cut and placed.

use crate::config::Problems;
use crate::job::JobSpec;
use crate::job::tables::{Shape, block_name};
use crate::sharding::Placement;

use super::MAX_PIECES;

/// Fewest columns of a column block.
const MIN_BLOCK_WIDTH: u32 = 4;

impl JobSpec {
    pub(super) fn validate_tables(&self, p: &mut Problems) {
        p.check((1..=MAX_PIECES).contains(&self.tables.row_blocks), "row_blocks", || {
            format!("must be between 1 and {MAX_PIECES}")
        });
        let shapes = self.tables_of_model();
        p.within("column_blocks", |p| {
            for (name, blocks) in &self.tables.column_blocks {
                if let Some(shape) = known(&shapes, name, p) {
                    self.validate_column_blocks(shape, *blocks, p);
                }
            }
        });
        p.within("placement", |p| {
            for (name, placement) in &self.tables.placement {
                let cut = self.tables.column_blocks.get(name).is_some_and(|blocks| *blocks > 1);
                let spreads_columns = placement.of_block() != *placement;
                if known(&shapes, name, p).is_some() {
                    p.check(cut || !spreads_columns, name, || {
                        let (word, instead) = match placement {
                            Placement::Grid => ("grid", "table_row_wise"),
                            _ => ("column_wise", "table_wise"),
                        };
                        format!(
                            "{word} spreads the column blocks of a table, and this one is in one piece; cut it with \
                             tables.column_blocks.{name}, or take {instead}"
                        )
                    });
                }
            }
        });
        p.within("device_cache", |p| {
            for name in self.tables.device_cache.keys() {
                if known(&shapes, name, p).is_some() {
                    self.validate_device_cache(name, p);
                }
            }
        });
    }

    fn validate_column_blocks(&self, Shape { name, dim }: Shape<'_>, blocks: u32, p: &mut Problems) {
        let most = dim / MIN_BLOCK_WIDTH;
        let fit: Vec<String> = (1..=most).filter(|n| dim.is_multiple_of(*n)).map(|n| n.to_string()).collect();
        p.check(blocks > 0 && blocks <= most.max(1) && dim.is_multiple_of(blocks), name, || {
            format!(
                "{dim} columns cannot be cut into {blocks} equal blocks of at least {MIN_BLOCK_WIDTH}; take one of {}",
                if fit.is_empty() { "1".to_owned() } else { fit.join(", ") }
            )
        });
        p.check(blocks <= 1 || self.scored_whole() != Some(name), name, || {
            "a softmax scores this table whole in each step, by owners that have whole rows; leave it out, or use \
             model.head.sampled_softmax"
        });
        p.check(blocks <= 1 || !self.tables.device_cache.contains_key(name), name, || {
            "a table with a device_cache is for GPU workers, which take no column blocks; leave one of the two out"
        });
        let taken = |column: &str| blocks > 1 && (0..blocks).any(|block| block_name(name, block) == column);
        if let Some(feature) = self.model.features.iter().find(|f| f.dim.is_some() && taken(&f.column)) {
            p.check(false, name, || {
                format!(
                    "one of the blocks has the name of the feature {:?}; name that otherwise",
                    feature.column
                )
            });
        }
    }

    fn validate_device_cache(&self, name: &str, p: &mut Problems) {
        let kind = self.table_optimizer().kind;
        p.check(self.scored_whole() != Some(name), name, || {
            "a softmax scores this table whole in each step, so it has to be on the device; leave it out, or use \
             model.head.sampled_softmax"
        });
        p.check(kind.is_sparse(), name, || {
            "the optimizer of tables updates every row in each step; set table_optimizer.kind to row_wise_adagrad or \
             lazy_adam"
        });
    }
}

/// The table of the model that a key names; a problem where there is none.
fn known<'a>(shapes: &[Shape<'a>], name: &str, p: &mut Problems) -> Option<Shape<'a>> {
    let found = shapes.iter().find(|shape| shape.name == name).copied();
    p.check(found.is_some(), name, || {
        let names: Vec<&str> = shapes.iter().map(|shape| shape.name).collect();
        let has = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        format!("the model has no such table; it has {has}")
    });
    found
}

#[cfg(test)]
mod tests {
    use crate::config::parse;
    use crate::job::JobSpec;

    fn refused(text: &str) -> String {
        let text = format!("name = \"a\"\n[model]\nembedding_dim = 64\nhidden_size = 64\n{text}");
        parse::<JobSpec>(&text, "job.toml", &[]).map_or_else(|error| error.to_string(), |_| String::new())
    }

    const SAMPLED: &str = "[model.head.sampled_softmax]\nnegatives = 9\n";

    #[test]
    fn column_blocks_are_equal_wide_enough_and_of_a_table_that_is_not_scored_whole() {
        let blocks = |n: u32| format!("[tables.column_blocks]\nitem = {n}\n");
        assert_eq!(refused(&format!("{SAMPLED}{}", blocks(16))), "");
        assert_eq!(refused(&blocks(1)), "");
        for n in [0, 3, 32, 65] {
            let error = refused(&format!("{SAMPLED}{}", blocks(n)));
            let words = format!("cannot be cut into {n} equal blocks");
            assert!(error.contains("tables.column_blocks.item") && error.contains(&words), "{error}");
            assert!(error.contains("1, 2, 4, 8, 16"), "{error}");
        }
        let whole = refused(&blocks(2));
        assert!(whole.contains("tables.column_blocks.item") && whole.contains("sampled_softmax"), "{whole}");
        let unknown = refused(&format!("{SAMPLED}[tables.column_blocks]\nitems = 2\n"));
        assert!(unknown.contains("no such table; it has item"), "{unknown}");
        let cached = "[table_optimizer]\nkind = \"lazy_adam\"\n[tables.device_cache]\nitem = \"64 MiB\"\n";
        let cached = refused(&format!("{SAMPLED}{cached}{}", blocks(2)));
        assert!(cached.contains("device_cache is for GPU workers"), "{cached}");
    }

    #[test]
    fn a_placement_is_of_a_table_of_the_model_and_spreads_columns_only_where_there_are_blocks() {
        for (word, instead) in [("column_wise", "table_wise"), ("grid", "table_row_wise")] {
            let forced = format!("[tables.placement]\nitem = \"{word}\"\n");
            let error = refused(&forced);
            assert!(error.contains("tables.placement.item") && error.contains(instead), "{error}");
            assert!(error.contains("tables.column_blocks.item"), "{error}");
            assert_eq!(refused(&format!("{SAMPLED}[tables.column_blocks]\nitem = 4\n{forced}")), "");
        }
        assert_eq!(refused("[tables.placement]\nitem = \"table_row_wise\"\n"), "");
        let unknown = refused("[tables.placement]\noutput = \"row_wise\"\n");
        assert!(unknown.contains("tables.placement.output") && unknown.contains("it has item"), "{unknown}");
    }

    #[test]
    fn a_block_does_not_take_the_name_of_another_table() {
        let text = "[[model.features]]\ncolumn = \"item.1\"\ndim = 8\n";
        let error = refused(&format!("{SAMPLED}[tables.column_blocks]\nitem = 4\n{text}"));
        assert!(error.contains("\"item.1\""), "{error}");
        assert_eq!(refused(&format!("{SAMPLED}{text}")), "");
    }

    #[test]
    fn a_table_stays_in_the_hosts_memory_only_where_a_step_touches_some_of_its_rows() {
        let lazy = "[table_optimizer]\nkind = \"lazy_adam\"\n";
        let item = "[tables.device_cache]\nitem = \"64 MiB\"\n";
        assert_eq!(refused(&format!("{SAMPLED}{lazy}{item}")), "");
        let adam = refused(&format!("{SAMPLED}{item}"));
        assert!(adam.contains("tables.device_cache.item") && adam.contains("lazy_adam"), "{adam}");
        let whole = refused(&format!("{lazy}{item}"));
        assert!(whole.contains("scores this table whole"), "{whole}");
        let unknown = refused(&format!("{SAMPLED}{lazy}[tables.device_cache]\nitems = 1\n"));
        assert!(unknown.contains("no such table; it has item"), "{unknown}");
    }
}

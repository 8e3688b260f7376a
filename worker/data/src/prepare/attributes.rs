//! Attributes of items from their own tables: joined by the item's key, the first row of an item wins.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use muster_proto::dataset::{DatasetSpec, Format, ItemTableSpec};
use serde_json::Value;

use super::cell::{Cell, Missing};
use super::error::Error;
use super::inputs::{Variables, resolve};
use super::intern::Interner;
use super::read::{GROUP_ROWS, Table, read_rows, read_whole};
use super::vocabulary::{Parent, Renaming};
use crate::store::{AttributeLists, Keys};

/// An attribute of all items; attributes come in the order in which the spec lists them.
#[derive(Debug)]
pub(super) struct Attribute {
    pub(super) lists: AttributeLists,
    pub(super) keys: Keys,
}

/// Where the tables of items are, looked up before any work is done; an optional one that is absent has no
/// file.
pub(super) fn resolve_tables(
    spec: &DatasetSpec,
    base: &Path,
    variables: Variables<'_>,
) -> Result<Vec<Vec<PathBuf>>, Error> {
    let of_table = |table: &ItemTableSpec| match resolve(&table.input, base, &spec.source, variables) {
        Err(error @ (Error::NotFound { .. } | Error::Variable { .. })) if table.optional => {
            let names: Vec<&str> = table.names().collect();
            tracing::warn!(columns = names.join(", "), %error, "items go without attributes");
            Ok(vec![])
        }
        found => found,
    };
    spec.item_tables.iter().map(of_table).collect()
}

/// Reads all tables and joins them to the items.
pub(super) fn read_attributes(
    spec: &DatasetSpec,
    files: &[Vec<PathBuf>],
    items: &Keys,
    parent: Option<&Parent>,
) -> Result<Vec<Attribute>, Error> {
    let ids: HashMap<&str, u32> = items.iter().zip(0..).collect();
    let mut attributes = Vec::new();
    for (table, files) in spec.item_tables.iter().zip(files) {
        let mut join = Join {
            ids: &ids,
            missing: Missing::new(&spec.cleaning.missing),
            max_row: spec.cleaning.max_row.bytes() as usize,
            separator: table.separator.as_deref(),
            seen: vec![false; items.len()],
            values: table.categorical.iter().map(|_| Values::new(items.len())).collect(),
            key: String::new(),
        };
        for path in files {
            if table.format == Format::JsonMap { join.read_map(path)? } else { join.read_table(path, table)? }
        }
        let named = join.values.into_iter().zip(table.names());
        attributes
            .extend(named.map(|(values, name)| values.finish(parent.and_then(|parent| parent.column(name)))));
    }
    Ok(attributes)
}

/// The values of one attribute while its table is read.
struct Values {
    interner: Interner,
    counts: Vec<u64>,
    lists: Vec<Vec<u32>>,
}

impl Values {
    fn new(items: usize) -> Self {
        Self { interner: Interner::with_unknown(), counts: vec![0], lists: vec![vec![]; items] }
    }

    fn add(&mut self, item: u32, key: &str) -> Option<()> {
        let value = self.interner.intern(key, u32::MAX)?;
        self.counts.resize(self.counts.len().max(value as usize + 1), 0);
        self.counts[value as usize] += 1;
        self.lists[item as usize].push(value);
        Some(())
    }

    fn finish(self, parent: Option<&Keys>) -> Attribute {
        let (keys, counts) = (self.interner.into_keys(), &self.counts);
        let renaming = match parent {
            None => Renaming::new(&keys, counts, 1),
            Some(parent) => Renaming::after(parent, &keys, (|id| counts[id] > 0, counts), 1),
        };
        let mut lists = AttributeLists { offsets: vec![0], values: vec![] };
        for mut list in self.lists {
            renaming.apply(&mut list);
            lists.values.append(&mut list);
            lists.offsets.push(lists.values.len() as u32);
        }
        Attribute { lists, keys: renaming.keys }
    }
}

struct Join<'j> {
    ids: &'j HashMap<&'j str, u32>,
    missing: Missing,
    max_row: usize,
    separator: Option<&'j str>,
    seen: Vec<bool>,
    values: Vec<Values>,
    key: String,
}

impl Join<'_> {
    fn read_table(&mut self, path: &Path, spec: &ItemTableSpec) -> Result<(), Error> {
        let wanted: Vec<String> =
            std::iter::once(spec.key.as_str()).chain(spec.inputs()).map(str::to_owned).collect();
        let (format, header) = (spec.format, spec.header);
        let max_row = self.max_row;
        let table = Table { path, format, header, wanted: &wanted, max_row, max_group: GROUP_ROWS };
        read_rows(&table, &mut |row| {
            let line = row.line;
            let refuse = |what| Error::Row { path: path.to_owned(), line, what };
            let cells = row.cells.map_err(refuse)?;
            let Some(item) = self.item(&cells[0]).map_err(refuse)? else { return Ok(()) };
            for (attribute, cell) in cells[1..].iter().enumerate() {
                self.add(item, attribute, cell).map_err(refuse)?;
            }
            Ok(())
        })
    }

    fn read_map(&mut self, path: &Path) -> Result<(), Error> {
        let bytes = read_whole(path)?;
        let broken = |what: String| Error::Format { path: path.to_owned(), format: "JSON map", what };
        let map: serde_json::Map<String, Value> =
            serde_json::from_slice(&bytes).map_err(|error| broken(error.to_string()))?;
        for (key, value) in &map {
            let Some(item) = self.item(&Cell::Text(key)).map_err(broken)? else { continue };
            let values = match value {
                Value::Array(values) => values.as_slice(),
                value => std::slice::from_ref(value),
            };
            for value in values {
                let text;
                let cell = match value {
                    Value::Null => Cell::Missing,
                    Value::String(text) => Cell::Text(text),
                    Value::Number(_) | Value::Bool(_) => {
                        text = value.to_string();
                        Cell::Text(&text)
                    }
                    _ => return Err(broken(format!("item `{key}` has a value that is no text or number"))),
                };
                self.add(item, 0, &cell).map_err(broken)?;
            }
        }
        Ok(())
    }

    /// The item of a row, if it is one of ours and has no row yet.
    fn item(&mut self, cell: &Cell<'_>) -> Result<Option<u32>, String> {
        if cell.is_missing(&self.missing) {
            return Ok(None);
        }
        cell.write_key(&mut self.key)?;
        let item = self.ids.get(self.key.as_str()).copied();
        Ok(item.filter(|item| !std::mem::replace(&mut self.seen[*item as usize], true)))
    }

    fn add(&mut self, item: u32, attribute: usize, cell: &Cell<'_>) -> Result<(), String> {
        if cell.is_missing(&self.missing) {
            return Ok(());
        }
        cell.write_key(&mut self.key)?;
        let values = &mut self.values[attribute];
        let added = match self.separator {
            None => values.add(item, &self.key),
            Some(separator) => self
                .key
                .split(separator)
                .map(str::trim)
                .filter(|part| !self.missing.holds(part))
                .try_for_each(|part| values.add(item, part)),
        };
        added.ok_or_else(|| "has more than 2^32 distinct attributes".to_owned())
    }
}

//! Items and vocabularies as plain lists, for programs that know nothing of datasets.

use std::io;

use muster_data::Dataset;
use serde::ser::{SerializeMap, SerializeSeq as _, Serializer as _};

use super::folder::Folder;
use crate::error::Error;

/// Writes `{"items": [KEY, ...], "columns": {NAME: [KEY, ...]}}`: a key's place is its row in the table of that name. Row 0 of a
/// column is the unknown value, with an empty key.
pub(super) fn write(dataset: &Dataset, folder: &mut Folder) -> Result<(), Error> {
    let items = match dataset.manifest().items_file {
        Some(_) => Some(dataset.load_items()?),
        None => None,
    };
    let mut columns = Vec::new();
    for column in dataset.manifest().categorical() {
        columns.push((column.name.as_str(), dataset.load_vocabulary(&column.name)?));
    }
    folder.stream("vocabulary.json", |sink| {
        let mut json = serde_json::Serializer::new(sink);
        let mut map = json.serialize_map(None)?;
        if let Some(items) = &items {
            map.serialize_entry("items", &Keys { length: items.len(), key: |id| items.key(id) })?;
        }
        let columns: Vec<_> = columns
            .iter()
            .map(|(name, vocabulary)| {
                (*name, Keys { length: vocabulary.len(), key: |id| vocabulary.key(id) })
            })
            .collect();
        map.serialize_entry("columns", &Columns(&columns))?;
        SerializeMap::end(map)?;
        io::Result::Ok(())
    })
}

/// Keys by id, written one after the other.
struct Keys<F> {
    length: usize,
    key: F,
}

impl<'k, F: Fn(u32) -> &'k str> serde::Serialize for Keys<F> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.length))?;
        for id in 0..self.length as u32 {
            list.serialize_element((self.key)(id))?;
        }
        list.end()
    }
}

struct Columns<'a, K>(&'a [(&'a str, K)]);

impl<K: serde::Serialize> serde::Serialize for Columns<'_, K> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, keys) in self.0 {
            map.serialize_entry(name, keys)?;
        }
        map.end()
    }
}

//! How serde walks arrays, tables and enum variants of the tree; names the value that fails.

use std::collections::btree_map;

use serde::de::{self, DeserializeSeed, IntoDeserializer, Visitor};

use super::de::{Failure, Reader};
use super::tree::{Node, Value};

/// The items of an array that were not taken out.
pub(super) struct ItemAccess<'n> {
    reader: Reader<'n>,
    items: std::iter::Enumerate<std::slice::Iter<'n, Node>>,
}

impl<'n> ItemAccess<'n> {
    pub(super) fn new(reader: Reader<'n>, items: &'n [Node]) -> Self {
        Self { reader, items: items.iter().enumerate() }
    }
}

impl<'de> de::SeqAccess<'de> for ItemAccess<'de> {
    type Error = Failure;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Failure> {
        for (idx, node) in self.items.by_ref() {
            if matches!(node.value, Value::Removed) {
                continue;
            }
            let child = self.reader.child(&idx.to_string(), node);
            let path = child.path.clone();
            return seed.deserialize(child).map(Some).map_err(|error| error.at(&path));
        }
        Ok(None)
    }
}

/// The entries of a table that are known and were not taken out.
pub(super) struct TableAccess<'n> {
    reader: Reader<'n>,
    entries: btree_map::Iter<'n, String, Node>,
    known: Option<&'static [&'static str]>,
    current: Option<(&'n str, &'n Node)>,
}

impl<'n> TableAccess<'n> {
    pub(super) fn new(
        reader: Reader<'n>,
        table: &'n std::collections::BTreeMap<String, Node>,
        known: Option<&'static [&'static str]>,
    ) -> Self {
        Self { reader, entries: table.iter(), known, current: None }
    }
}

impl<'de> de::MapAccess<'de> for TableAccess<'de> {
    type Error = Failure;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Failure> {
        for (key, node) in self.entries.by_ref() {
            let skipped = self.known.is_some_and(|known| !known.contains(&key.as_str()));
            if skipped || matches!(node.value, Value::Removed) {
                continue;
            }
            self.current = Some((key, node));
            let path = self.reader.path.clone();
            return seed
                .deserialize(key.as_str().into_deserializer())
                .map(Some)
                .map_err(|error: Failure| error.at(&path));
        }
        Ok(None)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Failure> {
        let (key, node) =
            self.current.take().ok_or_else(|| de::Error::custom("a value was asked for before its key"))?;
        let child = self.reader.child(key, node);
        let path = child.path.clone();
        seed.deserialize(child).map_err(|error| error.at(&path))
    }
}

/// A choice that is written as a table with one key: `{ name = value }`.
pub(super) struct TableVariant<'n> {
    pub(super) name: &'n str,
    pub(super) reader: Reader<'n>,
}

impl<'de> de::EnumAccess<'de> for TableVariant<'de> {
    type Error = Failure;
    type Variant = Reader<'de>;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Reader<'de>), Failure> {
        let variant = seed.deserialize(IntoDeserializer::<Failure>::into_deserializer(self.name))?;
        Ok((variant, self.reader))
    }
}

impl<'de> de::VariantAccess<'de> for Reader<'de> {
    type Error = Failure;

    fn unit_variant(self) -> Result<(), Failure> {
        let error: Failure = de::Error::custom("takes no value, write its name alone");
        Err(error.at(&self.path))
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Failure> {
        let path = self.path.clone();
        seed.deserialize(self).map_err(|error| error.at(&path))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value, Failure> {
        de::Deserializer::deserialize_any(self, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        de::Deserializer::deserialize_struct(self, "", fields, visitor)
    }
}

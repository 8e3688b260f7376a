//! Vocabularies: from keys to ids and back, with what is known of each item.

use serde::{Deserialize, Serialize};

use super::keys::Keys;

/// The values of a categorical column; id 0 is the unknown one, with an empty key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vocabulary {
    keys: Keys,
    order: Vec<u32>,
}

impl Vocabulary {
    pub(crate) fn new(keys: Keys) -> Self {
        let order = keys.sorted();
        Self { keys, order }
    }

    /// The key of an id.
    ///
    /// # Panics
    /// There is no such id.
    #[must_use]
    pub fn key(&self, id: u32) -> &str {
        self.keys.get(id as usize)
    }

    /// The id of a key.
    #[must_use]
    pub fn id(&self, key: &str) -> Option<u32> {
        self.keys.find(key, &self.order)
    }

    /// Number of ids, the unknown one included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is no id at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

/// The items of a dataset; ids go by falling number of events, then by key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Items {
    pub(super) vocabulary: Vocabulary,
    pub(super) train_counts: Vec<u64>,
    pub(super) attributes: Vec<(String, Attributes)>,
}

impl Items {
    /// The key of an item.
    ///
    /// # Panics
    /// There is no such item.
    #[must_use]
    pub fn key(&self, id: u32) -> &str {
        self.vocabulary.key(id)
    }

    /// The item with a key.
    #[must_use]
    pub fn id(&self, key: &str) -> Option<u32> {
        self.vocabulary.id(key)
    }

    /// Number of items.
    #[must_use]
    pub fn len(&self) -> usize {
        self.vocabulary.len()
    }

    /// Whether there is no item.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.vocabulary.is_empty()
    }

    /// Number of training events of each item.
    #[must_use]
    pub fn train_counts(&self) -> &[u64] {
        &self.train_counts
    }

    /// An attribute of all items, by the name of its column.
    #[must_use]
    pub fn attributes(&self, column: &str) -> Option<&Attributes> {
        self.attributes.iter().find(|(name, _)| name == column).map(|(_, attributes)| attributes)
    }

    /// The names of the attributes.
    pub fn attribute_names(&self) -> impl Iterator<Item = &str> {
        self.attributes.iter().map(|(name, _)| name.as_str())
    }
}

/// The values of one attribute for all items; an item may have none or several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes {
    pub(super) lists: AttributeLists,
    pub(super) vocabulary: Vocabulary,
}

impl Attributes {
    /// The value ids of an item, in the order of the input.
    ///
    /// # Panics
    /// There is no such item.
    #[must_use]
    pub fn of(&self, item: u32) -> &[u32] {
        self.lists.of(item)
    }

    /// The key of a value.
    ///
    /// # Panics
    /// There is no such value.
    #[must_use]
    pub fn name(&self, value: u32) -> &str {
        self.vocabulary.key(value)
    }

    /// The vocabulary of the values.
    #[must_use]
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }
}

/// A list of value ids for each item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AttributeLists {
    /// `[items + 1]`
    pub(crate) offsets: Vec<u32>,
    pub(crate) values: Vec<u32>,
}

impl AttributeLists {
    pub(crate) fn of(&self, item: u32) -> &[u32] {
        let item = item as usize;
        &self.values[self.offsets[item] as usize..self.offsets[item + 1] as usize]
    }

    /// The value that stands for an item where only one has room: its first, or the unknown one.
    pub(crate) fn first(&self, item: u32) -> u32 {
        self.of(item).first().copied().unwrap_or(0)
    }
}

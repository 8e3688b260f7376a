//! Many short strings in two allocations.

/// A list of strings, indexed by position.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keys {
    text: String,
    ends: Vec<usize>,
}

impl Keys {
    /// An empty list.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a string at the end.
    pub fn push(&mut self, key: &str) {
        self.text.push_str(key);
        self.ends.push(self.text.len());
    }

    /// The string at `idx`.
    ///
    /// # Panics
    /// There is none at `idx`.
    #[must_use]
    pub fn get(&self, idx: usize) -> &str {
        let start = if idx == 0 { 0 } else { self.ends[idx - 1] };
        &self.text[start..self.ends[idx]]
    }

    /// Number of strings.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no string.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The strings in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|idx| self.get(idx))
    }

    /// Positions of the strings in the order of their bytes.
    pub(super) fn sorted(&self) -> Vec<u32> {
        let mut order: Vec<u32> = (0..self.len() as u32).collect();
        order.sort_unstable_by(|a, b| self.get(*a as usize).cmp(self.get(*b as usize)));
        order
    }

    /// The position of `key`, by binary search over `order`, which [`Keys::sorted`] gave.
    pub(super) fn find(&self, key: &str, order: &[u32]) -> Option<u32> {
        let found = order.binary_search_by(|idx| self.get(*idx as usize).cmp(key)).ok()?;
        Some(order[found])
    }

    /// The position of `key` in a list that is sorted already.
    pub(super) fn find_sorted(&self, key: &str) -> Option<u32> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            if self.get(middle) < key { low = middle + 1 } else { high = middle }
        }
        (low < self.len() && self.get(low) == key).then_some(low as u32)
    }
}

impl<'k> FromIterator<&'k str> for Keys {
    fn from_iter<I: IntoIterator<Item = &'k str>>(keys: I) -> Self {
        let mut list = Self::new();
        keys.into_iter().for_each(|key| list.push(key));
        list
    }
}

//! The fields of an event: what a value may be.

use serde::{Deserialize, Serialize};

use crate::config::Problems;
use crate::units::ByteSize;

crate::documented! {
    /// A field of an event.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct FieldSpec {
        /// Its name.
        pub name: String,
        /// What it holds: `text`, `integer`, `number`, `flag` (true or false), or `time` (text in ISO 8601).
        pub kind: FieldKind,
        /// Whether an event without it, or with empty text in it, is refused.
        #[serde(default)]
        pub required: bool,
        /// The least number.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub min: Option<f64>,
        /// The greatest number.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub max: Option<f64>,
        /// The longest text; 1 KiB where absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub max_length: Option<ByteSize>,
        /// The texts that it may hold; any where absent.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub values: Vec<String>,
    }
}

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldKind {
    /// Text.
    Text,
    /// A whole number of 64 bits.
    Integer,
    /// A number that is finite.
    Number,
    /// True or false.
    Flag,
    /// A time, as text in ISO 8601.
    Time,
}

impl FieldSpec {
    /// The longest text where the file does not say.
    pub const MAX_LENGTH: ByteSize = ByteSize::from_bytes(1024);

    pub(super) fn validate(&self, problems: &mut Problems) {
        let is_text = self.kind == FieldKind::Text;
        let is_number = matches!(self.kind, FieldKind::Integer | FieldKind::Number);
        problems.check(!self.name.is_empty(), "name", || "is empty");
        problems.check(is_number || self.min.is_none(), "min", || "is for numbers");
        problems.check(is_number || self.max.is_none(), "max", || "is for numbers");
        let is_nan = |bound: Option<f64>| bound.is_some_and(f64::is_nan);
        problems.check(!is_nan(self.min), "min", || "is NaN");
        problems.check(!is_nan(self.max), "max", || "is NaN");
        let is_empty = matches!((self.min, self.max), (Some(min), Some(max)) if min > max);
        problems.check(!is_empty, "max", || "is below min");
        problems.check(is_text || self.max_length.is_none(), "max_length", || "is for text");
        problems.check(self.max_length.is_none_or(|length| length.bytes() > 0), "max_length", || "is 0");
        problems.check(is_text || self.values.is_empty(), "values", || "are for text");
    }
}

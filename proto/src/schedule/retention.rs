//! How many versions of a model are kept.

use serde::{Deserialize, Serialize};

use crate::capacity::DurationText;
use crate::config::Problems;
use crate::units::ByteSize;

crate::documented! {
    /// Which versions of the model are kept. What an alias names or a run works on is kept whatever is said here, and what is
    /// left out is no limit. The oldest go first.
    #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    pub struct RetentionSpec {
        /// The newest versions that are kept besides those that are needed.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub keep: Option<u32>,
        /// How long a version is kept that nothing needs.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub max_age: Option<DurationText>,
        /// What all versions may take together; what is needed counts too.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub max_size: Option<ByteSize>,
    }
}

impl RetentionSpec {
    pub(super) fn validate(&self, p: &mut Problems) {
        p.check(
            self.max_age.is_none_or(|age| !age.0.is_zero()),
            "max_age",
            || "is 0, leave it out for no limit",
        );
        p.check(
            self.max_size.is_none_or(|size| size.bytes() > 0),
            "max_size",
            || "is 0, leave it out for no limit",
        );
    }
}

//! The file that says which events `muster collect` takes, and how it keeps them.

mod fields;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use fields::{FieldKind, FieldSpec};

use crate::config::reference::{Section, section};
use crate::config::{Problems, Spec};
use crate::units::{self, ByteSize};

/// The most fields of a schema.
pub const MAX_FIELDS: usize = 1000;

crate::documented! {
    /// A file for `muster collect`: the fields of an event, and how events are kept.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct CollectSpec {
        /// Name of what is collected; files begin with it. Letters, digits, `-` and `_`.
        pub name: String,
        /// The field with the event's own id, a required `text` or `integer`: an event whose id was taken before is not
        /// taken again.
        pub event_id: String,
        /// A field that is added to each event: when it arrived, in milliseconds since 1970 by the clock of this machine.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub received_at: Option<String>,
        /// What becomes of fields that the schema lacks: `refuse` the event, or `drop` the field.
        #[serde(default)]
        pub unknown_fields: UnknownFields,
        /// How events are kept.
        #[serde(default)]
        pub files: FilesSpec,
        /// How much may come in.
        #[serde(default)]
        pub limits: LimitsSpec,
        /// The fields of an event.
        pub fields: Vec<FieldSpec>,
    }
}

/// What becomes of fields that the schema lacks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownFields {
    /// The event is refused.
    #[default]
    Refuse,
    /// The event is kept without them.
    Drop,
}

crate::documented! {
    /// How events are kept: in files of JSON lines, which `muster prepare` reads once they are finished.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(default)]
    pub struct FilesSpec {
        /// A file is finished when it has this size, before compression.
        pub max_size: ByteSize,
        /// A file is finished this long after its first event.
        #[serde(with = "units::duration")]
        pub max_age: Duration,
        /// `none`, or `zstd` for files that are finished.
        pub compression: Compression,
    }
}

impl Default for FilesSpec {
    fn default() -> Self {
        Self {
            max_size: ByteSize::from_mib(256),
            max_age: Duration::from_secs(300),
            compression: Compression::Zstd,
        }
    }
}

/// How finished files are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// Not at all.
    None,
    /// By zstd.
    Zstd,
}

crate::documented! {
    /// How much may come in; what is over a limit is refused and never half taken.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(default)]
    pub struct LimitsSpec {
        /// The largest event, as a line of its file.
        pub max_event: ByteSize,
        /// The largest request.
        pub max_body: ByteSize,
        /// The most events of a request.
        pub max_batch: u32,
        /// The most bytes of requests that wait to be written; more are told to come again.
        pub queue: ByteSize,
        /// Number of the latest event ids that are remembered, over restarts too; each takes about 60 bytes of memory.
        pub ids: u32,
    }
}

impl Default for LimitsSpec {
    fn default() -> Self {
        Self {
            max_event: ByteSize::from_bytes(64 << 10),
            max_body: ByteSize::from_mib(4),
            max_batch: 10_000,
            queue: ByteSize::from_mib(64),
            ids: 2_000_000,
        }
    }
}

impl CollectSpec {
    /// The sections of the reference page.
    #[must_use]
    pub fn sections() -> Vec<Section> {
        vec![
            section::<Self>(""),
            section::<FilesSpec>("files"),
            section::<LimitsSpec>("limits"),
            section::<FieldSpec>("fields[]"),
        ]
    }

    fn check_name(&self, problems: &mut Problems) {
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_');
        problems.check(!self.name.is_empty(), "name", || "is empty");
        problems.check(
            self.name.chars().all(is_plain) && !self.name.starts_with('_'),
            "name",
            || "begins the names of files: write letters, digits, `-` and `_`, and no `_` first",
        );
    }

    fn check_fields(&self, problems: &mut Problems) {
        problems.check(!self.fields.is_empty(), "fields", || "an event without fields says nothing");
        problems.check(self.fields.len() <= MAX_FIELDS, "fields", || format!("are more than {MAX_FIELDS}"));
        let mut seen = std::collections::BTreeSet::new();
        for (idx, field) in self.fields.iter().enumerate() {
            problems.within(&format!("fields.{idx}"), |problems| field.validate(problems));
            problems.check(seen.insert(&field.name), &format!("fields.{idx}.name"), || {
                format!("two fields are named `{}`", field.name)
            });
        }
        let is_id =
            |field: &FieldSpec| field.required && matches!(field.kind, FieldKind::Text | FieldKind::Integer);
        let id = self.fields.iter().find(|field| field.name == self.event_id);
        problems.check(id.is_some_and(is_id), "event_id", || {
            format!("`{}` is not a required field of kind `text` or `integer`", self.event_id)
        });
        if let Some(name) = &self.received_at {
            problems.check(!name.is_empty() && !seen.contains(name), "received_at", || {
                format!("`{name}` is no name for a field of its own")
            });
        }
    }
}

impl Spec for CollectSpec {
    fn validate(&self, problems: &mut Problems) {
        self.check_name(problems);
        self.check_fields(problems);
        problems.check(self.files.max_size.bytes() >= 1024, "files.max_size", || "is less than 1 KiB");
        problems.check(
            self.files.max_age >= Duration::from_millis(100),
            "files.max_age",
            || "is less than 100ms",
        );
        let limits = &self.limits;
        let most = u64::from(u32::MAX);
        problems.check(limits.max_event.bytes() >= 64, "limits.max_event", || "is less than 64 bytes");
        problems.check(limits.max_event <= limits.max_body, "limits.max_body", || "is below max_event");
        problems.check(limits.max_batch >= 1, "limits.max_batch", || "is 0");
        problems.check(limits.max_body <= limits.queue, "limits.queue", || "is below max_body");
        problems.check(limits.queue.bytes() <= most, "limits.queue", || "is 4 GiB or more");
        problems.check(limits.ids >= 1, "limits.ids", || "is 0: nothing could be sent again");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    const SHOP: &str = "name = \"shop\"\nevent_id = \"id\"\n\
        [[fields]]\nname = \"id\"\nkind = \"text\"\nrequired = true\n\
        [[fields]]\nname = \"price\"\nkind = \"number\"\nmin = 0\n";

    fn problems(change: impl FnOnce(String) -> String) -> String {
        config::parse::<CollectSpec>(&change(SHOP.to_owned()), "collect.toml", &[]).unwrap_err().to_string()
    }

    #[test]
    fn a_file_needs_a_name_an_id_and_fields() {
        let spec: CollectSpec = config::parse(SHOP, "collect.toml", &[]).unwrap();
        assert_eq!(spec.limits, LimitsSpec::default());
        assert_eq!(spec.fields[1].min, Some(0.0));
    }

    #[test]
    fn what_cannot_be_collected_is_refused_with_its_line() {
        for (from, to, expected) in [
            (
                "event_id = \"id\"",
                "event_id = \"price\"",
                "collect.toml:2: event_id: `price` is not a required",
            ),
            ("name = \"shop\"", "name = \"a/b\"", "collect.toml:1: name: begins the names of files"),
            ("min = 0", "min = 2\nmax = 1", "fields.1.max: is below min"),
            ("kind = \"text\"", "kind = \"text\"\nmin = 1", "fields.0.min: is for numbers"),
            ("\"price\"", "\"id\"", "fields.1.name: two fields are named `id`"),
            ("min = 0", "vales = []", "did you mean `values`?"),
        ] {
            let found = problems(|text| text.replacen(from, to, 1));
            assert!(found.contains(expected), "{found}");
        }
        let found = problems(|text| format!("{text}[limits]\nqueue = \"1 MiB\"\n"));
        assert!(found.contains("limits.queue: is below max_body"), "{found}");
    }
}

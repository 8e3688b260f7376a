//! The reference page of a spec, taken from the documentation of its fields.
//!
//! A spec is declared inside `documented!`; its doc comments are the only copy of the text. What a
//! page shows as defaults is the serialized default of the spec itself.

use std::fmt::Write as _;

use serde::Serialize;

/// One key of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// The key as it is written in the file.
    pub key: &'static str,
    /// The Rust type, as declared.
    pub kind: &'static str,
    /// The lines of its documentation; attributes other than documentation give empty ones.
    pub docs: &'static [&'static str],
}

/// A table of a spec whose keys can be listed.
pub trait Documented {
    /// The documentation of the table itself.
    const DOCS: &'static [&'static str];
    /// The keys in the order of declaration.
    const FIELDS: &'static [Field];
}

/// One table of a page.
#[derive(Debug, Clone, Copy)]
pub struct Section {
    /// The dotted path of the table; empty for the root, `name[]` for an array of tables.
    pub path: &'static str,
    /// What the table is for.
    pub docs: &'static [&'static str],
    /// Its keys.
    pub fields: &'static [Field],
}

/// The section of table `T` at `path`.
#[must_use]
pub const fn section<T: Documented>(path: &'static str) -> Section {
    Section { path, docs: T::DOCS, fields: T::FIELDS }
}

/// Writes the page in Markdown: a heading per table, a row per key.
///
/// `example` fills the column of defaults; keys that it leaves out show none.
///
/// # Errors
/// The example cannot be written as TOML.
pub fn page<T: Serialize>(
    title: &str,
    sections: &[Section],
    example: &T,
) -> Result<String, toml::ser::Error> {
    let example = toml::Value::try_from(example)?;
    let mut text = format!("# {title}\n");
    for section in sections {
        let heading = if section.path.is_empty() { "The file itself" } else { section.path };
        let _ = write!(text, "\n## {heading}\n\n{}\n\n", paragraph(section.docs));
        text.push_str("| key | type | default | meaning |\n|---|---|---|---|\n");
        let table = at(&example, section.path);
        for field in section.fields {
            let default = table.and_then(|table| table.get(field.key)).and_then(scalar).unwrap_or_default();
            let _ = writeln!(
                text,
                "| `{}` | {} | {} | {} |",
                field.key,
                kind_for_people(field.kind),
                default,
                paragraph(field.docs).replace('|', "\\|")
            );
        }
    }
    Ok(text)
}

/// The paths of tables and keys that the example has and the page does not.
///
/// # Errors
/// The example cannot be written as TOML.
pub fn undocumented<T: Serialize>(
    sections: &[Section],
    example: &T,
) -> Result<Vec<String>, toml::ser::Error> {
    let mut missing = Vec::new();
    collect_undocumented(sections, &toml::Value::try_from(example)?, "", &mut missing);
    Ok(missing)
}

fn collect_undocumented(sections: &[Section], value: &toml::Value, path: &str, missing: &mut Vec<String>) {
    match value {
        toml::Value::Table(table) => {
            let Some(section) = sections.iter().find(|section| section.path == path) else {
                missing.push(path.to_owned());
                return;
            };
            for (key, value) in table {
                let child = super::problem::join(path, key);
                let field = section.fields.iter().find(|field| field.key == key);
                match field.filter(|field| !paragraph(field.docs).is_empty()) {
                    None => missing.push(child),
                    // The keys of a map are the user's, and its own documentation says what they are.
                    Some(field) if field.kind.contains("Map<") || field.kind.contains("Map <") => {}
                    Some(_) => collect_undocumented(sections, value, &child, missing),
                }
            }
        }
        toml::Value::Array(items) => {
            let path = format!("{path}[]");
            items.iter().for_each(|item| collect_undocumented(sections, item, &path, missing));
        }
        _ => {}
    }
}

fn at<'v>(value: &'v toml::Value, path: &str) -> Option<&'v toml::Value> {
    path.split('.').filter(|segment| !segment.is_empty()).try_fold(value, |value, segment| {
        match segment.strip_suffix("[]") {
            Some(key) => value.get(key)?.get(0),
            None => value.get(segment),
        }
    })
}

fn scalar(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::Table(_) => None,
        toml::Value::Array(items) if items.iter().any(toml::Value::is_table) => None,
        value => Some(format!("`{value}`")),
    }
}

fn paragraph(docs: &[&str]) -> String {
    docs.iter().map(|line| line.trim()).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

fn kind_for_people(kind: &str) -> String {
    let kind: String = kind.chars().filter(|letter| !letter.is_whitespace()).collect();
    let inner = |prefix: &str| kind.strip_prefix(prefix).and_then(|rest| rest.strip_suffix('>'));
    if let Some(inner) = inner("Option<") {
        return format!("{}, optional", kind_for_people(inner));
    }
    if let Some(inner) = inner("Vec<") {
        return format!("array of {}", kind_for_people(inner));
    }
    match kind.as_str() {
        "String" | "PathBuf" => "string".to_owned(),
        "bool" => "true or false".to_owned(),
        "u8" | "u16" | "u32" | "u64" | "usize" => "whole number".to_owned(),
        "f32" | "f64" => "number".to_owned(),
        "Duration" | "std::time::Duration" => "duration such as \"5s\"".to_owned(),
        "ByteSize" => "size such as \"64 MiB\"".to_owned(),
        other => other.rsplit("::").next().unwrap_or(other).to_owned(),
    }
}

/// Declares a struct and lists its fields with their documentation for [`page`].
///
/// The struct is written as usual; only `struct Name { pub field: Type, ... }` is taken.
#[macro_export]
macro_rules! documented {
    ($(#[$($attribute:tt)*])* $visibility:vis struct $name:ident {
        $($(#[$($field_attribute:tt)*])* pub $field:ident : $kind:ty),* $(,)?
    }) => {
        $(#[$($attribute)*])*
        $visibility struct $name {
            $($(#[$($field_attribute)*])* pub $field: $kind,)*
        }

        impl $crate::config::reference::Documented for $name {
            const DOCS: &'static [&'static str] = &[$($crate::documented!(@doc $($attribute)*)),*];
            const FIELDS: &'static [$crate::config::reference::Field] = &[$(
                $crate::config::reference::Field {
                    key: stringify!($field),
                    kind: stringify!($kind),
                    docs: &[$($crate::documented!(@doc $($field_attribute)*)),*],
                }
            ),*];
        }
    };
    (@doc doc = $text:expr) => { $text };
    (@doc $($other:tt)*) => { "" };
}

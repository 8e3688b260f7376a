//! Deserializes a spec from the tree, and goes on after an error to find the next.
//!
//! serde stops at the first error. Here the value at fault is taken out and the spec is read again,
//! until it can be read or nothing more can be taken out; errors that only follow from what was taken
//! out are not reported.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;

use serde::de::{self, DeserializeOwned, Expected, IntoDeserializer, Unexpected, Visitor};

use super::access::{ItemAccess, TableAccess, TableVariant};
use super::problem::{Problem, join, unknown};
use super::tree::{Node, Value};

/// No file has more problems than this that are worth listing.
const MOST_PROBLEMS: usize = 100;

/// Reads a spec and adds what is wrong with it to `found`; none where not even a partial one came out.
pub(super) fn deserialize<T: DeserializeOwned>(root: &mut Node, found: &mut Vec<Problem>) -> Option<T> {
    let mut removed = BTreeSet::new();
    let unknown_keys = RefCell::new(Vec::new());
    let mut spec = None;
    while found.len() < MOST_PROBLEMS {
        let reader = Reader { node: root, path: String::new(), unknown_keys: &unknown_keys };
        let error = match T::deserialize(reader) {
            Ok(read) => {
                spec = Some(read);
                break;
            }
            Err(error) => error,
        };
        let table = error.path.unwrap_or_default();
        let field = error.field.as_ref().map_or_else(|| table.clone(), |field| join(&table, field));
        let follows = match error.kind {
            Kind::Missing => removed.contains(&field),
            Kind::Unknown | Kind::Value => {
                let below = format!("{table}.");
                removed.iter().any(|path: &String| path.starts_with(&below) || table.is_empty())
            }
        };
        if !follows {
            let mut problem = Problem::new(root.line_of(&field), &field, error.message);
            problem.is_unknown_key = error.kind == Kind::Unknown;
            found.push(problem);
        }
        let culprit = if error.kind == Kind::Missing { table } else { field };
        if culprit.is_empty() || !root.remove(&culprit) {
            break;
        }
        removed.insert(culprit);
    }
    found.extend(unknown_keys.into_inner());
    spec
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Missing,
    Unknown,
    Value,
}

/// What serde reported, with the path of the value once it is known.
#[derive(Debug)]
pub(super) struct Failure {
    path: Option<String>,
    field: Option<String>,
    message: String,
    kind: Kind,
}

impl Failure {
    /// Names the value, unless a value further inside was named already.
    pub(super) fn at(mut self, path: &str) -> Self {
        self.path.get_or_insert_with(|| path.to_owned());
        self
    }

    fn new(kind: Kind, field: Option<&str>, message: String) -> Self {
        Self { path: None, field: field.map(str::to_owned), message, kind }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl de::Error for Failure {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(Kind::Value, None, message.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(Kind::Value, None, format!("expected {}, found {found}", plain(expected)))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn unknown_variant(name: &str, known: &'static [&'static str]) -> Self {
        Self::new(Kind::Value, None, unknown("value", name, known))
    }

    fn unknown_field(name: &str, known: &'static [&'static str]) -> Self {
        Self::new(Kind::Unknown, Some(name), unknown("key", name, known))
    }

    fn missing_field(name: &'static str) -> Self {
        Self::new(Kind::Missing, Some(name), "is required and missing".to_owned())
    }
}

/// serde names Rust types; people know TOML's.
fn plain(expected: &dyn Expected) -> String {
    let text = expected.to_string();
    match text.as_str() {
        "u8" => "a whole number from 0 to 255".to_owned(),
        "u16" => format!("a whole number from 0 to {}", u16::MAX),
        "u32" => format!("a whole number from 0 to {}", u32::MAX),
        "u64" | "usize" => "a whole number, 0 or more".to_owned(),
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        "a sequence" => "an array".to_owned(),
        "a map" => "a table".to_owned(),
        other if other.starts_with("struct ") => "a table".to_owned(),
        other if other.starts_with("enum ") => "the name of a choice".to_owned(),
        _ => text,
    }
}

/// Reads one node.
pub(super) struct Reader<'n> {
    pub(super) node: &'n Node,
    pub(super) path: String,
    pub(super) unknown_keys: &'n RefCell<Vec<Problem>>,
}

impl<'n> Reader<'n> {
    pub(super) fn child(&self, key: &str, node: &'n Node) -> Self {
        Reader { node, path: join(&self.path, key), unknown_keys: self.unknown_keys }
    }

    fn note_unknown_keys(&self, known: &'static [&'static str]) {
        let Value::Table(table) = &self.node.value else { return };
        for (key, node) in table {
            if known.contains(&key.as_str()) || matches!(node.value, Value::Removed) {
                continue;
            }
            let mut problem = Problem::new(node.line, &join(&self.path, key), unknown("key", key, known));
            problem.is_unknown_key = true;
            // The same table is read again after each error.
            let mut unknown_keys = self.unknown_keys.borrow_mut();
            if !unknown_keys.contains(&problem) {
                unknown_keys.push(problem);
            }
        }
    }
}

impl<'de> de::Deserializer<'de> for Reader<'de> {
    type Error = Failure;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        let path = self.path.clone();
        match &self.node.value {
            Value::Bool(flag) => visitor.visit_bool(*flag),
            Value::Integer(number) => match i64::try_from(*number) {
                Ok(number) => visitor.visit_i64(number),
                Err(_) => visitor.visit_u64(u64::try_from(*number).unwrap_or(u64::MAX)),
            },
            Value::Float(number) => visitor.visit_f64(*number),
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Array(items) => visitor.visit_seq(ItemAccess::new(self, items)),
            Value::Table(table) => visitor.visit_map(TableAccess::new(self, table, None)),
            Value::Removed => visitor.visit_unit(),
        }
        .map_err(|error: Failure| error.at(&path))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        match &self.node.value {
            Value::Table(table) => {
                self.note_unknown_keys(fields);
                let path = self.path.clone();
                visitor
                    .visit_map(TableAccess::new(self, table, Some(fields)))
                    .map_err(|error| error.at(&path))
            }
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        let path = self.path.clone();
        match &self.node.value {
            Value::String(text) => visitor.visit_enum(text.as_str().into_deserializer()),
            Value::Table(table) => match table.iter().next() {
                Some((name, node)) if table.len() == 1 => {
                    visitor.visit_enum(TableVariant { name, reader: self.child(name, node) })
                }
                _ => Err(de::Error::custom(format!(
                    "expected one choice and found {} keys; choices are: {}",
                    table.len(),
                    variants.join(", ")
                ))),
            },
            _ => Err(de::Error::custom(format!("expected one of: {}", variants.join(", ")))),
        }
        .map_err(|error: Failure| error.at(&path))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit unit_struct seq tuple tuple_struct map identifier ignored_any
    }
}

//! Which events are taken, and the line of a file that one becomes.
//!
//! A line has the fields in the order of the schema, so that events that say the same are the same bytes.

use std::collections::HashMap;

use muster_proto::collect::{CollectSpec, FieldKind, FieldSpec, UnknownFields};
use muster_proto::config::unknown_name;
use muster_proto::dataset::time::parse_iso8601;

use crate::event::{Fields, Scalar};

/// 2^53: below it every whole number is a float of its own.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// An event that may be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Checked {
    /// The hash of its id.
    pub(crate) id: u128,
    /// Its line, with the end of line.
    pub(crate) line: Vec<u8>,
}

/// Why an event is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The field at fault; empty where it is the event as a whole.
    pub(crate) field: String,
    pub(crate) reason: String,
}

/// The fields of events, ready to check with.
#[derive(Debug)]
pub(crate) struct Schema {
    fields: Vec<Field>,
    by_name: HashMap<String, usize>,
    event_id: usize,
    /// `"name":` of the time of arrival.
    received_at: Option<Vec<u8>>,
    drops_unknown: bool,
    max_event: usize,
}

#[derive(Debug)]
struct Field {
    spec: FieldSpec,
    max_length: usize,
    /// `"name":`
    key: Vec<u8>,
}

impl Schema {
    /// The schema of a file that was validated.
    ///
    /// # Panics
    /// The file has no field for the event's id, which validation refuses.
    pub(crate) fn new(spec: &CollectSpec) -> Self {
        let fields: Vec<Field> = spec.fields.iter().map(Field::new).collect();
        let by_name: HashMap<String, usize> =
            spec.fields.iter().enumerate().map(|(at, field)| (field.name.clone(), at)).collect();
        let event_id = by_name[&spec.event_id];
        Self {
            fields,
            by_name,
            event_id,
            received_at: spec.received_at.as_deref().map(key_of),
            drops_unknown: spec.unknown_fields == UnknownFields::Drop,
            max_event: spec.limits.max_event.bytes() as usize,
        }
    }

    /// Checks an event that arrived at `now`, in milliseconds since 1970.
    pub(crate) fn check(&self, event: Fields, now: i64) -> Result<Checked, Refusal> {
        let values = self.arrange(event)?;
        let mut line = Vec::with_capacity(256);
        line.push(b'{');
        for (field, value) in self.fields.iter().zip(&values) {
            let start = line.len();
            line.extend_from_slice(&field.key);
            match field.write(value, &mut line) {
                Ok(true) => line.push(b','),
                Ok(false) => line.truncate(start),
                Err(reason) => return Err(Refusal { field: field.spec.name.clone(), reason }),
            }
        }
        if let Some(key) = &self.received_at {
            line.extend_from_slice(key);
            line.extend_from_slice(now.to_string().as_bytes());
            line.push(b',');
        }
        // The id is always there, so that a comma is.
        line.pop();
        line.extend_from_slice(b"}\n");
        if line.len() > self.max_event {
            let reason =
                format!("is {} bytes long, over {} (`limits.max_event`)", line.len(), self.max_event);
            return Err(Refusal { field: String::new(), reason });
        }
        let Some(id) = hash_of(&values[self.event_id]) else {
            let field = self.fields[self.event_id].spec.name.clone();
            return Err(Refusal { field, reason: "is no id".to_owned() });
        };
        Ok(Checked { id, line })
    }

    /// The values in the order of the schema.
    fn arrange(&self, event: Fields) -> Result<Vec<Scalar>, Refusal> {
        let mut values: Vec<Option<Scalar>> = vec![None; self.fields.len()];
        for (name, value) in event.0 {
            match self.by_name.get(&name) {
                Some(at) if values[*at].is_some() => {
                    return Err(Refusal { field: name, reason: "is given twice".to_owned() });
                }
                Some(at) => values[*at] = Some(value),
                None if self.drops_unknown => {}
                None => {
                    let known: Vec<&str> =
                        self.fields.iter().map(|field| field.spec.name.as_str()).take(20).collect();
                    let shown: String = name.chars().take(64).collect();
                    let reason = unknown_name("field", &shown, &known);
                    return Err(Refusal { field: shown, reason });
                }
            }
        }
        Ok(values.into_iter().map(|value| value.unwrap_or(Scalar::Missing)).collect())
    }
}

/// The hash of an event's id: a number and its digits as text are the same, as they are for `muster prepare`.
pub(crate) fn hash_of(id: &Scalar) -> Option<u128> {
    let hash = match id {
        Scalar::Text(text) => blake3::hash(text.as_bytes()),
        Scalar::Integer(number) => blake3::hash(number.to_string().as_bytes()),
        Scalar::Number(number) => blake3::hash((*number as i64).to_string().as_bytes()),
        Scalar::Missing | Scalar::Flag(_) | Scalar::Nested(_) => return None,
    };
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.as_bytes()[..16]);
    Some(u128::from_le_bytes(bytes))
}

fn key_of(name: &str) -> Vec<u8> {
    let mut key = serde_json::Value::from(name).to_string().into_bytes();
    key.push(b':');
    key
}

impl Field {
    fn new(spec: &FieldSpec) -> Self {
        let max_length = spec.max_length.unwrap_or(FieldSpec::MAX_LENGTH).bytes() as usize;
        Self { key: key_of(&spec.name), max_length, spec: spec.clone() }
    }

    /// Writes a value that fits; false where there is none and none is needed.
    fn write(&self, value: &Scalar, line: &mut Vec<u8>) -> Result<bool, String> {
        match (self.spec.kind, value) {
            (_, Scalar::Missing) if self.spec.required => return Err("is required and missing".to_owned()),
            (_, Scalar::Missing) => return Ok(false),
            (FieldKind::Text, Scalar::Text(text)) => {
                self.check_text(text)?;
                write_text(text, line);
            }
            (FieldKind::Time, Scalar::Text(text)) => {
                if text.len() > 64 || parse_iso8601(text).is_none() {
                    return Err("is not a time: write for instance `2014-04-06T20:21:58.444Z`".to_owned());
                }
                write_text(text, line);
            }
            (FieldKind::Integer, Scalar::Integer(number)) => self.write_integer(*number, line)?,
            (FieldKind::Integer, Scalar::Number(number)) if number.fract() == 0.0 && number.abs() < EXACT => {
                self.write_integer(*number as i64, line)?;
            }
            (FieldKind::Integer, Scalar::Number(number)) => {
                return Err(format!("{number} is not a whole number of 64 bits"));
            }
            (FieldKind::Number, Scalar::Integer(number)) => {
                self.check_range(*number as f64)?;
                line.extend_from_slice(number.to_string().as_bytes());
            }
            (FieldKind::Number, Scalar::Number(number)) if number.is_finite() => {
                self.check_range(*number)?;
                line.extend_from_slice(serde_json::Value::from(*number).to_string().as_bytes());
            }
            (FieldKind::Number, Scalar::Number(number)) => return Err(format!("{number} is no number")),
            (FieldKind::Flag, Scalar::Flag(flag)) => line.extend_from_slice(flag.to_string().as_bytes()),
            (_, other) => return Err(self.wrong_kind(other)),
        }
        Ok(true)
    }

    fn write_integer(&self, number: i64, line: &mut Vec<u8>) -> Result<(), String> {
        self.check_range(number as f64)?;
        line.extend_from_slice(number.to_string().as_bytes());
        Ok(())
    }

    fn check_text(&self, text: &str) -> Result<(), String> {
        if self.spec.required && text.is_empty() {
            return Err("is required and empty".to_owned());
        }
        if text.len() > self.max_length {
            return Err(format!("is {} bytes long, over {}", text.len(), self.max_length));
        }
        let allowed = &self.spec.values;
        if !allowed.is_empty() && !allowed.iter().any(|value| value == text) {
            let known: Vec<&str> = allowed.iter().map(String::as_str).take(20).collect();
            let shown: String = text.chars().take(64).collect();
            return Err(unknown_name("value", &shown, &known));
        }
        Ok(())
    }

    fn check_range(&self, number: f64) -> Result<(), String> {
        if let Some(min) = self.spec.min.filter(|min| number < *min) {
            return Err(format!("{number} is below {min}"));
        }
        if let Some(max) = self.spec.max.filter(|max| number > *max) {
            return Err(format!("{number} is above {max}"));
        }
        Ok(())
    }

    fn wrong_kind(&self, found: &Scalar) -> String {
        let found = match found {
            Scalar::Missing => "nothing",
            Scalar::Text(_) => "text",
            Scalar::Integer(_) | Scalar::Number(_) => "a number",
            Scalar::Flag(_) => "true or false",
            Scalar::Nested(what) => what,
        };
        let expected = match self.spec.kind {
            FieldKind::Text => "text",
            FieldKind::Integer => "a whole number",
            FieldKind::Number => "a number",
            FieldKind::Flag => "true or false",
            FieldKind::Time => "a time as text",
        };
        format!("is {found}, expected {expected}")
    }
}

fn write_text(text: &str, line: &mut Vec<u8>) {
    line.extend_from_slice(serde_json::Value::from(text).to_string().as_bytes());
}

#[cfg(test)]
mod tests;

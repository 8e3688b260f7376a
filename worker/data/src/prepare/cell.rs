//! One value of a row, as its format has it, and what can be made of it.

use std::fmt::Write as _;

use muster_proto::dataset::TimeFormat;
use muster_proto::dataset::time::{format_iso8601, parse_iso8601};

/// One value of a row.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell<'r> {
    Missing,
    Text(&'r str),
    Integer(i64),
    Float(f64),
    /// Milliseconds since 1970, where the format itself has times.
    Time(i64),
}

/// The texts that stand for no value.
#[derive(Debug, Clone)]
pub(super) struct Missing {
    tokens: Vec<String>,
    /// Whether any begins with a byte; nearly all values are told apart from them by that.
    begins: [bool; 256],
    has_empty: bool,
}

impl Missing {
    pub(super) fn new(tokens: &[String]) -> Self {
        let mut begins = [false; 256];
        tokens.iter().filter_map(|token| token.bytes().next()).for_each(|byte| begins[byte as usize] = true);
        Self { tokens: tokens.to_vec(), begins, has_empty: tokens.iter().any(String::is_empty) }
    }

    pub(super) fn holds(&self, text: &str) -> bool {
        match text.bytes().next() {
            None => self.has_empty,
            Some(byte) => self.begins[byte as usize] && self.tokens.iter().any(|token| token == text),
        }
    }
}

impl Cell<'_> {
    /// Whether the value stands for none.
    pub(super) fn is_missing(&self, missing: &Missing) -> bool {
        match self {
            Self::Missing => true,
            Self::Text(text) => missing.holds(text),
            _ => false,
        }
    }

    /// Writes the value as a key; a whole number is written the same however the format stores it.
    pub(super) fn write_key(&self, key: &mut String) -> Result<(), String> {
        key.clear();
        match self {
            Self::Missing => return Err("is missing".to_owned()),
            Self::Text(text) => key.push_str(text),
            Self::Integer(number) | Self::Time(number) => {
                let _ = write!(key, "{number}");
            }
            Self::Float(number) if !number.is_finite() => return Err(format!("{number} is no key")),
            Self::Float(number) => {
                let _ = write!(key, "{number}");
            }
        }
        Ok(())
    }

    /// The value as a number.
    pub(super) fn number(&self) -> Result<f64, String> {
        match self {
            Self::Missing => Err("is missing".to_owned()),
            Self::Text(text) => text.trim().parse().map_err(|_| format!("`{text}` is not a number")),
            Self::Integer(number) | Self::Time(number) => Ok(*number as f64),
            Self::Float(number) => Ok(*number),
        }
    }

    /// The value as milliseconds since 1970.
    pub(super) fn time(&self, format: TimeFormat) -> Result<i64, String> {
        let unit = Unit::of(format);
        match self {
            Self::Time(millis) => Ok(*millis),
            Self::Text(text) if unit == Unit::Date => {
                parse_iso8601(text).ok_or_else(|| format!("`{text}` is not a date or time of ISO 8601"))
            }
            Self::Text(text) => match text.trim().parse::<i64>() {
                Ok(number) => unit.scale(number),
                Err(_) => unit.round(self.number()?),
            },
            Self::Integer(_) | Self::Float(_) if unit == Unit::Date => {
                Err("is a number, `columns.time_format` says a date".to_owned())
            }
            Self::Integer(number) => unit.scale(*number),
            Self::Float(number) => unit.round(*number),
            Self::Missing => Err("is missing".to_owned()),
        }
    }

    /// The value as reports show it, no longer than 80 characters.
    pub(super) fn shown(&self) -> Option<String> {
        Some(match self {
            Self::Missing => return None,
            Self::Text(text) => shortened(text),
            Self::Integer(number) => number.to_string(),
            Self::Float(number) => number.to_string(),
            Self::Time(millis) => format_iso8601(*millis),
        })
    }
}

/// The text, or its first 80 characters and its length.
pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(80) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}... ({} bytes)", &text[..end], text.len()),
    }
}

/// What a number of a time counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Seconds,
    Millis,
    Micros,
    /// One of the three, by its size.
    Auto,
    Date,
}

impl Unit {
    fn of(format: TimeFormat) -> Self {
        match format {
            TimeFormat::Seconds => Self::Seconds,
            TimeFormat::Millis => Self::Millis,
            TimeFormat::Micros => Self::Micros,
            TimeFormat::UnixAuto => Self::Auto,
            TimeFormat::Iso8601 | TimeFormat::Date => Self::Date,
        }
    }

    /// Both bounds are the year 5138; from below, milliseconds begin in March 1973, microseconds likewise.
    fn by_size(size: f64) -> Self {
        if size < 1e11 {
            Self::Seconds
        } else if size < 1e14 {
            Self::Millis
        } else {
            Self::Micros
        }
    }

    fn scale(self, number: i64) -> Result<i64, String> {
        match self {
            Self::Seconds => number.checked_mul(1000),
            Self::Micros => Some(number.div_euclid(1000)),
            Self::Auto => return Self::by_size((number as f64).abs()).scale(number),
            Self::Millis | Self::Date => Some(number),
        }
        .ok_or_else(|| format!("{number} is beyond all time"))
    }

    fn round(self, number: f64) -> Result<i64, String> {
        let millis = match self {
            Self::Seconds => (number * 1000.0).round(),
            Self::Micros => (number / 1000.0).floor(),
            Self::Auto => return Self::by_size(number.abs()).round(number),
            Self::Millis | Self::Date => number.round(),
        };
        if millis.abs() < 9.0e18 { Ok(millis as i64) } else { Err(format!("{number} is not a time")) }
    }
}

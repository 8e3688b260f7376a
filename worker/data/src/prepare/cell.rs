//! One value of a row, as its format has it, and what can be made of it.

use std::fmt::Write as _;

use muster_proto::dataset::TimeFormat;
use muster_proto::dataset::time::parse_iso8601;

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

impl Cell<'_> {
    /// Whether the value stands for none.
    pub(super) fn is_missing(&self, missing: &[String]) -> bool {
        match self {
            Self::Missing => true,
            Self::Text(text) => missing.iter().any(|token| token == text),
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
        let unit = match format {
            TimeFormat::Seconds => 1000,
            TimeFormat::Millis => 1,
            TimeFormat::Iso8601 | TimeFormat::Date => 0,
        };
        match self {
            Self::Time(millis) => Ok(*millis),
            Self::Text(text) if unit == 0 => {
                parse_iso8601(text).ok_or_else(|| format!("`{text}` is not a date or time of ISO 8601"))
            }
            Self::Text(text) => match text.trim().parse::<i64>() {
                Ok(number) => scale(number, unit),
                Err(_) => round(self.number()?, unit),
            },
            Self::Integer(number) if unit > 0 => scale(*number, unit),
            Self::Float(number) if unit > 0 => round(*number, unit),
            Self::Integer(_) | Self::Float(_) => {
                Err("is a number, `columns.time_format` says a date".to_owned())
            }
            Self::Missing => Err("is missing".to_owned()),
        }
    }
}

fn scale(number: i64, unit: i64) -> Result<i64, String> {
    number.checked_mul(unit).ok_or_else(|| format!("{number} is beyond all time"))
}

fn round(number: f64, unit: i64) -> Result<i64, String> {
    let millis = (number * unit as f64).round();
    if millis.abs() < 9.0e18 { Ok(millis as i64) } else { Err(format!("{number} is not a time")) }
}

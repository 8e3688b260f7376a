//! Times as people write and read them.

use jiff::civil::DateTime;
use jiff::{Timestamp, Unit};

/// A time as it is written on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// One that says itself where on earth it is meant: `2026-03-01T02:30:00Z`.
    Exact(Timestamp),
    /// One of the clock on the wall, in a zone that is known elsewhere: `2026-03-01`, `2026-03-01T02:30`.
    Wall(DateTime),
}

impl std::str::FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(exact) = text.parse::<Timestamp>() {
            return Ok(Self::Exact(exact));
        }
        text.parse::<DateTime>().map(Self::Wall).map_err(|_| {
            format!("`{text}` is not a time: write 2026-03-01, 2026-03-01T02:30, or 2026-03-01T02:30:00Z")
        })
    }
}

impl When {
    /// The moment, where the clock on the wall is that of `zone`. A time of day that the zone leaves out is the first moment after it,
    /// one that it has twice the first.
    ///
    /// # Errors
    /// A zone that is none, or a moment beyond the calendar.
    pub fn in_zone(self, zone: &str) -> Result<Timestamp, jiff::Error> {
        match self {
            Self::Exact(exact) => Ok(exact),
            Self::Wall(wall) => Ok(wall.in_tz(zone)?.timestamp()),
        }
    }
}

/// A moment to the second, in UTC.
#[must_use]
pub fn shown(at: Timestamp) -> String {
    at.round(Unit::Second).unwrap_or(at).to_string()
}

/// A moment to the second, or nothing.
#[must_use]
pub fn shown_if(at: Option<Timestamp>) -> String {
    at.map(shown).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, zone: &str) -> String {
        shown(text.parse::<When>().unwrap().in_zone(zone).unwrap())
    }

    #[test]
    fn a_date_is_midnight_on_the_wall_of_the_zone_and_a_full_time_is_itself() {
        assert_eq!(at("2026-03-01", "Europe/Berlin"), "2026-02-28T23:00:00Z");
        assert_eq!(at("2026-07-01T02:30", "Europe/Berlin"), "2026-07-01T00:30:00Z");
        assert_eq!(at("2026-03-01T02:30:00Z", "Europe/Berlin"), "2026-03-01T02:30:00Z");
        assert_eq!(at("2026-03-01T02:30:00+05:00", "UTC"), "2026-02-28T21:30:00Z");
    }

    #[test]
    fn what_is_no_time_is_refused_with_what_would_be_one() {
        for text in ["", "yesterday", "2026-13-01", "1.3.2026"] {
            assert!(text.parse::<When>().unwrap_err().contains("2026-03-01T02:30:00Z"), "{text}");
        }
    }
}

//! When a pattern fires in a time zone.
//!
//! Patterns and their rules for summer time are croner's (Open Cron Pattern Specification, after Vixie cron); zones are the
//! IANA database's, compiled in, so that a schedule fires alike on all machines.

use croner::parser::{CronParser, Seconds, Year};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use muster_proto::config;

/// Fires that are read at once, at most.
pub(super) const MOST: usize = 4096;

/// Why a pattern cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The pattern is none.
    #[error(
        "cron pattern `{pattern}`: {problem}; give minute, hour, day of month, month and day of week, as in `30 2 * * MON-FRI`"
    )]
    Pattern {
        /// As given.
        pattern: String,
        /// What is wrong with it.
        problem: String,
    },
    /// No time zone has this name.
    #[error("{problem}")]
    Zone {
        /// What is wrong, with the nearest name.
        problem: String,
    },
    /// It fires never.
    #[error("cron pattern `{pattern}` never fires: no date is like this")]
    Never {
        /// As given.
        pattern: String,
    },
}

/// A pattern in a time zone.
#[derive(Debug, Clone)]
pub struct Cron {
    pattern: croner::Cron,
    zone: TimeZone,
}

impl Cron {
    /// Reads a pattern and looks its zone up.
    ///
    /// # Errors
    /// A pattern that is none or never fires, an unknown zone.
    pub fn new(pattern: &str, zone: &str) -> Result<Self, Error> {
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let read = parser.parse(pattern).map_err(|error| Error::Pattern {
            pattern: pattern.to_owned(),
            problem: error.to_string().trim_end_matches('.').to_lowercase(),
        })?;
        let zone = TimeZone::get(zone).map_err(|_| {
            let names: Vec<String> = jiff::tz::db().available().map(|name| name.to_string()).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            Error::Zone { problem: config::unknown_name("time zone", zone, &names) }
        })?;
        let cron = Self { pattern: read, zone };
        match cron.after(Timestamp::UNIX_EPOCH) {
            Some(_) => Ok(cron),
            None => Err(Error::Never { pattern: pattern.to_owned() }),
        }
    }

    /// The first time it fires after a moment; none in the years that calendars reach.
    #[must_use]
    pub fn after(&self, moment: Timestamp) -> Option<Timestamp> {
        let next = self.pattern.find_next_occurrence(&moment.to_zoned(self.zone.clone()), false);
        next.ok().map(|zoned| zoned.timestamp())
    }

    /// The latest times it fires after `after` and not after `until`, ascending, `most` at most; and whether there are more.
    #[must_use]
    pub fn between(&self, after: Timestamp, until: Timestamp, most: usize) -> (Vec<Timestamp>, bool) {
        let mut fires = Vec::new();
        let mut from = (until.to_zoned(self.zone.clone()), true);
        while let Ok(fire) = self.pattern.find_previous_occurrence(&from.0, from.1) {
            let at = fire.timestamp();
            if at <= after {
                break;
            }
            if fires.len() == most {
                fires.reverse();
                return (fires, true);
            }
            fires.push(at);
            from = (fire, false);
        }
        fires.reverse();
        (fires, false)
    }
}

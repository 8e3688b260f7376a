//! What a command leaves on standard output: text for people, or exactly one JSON object.
//!
//! In JSON mode nothing else is ever written there. Logs and progress go to standard error.

use std::io::{self, Write};

use clap::ValueEnum;
use serde_json::{Value, json};

use crate::error::Error;

/// The form of a command's result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Text and tables for people.
    Text,
    /// One JSON object at the end.
    Json,
}

/// A result in both forms.
pub trait Report {
    /// For people; ends without a newline.
    fn text(&self) -> String;
    /// For programs; an object.
    fn json(&self) -> Value;
}

/// That something was done to a thing with a number.
#[derive(Debug)]
pub struct Told {
    /// What kind of thing: `job`, `worker`.
    pub thing: &'static str,
    /// Its number.
    pub number: u64,
    /// What was done: `submitted`, `cordoned`.
    pub what: &'static str,
}

impl Report for Told {
    fn text(&self) -> String {
        format!("{} {} {}", self.thing, self.number, self.what)
    }

    fn json(&self) -> Value {
        json!({self.thing: self.number, "status": self.what})
    }
}

/// Writes results in the form that was asked for.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    format: Format,
    quiet: bool,
}

impl Output {
    /// `quiet` drops the text between a command's start and its result.
    pub fn new(format: Format, quiet: bool) -> Self {
        Self { format, quiet }
    }

    /// True where programs read the result.
    pub fn is_json(self) -> bool {
        self.format == Format::Json
    }

    /// True where only the result is wanted.
    pub fn is_quiet(self) -> bool {
        self.quiet
    }

    /// Writes the command's result.
    ///
    /// # Errors
    /// Where standard output cannot take it; a closed pipe is no error, since nobody listens.
    pub fn report(self, report: &dyn Report) -> Result<(), Error> {
        match self.format {
            Format::Text => write_line(&report.text()),
            Format::Json => write_line(&report.json().to_string()),
        }
    }

    /// Writes text between start and result, for people only.
    ///
    /// # Errors
    /// As [`Output::report`].
    pub fn say(self, text: &str) -> Result<(), Error> {
        if self.quiet || self.is_json() { Ok(()) } else { write_line(text) }
    }

    /// Writes an error: for programs as the one object on standard output, for people on standard error.
    pub fn error(self, error: &Error) {
        // With the stream gone too, the exit code is what is left to tell.
        let _ = match self.format {
            Format::Json => write_line(&error.json().to_string()),
            Format::Text => writeln!(io::stderr().lock(), "{}", error.text())
                .map_err(|e| Error::failed(format!("cannot write to standard error: {e}"))),
        };
    }
}

fn write_line(text: &str) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::failed(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

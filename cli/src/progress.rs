//! How a long command shows that it moves: bars on a terminal, plain lines elsewhere, nothing when quiet.
//!
//! Everything goes to standard error, so that a result on standard output stays clean.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Plain lines come at most this often, save for the last of a stage.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// A sink for the progress of one command; stages follow each other.
pub trait Progress: Send {
    /// Begins a stage of `total` units; 0 where the total is not known.
    fn start(&mut self, stage: &str, total: u64);
    /// Says how far the stage is, with a note such as the loss.
    fn update(&mut self, done: u64, note: &str);
    /// Ends the stage with what came of it.
    fn finish(&mut self, note: &str);
    /// Says a line that stays, such as an epoch's metrics.
    fn say(&mut self, line: &str);
}

/// The sink that fits where standard error goes.
pub fn for_stderr(quiet: bool) -> Box<dyn Progress> {
    if quiet {
        Box::new(Silent)
    } else if io::stderr().is_terminal() {
        Box::new(Bars { bar: ProgressBar::hidden(), stage: String::new() })
    } else {
        Box::new(Lines::default())
    }
}

/// Shows nothing.
#[derive(Debug)]
pub struct Silent;

impl Progress for Silent {
    fn start(&mut self, _stage: &str, _total: u64) {}
    fn update(&mut self, _done: u64, _note: &str) {}
    fn finish(&mut self, _note: &str) {}
    fn say(&mut self, _line: &str) {}
}

struct Bars {
    bar: ProgressBar,
    stage: String,
}

impl Progress for Bars {
    fn start(&mut self, stage: &str, total: u64) {
        let template = if total == 0 {
            "{spinner} {prefix}  {elapsed}  {msg}"
        } else {
            "{prefix}  {bar:30} {pos}/{len}  {msg}  eta {eta}"
        };
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        self.bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(8))
            .with_style(style.progress_chars("━╸─"))
            .with_prefix(stage.to_owned());
        self.stage = stage.to_owned();
    }

    fn update(&mut self, done: u64, note: &str) {
        self.bar.set_message(note.to_owned());
        self.bar.set_position(done);
    }

    fn finish(&mut self, note: &str) {
        self.bar.finish_and_clear();
        write_line(&format!("{}  {note}", self.stage));
    }

    fn say(&mut self, line: &str) {
        self.bar.suspend(|| write_line(line));
    }
}

#[derive(Default)]
struct Lines {
    stage: String,
    total: u64,
    said: Option<Instant>,
}

impl Progress for Lines {
    fn start(&mut self, stage: &str, total: u64) {
        *self = Self { stage: stage.to_owned(), total, said: None };
    }

    fn update(&mut self, done: u64, note: &str) {
        if self.said.is_some_and(|said| said.elapsed() < LINE_INTERVAL) {
            return;
        }
        self.said = Some(Instant::now());
        match self.total {
            0 => write_line(&format!("{}  {done}  {note}", self.stage)),
            total => write_line(&format!("{}  {done}/{total}  {note}", self.stage)),
        }
    }

    fn finish(&mut self, note: &str) {
        write_line(&format!("{}  {note}", self.stage));
    }

    fn say(&mut self, line: &str) {
        write_line(line);
    }
}

fn write_line(line: &str) {
    // Progress is a courtesy: a closed standard error must not end a run.
    let _ = writeln!(io::stderr().lock(), "{line}");
}

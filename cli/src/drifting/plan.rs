//! What is bad on which day of the loop, and which gate is there for it.

use muster_data::Fault;

/// Something planted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Planted {
    /// The day's log itself is bad.
    Day(Fault),
    /// A second log comes, of views that never were, for the first day of the window: so many times a day's views. It is out of
    /// the next night's window.
    Late(Fault, u32),
    /// Somebody gets the job file wrong, for a night.
    Job,
    /// What serves the model breaks: three of four answers are lost.
    Service,
}

/// What is planted, by the day of the loop, from 1, and what it is in words.
pub(super) const PLANTED: &[(u32, Planted, &str)] = &[
    (6, Planted::Late(Fault::Flood, 12), "a robot views one item all day"),
    (10, Planted::Late(Fault::Junk(20_000), 1), "20,000 items that nobody sells"),
    (13, Planted::Day(Fault::LostColumn), "the log's column of items has another name"),
    (16, Planted::Job, "somebody takes a learning rate of 1"),
    (21, Planted::Day(Fault::Noise), "the day's own views are mixed up"),
    (27, Planted::Service, "the service loses three of four answers"),
];

/// What is planted on a day.
pub(super) fn of_day(day: u32) -> Option<(Planted, &'static str)> {
    PLANTED.iter().find(|(planted, ..)| *planted == day).map(|(_, what, words)| (*what, *words))
}

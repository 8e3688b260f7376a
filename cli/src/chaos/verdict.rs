//! Whether a run that was disturbed came to what it would have come to, and what that took.

use std::time::Duration;

use muster_proto::control::Spent;
use serde_json::{Value, json};

use super::{Fault, Overcome};
use crate::incidents;
use crate::output::Report;

/// What is said of a disturbed run.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// What does not hold, in words.
    pub problems: Vec<String>,
    /// The model's digest without faults and with them.
    pub digests: [String; 2],
    /// Faults that the job got over.
    pub overcome: Vec<Overcome>,
    /// Samples whose count was checked.
    pub samples: u64,
    /// What the time of the run without faults and of that with them was spent on, as far as the coordinator said.
    pub spent: [Option<Spent>; 2],
}

impl Verdict {
    fn recoveries(&self, fault: Fault) -> Vec<Duration> {
        let of_kind = self.overcome.iter().filter(|over| over.fault == fault);
        let mut times: Vec<Duration> = of_kind.map(|over| over.recovery).collect();
        times.sort();
        times
    }
}

impl Report for Verdict {
    fn text(&self) -> String {
        let incidents: Vec<_> = self.overcome.iter().map(|over| over.incident.clone()).collect();
        let mut lines = vec![incidents::table(&incidents)];
        for fault in [Fault::Kill, Fault::KillTwo, Fault::Pause] {
            let times = self.recoveries(fault);
            let (Some(median), Some(most)) = (times.get(times.len() / 2), times.last()) else { continue };
            lines.push(format!(
                "{:<9} {} times, to the first new step: median {:.2} s, at most {:.2} s",
                fault.name(),
                times.len(),
                median.as_secs_f64(),
                most.as_secs_f64()
            ));
        }
        lines.extend(self.spent[1].as_ref().and_then(incidents::spent));
        if self.problems.is_empty() {
            lines.push(format!(
                "all holds: digest {} with and without faults, {} samples once each",
                self.digests[1], self.samples
            ));
        }
        lines.extend(self.problems.iter().map(|problem| format!("problem: {problem}")));
        lines.join("\n")
    }

    fn json(&self) -> Value {
        let kind = |fault| {
            let seconds: Vec<f64> = self.recoveries(fault).iter().map(Duration::as_secs_f64).collect();
            json!({"seconds": seconds, "median": seconds.get(seconds.len() / 2), "max": seconds.last()})
        };
        let incidents: Vec<_> = self.overcome.iter().map(|over| &over.incident).collect();
        json!({
            "ok": self.problems.is_empty(),
            "problems": self.problems,
            "model_digest": self.digests[1],
            "undisturbed_digest": self.digests[0],
            "samples": self.samples,
            "kill": kind(Fault::Kill),
            "kill_two": kind(Fault::KillTwo),
            "pause": kind(Fault::Pause),
            "incidents": incidents,
            "undisturbed_spent": self.spent[0],
            "spent": self.spent[1],
            "goodput": self.spent[1].as_ref().and_then(Spent::goodput),
        })
    }
}

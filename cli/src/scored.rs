//! Forecast beside measurement: a line a phase, the step, and each rank's memory, with the signed error.

use muster_proto::capacity::Phase;
use muster_proto::measured::{Breakdown, Forecast};
use serde_json::{Map, Value, json};

use crate::table::{Table, key};

/// What was forecast and what was measured, as far as either is known.
#[derive(Debug, Clone, Copy)]
pub struct Scored<'a> {
    /// The forecast.
    pub forecast: Option<&'a Forecast>,
    /// What each rank measured, in rank order.
    pub measured: &'a [Breakdown],
}

/// A number of both kinds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Pair {
    /// As forecast.
    pub forecast: Option<f64>,
    /// As measured.
    pub measured: Option<f64>,
}

impl Pair {
    /// Forecast over measured, minus 1; none where one is missing or nothing was measured.
    pub fn error(self) -> Option<f64> {
        let measured = self.measured.filter(|measured| *measured > 0.0)?;
        Some(self.forecast? / measured - 1.0)
    }

    fn json(self) -> Value {
        json!({"forecast": self.forecast, "measured": self.measured, "error": self.error()})
    }
}

impl Scored<'_> {
    /// Whether there is nothing to show.
    pub fn is_empty(&self) -> bool {
        self.forecast.is_none() && self.measured.is_empty()
    }

    /// Milliseconds of a step by phase, the rest last.
    pub fn phases(&self) -> Vec<(String, Pair)> {
        let phases = Phase::ALL.into_iter().map(|phase| {
            let forecast = self.forecast.map(|forecast| forecast.phase(phase) * 1e3);
            let pair = Pair { forecast, measured: self.mean(|rank| rank.wall(phase).as_secs_f64() * 1e3) };
            (phase.name().to_owned(), pair)
        });
        let rest = Pair {
            forecast: self.forecast.map(|forecast| forecast.rest * 1e3),
            measured: self.mean(|rank| rank.rest.wall.as_secs_f64() * 1e3),
        };
        phases.chain([("rest".to_owned(), rest)]).collect()
    }

    /// Milliseconds of a step.
    pub fn step(&self) -> Pair {
        Pair {
            forecast: self.forecast.map(|forecast| forecast.step() * 1e3),
            measured: self.mean(|rank| rank.step().as_secs_f64() * 1e3),
        }
    }

    /// The same on a machine whose processors are its own, as a forecast takes them to be.
    pub fn without_steal(&self) -> Pair {
        Pair { measured: self.mean(|rank| rank.without_steal().as_secs_f64() * 1e3), ..self.step() }
    }

    /// Peak bytes of each rank.
    pub fn memory(&self) -> Vec<Pair> {
        let forecast = self.forecast.map_or(&[][..], |forecast| &forecast.peak_bytes);
        let bytes = |bytes: Option<u64>| bytes.filter(|bytes| *bytes > 0).map(|bytes| bytes as f64);
        let pair = |rank: usize| Pair {
            forecast: bytes(forecast.get(rank).copied()),
            measured: bytes(self.measured.get(rank).map(|rank| rank.peak_bytes)),
        };
        (0..forecast.len().max(self.measured.len())).map(pair).collect()
    }

    fn mean(&self, of: impl Fn(&Breakdown) -> f64) -> Option<f64> {
        let ranks = self.measured.iter().filter(|rank| rank.steps > 0);
        let (sum, count) = ranks.fold((0.0, 0_u32), |(sum, count), rank| (sum + of(rank), count + 1));
        (count > 0).then(|| sum / f64::from(count))
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut table = Table::new(["", "forecast", "measured", "error"]);
        let mut row = |name: String, pair: Pair, unit: &str| {
            let number =
                |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.3} {unit}"));
            let error = pair.error().map_or_else(String::new, |error| format!("{:+.1} %", error * 100.0));
            table.row([name, number(pair.forecast), number(pair.measured), error]);
        };
        for (name, pair) in self.phases() {
            let some = |value: Option<f64>| value.is_some_and(|value| value > 0.0);
            if some(pair.forecast) || some(pair.measured) {
                row(name, pair, "ms");
            }
        }
        row("step".to_owned(), self.step(), "ms");
        if self.measured.iter().any(|rank| !rank.steal.is_zero()) {
            row("step without steal".to_owned(), self.without_steal(), "ms");
        }
        for (rank, pair) in self.memory().into_iter().enumerate() {
            let mib = |value: Option<f64>| value.map(|value| value / f64::from(1 << 20));
            let pair = Pair { forecast: mib(pair.forecast), measured: mib(pair.measured) };
            row(format!("memory of rank {rank}"), pair, "MiB");
        }
        let source = match self.forecast {
            None => "nothing was forecast".to_owned(),
            Some(Forecast { source, extrapolated, .. }) if extrapolated.is_empty() => {
                format!("forecast from the {source}")
            }
            Some(Forecast { source, extrapolated, .. }) => {
                format!("forecast from the {source}; beyond its points: {}", extrapolated.join(", "))
            }
        };
        format!("{}\n  {source}", table.render())
    }

    /// For programs: milliseconds and bytes.
    pub fn json(&self) -> Value {
        let phases: Map<String, Value> =
            self.phases().into_iter().map(|(name, pair)| (key(&name), pair.json())).collect();
        let memory: Vec<Value> = self.memory().into_iter().map(Pair::json).collect();
        json!({
            "source": self.forecast.map(|forecast| &forecast.source),
            "extrapolated": self.forecast.map(|forecast| &forecast.extrapolated),
            "layouts": self.forecast.map(|forecast| &forecast.layouts),
            "step": self.step().json(),
            "without_steal": self.without_steal().json(),
            "phases": phases,
            "memory": memory,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use muster_proto::measured::Share;

    use super::*;

    #[test]
    fn the_error_is_signed_and_of_what_was_measured() {
        let wall = Share { wall: Duration::from_millis(4), inside: Duration::ZERO };
        let rank = |peak_bytes| Breakdown {
            steps: 9,
            phases: [(Phase::Dense, wall)].into(),
            rest: Share::default(),
            steal: Duration::from_micros(1500),
            peak_bytes,
        };
        let forecast = Forecast {
            source: "calibration of m".into(),
            phases: [(Phase::Dense, 0.005)].into(),
            peak_bytes: vec![90, 110],
            ..Forecast::default()
        };
        let measured = [rank(100), rank(100)];
        let scored = Scored { forecast: Some(&forecast), measured: &measured };
        let json = scored.json();
        assert!((json["step"]["error"].as_f64().unwrap() - 0.25).abs() < 1e-9, "{json}");
        let own = &json["without_steal"];
        assert!((own["measured"].as_f64().unwrap() - 2.5).abs() < 1e-9, "{json}");
        assert!((own["error"].as_f64().unwrap() - 1.0).abs() < 1e-9, "{json}");
        assert!((json["memory"][0]["error"].as_f64().unwrap() + 0.1).abs() < 1e-9, "{json}");
        let text = scored.text();
        assert!(
            text.contains("+25.0 %")
                && text.contains("+100.0 %")
                && text.contains("forecast from the calibration of m"),
            "{text}"
        );
        let nothing = Scored { forecast: None, measured: &measured };
        assert!(nothing.json()["step"]["error"].is_null());
    }
}

//! A dataset in numbers, for people and for programs.

use muster_data::stats::{Distance, Drift, Stats, Week};
use muster_proto::dataset::time::format_iso8601;
use serde_json::{Value, json};

use crate::output::Report;
use crate::table::{Table, grouped};

/// The latest weeks that the table shows.
const WEEKS: usize = 12;

/// The numbers of a dataset, and of what lies between it and another one.
#[derive(Debug)]
pub struct Numbers {
    /// Its own.
    pub stats: Stats,
    /// How far it is from the other one, where there is one.
    pub drift: Option<Drift>,
}

impl Report for Numbers {
    fn text(&self) -> String {
        let mut parts = vec![counts(&self.stats), popularity(&self.stats)];
        if !self.stats.event_types.is_empty() {
            parts.push(event_types(&self.stats));
        }
        let weeks = self.drift.as_ref().map_or(&self.stats.weeks, |drift| &drift.weeks);
        if let Some(drift) = &self.drift {
            parts.push(distances(drift));
        }
        if !weeks.is_empty() {
            parts.push(by_week(weeks, self.drift.as_ref()));
        }
        parts.join("\n\n")
    }

    fn json(&self) -> Value {
        let mut json = json!(self.stats);
        if let Some(drift) = &self.drift {
            json["drift"] = json!(drift);
        }
        json
    }
}

fn counts(stats: &Stats) -> String {
    let mut table = Table::new(["dataset".to_owned(), stats.name.clone()]);
    let counts = [
        ("users", u64::from(stats.users)),
        ("items", u64::from(stats.items)),
        ("events", stats.events),
        ("training events", stats.splits.train),
        ("held out for validation", stats.splits.valid),
        ("held out for test", stats.splits.test),
        ("partitions", u64::from(stats.partitions)),
        ("bytes", stats.bytes),
    ];
    for (name, count) in counts {
        table.row([name.to_owned(), grouped(count)]);
    }
    table.row(["density".to_owned(), format!("{:.6}", stats.density)]);
    table.row(["share of the top tenth of items".to_owned(), format!("{:.3}", stats.top_tenth_share)]);
    table.row(["largest partition over the mean".to_owned(), format!("{:.2}", stats.partition_skew)]);
    let lengths = &stats.lengths;
    let quantiles =
        [lengths.min, lengths.p25, lengths.median, lengths.p75, lengths.p95, lengths.p99, lengths.max];
    let quantiles: Vec<String> = quantiles.iter().map(ToString::to_string).collect();
    let mut text = format!(
        "{}\n\n  events of a user, min p25 median p75 p95 p99 max: {}",
        table.render(),
        quantiles.join(" ")
    );
    if let Some((first, last)) = stats.time_range {
        let days = (last - first) as f64 / 86_400_000.0;
        let (first, last) = (format_iso8601(first), format_iso8601(last));
        text.push_str(&format!("\n  from {first} to {last}, {days:.1} days"));
    }
    text
}

fn popularity(stats: &Stats) -> String {
    let mut table = Table::new(["top items", "share of events"]);
    for point in &stats.popularity {
        table.row([percent(point.items), percent(point.events)]);
    }
    table.render()
}

fn event_types(stats: &Stats) -> String {
    let mut table = Table::new(["event type", "events", "share"]);
    for (name, count) in &stats.event_types {
        table.row([name.clone(), grouped(*count), percent(*count as f64 / stats.events as f64)]);
    }
    table.render()
}

fn distances(drift: &Drift) -> String {
    let mut table = Table::new([format!("against {}", drift.against), "PSI".into(), "JS, bits".into()]);
    let rows: [(&str, Option<Distance>); 3] = [
        ("popularity of items", drift.popularity),
        ("event types", drift.event_types),
        ("hours of the day", drift.hours),
    ];
    for (name, distance) in rows {
        let cell = |value: &dyn Fn(Distance) -> f64| {
            distance.map_or_else(String::new, |distance| format!("{:.4}", value(distance)))
        };
        table.row([name.to_owned(), cell(&|d| d.psi), cell(&|d| d.jensen_shannon)]);
    }
    format!(
        "{}\n\n  PSI below 0.1: alike; above 0.25: much has changed\n  items that {} lacks: {}, with {} of the events",
        table.render(),
        drift.against,
        percent(drift.unknown_items),
        percent(drift.unknown_events)
    )
}

fn by_week(weeks: &[Week], drift: Option<&Drift>) -> String {
    let unknown = match drift {
        Some(drift) => format!("of items that {} lacks", drift.against),
        None => "of items that are new".to_owned(),
    };
    let mut table = Table::new(["week from".to_owned(), "events".to_owned(), unknown]);
    let shown = weeks.len().min(WEEKS);
    for week in &weeks[weeks.len() - shown..] {
        table.row([week.monday.clone(), grouped(week.events), percent(week.unknown_share())]);
    }
    let mut text = table.render();
    if shown < weeks.len() {
        text.push_str(&format!("\n  {} earlier weeks are in the JSON and the page", weeks.len() - shown));
    }
    text
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

#[cfg(test)]
mod tests;

//! The same as a page with charts.

use muster_data::stats::Week;

use super::numbers::Numbers;
use crate::chart::{Chart, Series, render};
use crate::html;
use crate::output::Report as _;

/// The page of a dataset, in one file.
#[must_use]
pub fn page(numbers: &Numbers) -> String {
    let body = format!("<pre>{}</pre>\n{}", html::escape(&numbers.text()), render(&charts(numbers)));
    html::page(&format!("Dataset: {}", numbers.stats.name), &body)
}

fn charts(numbers: &Numbers) -> Vec<Chart> {
    let stats = &numbers.stats;
    let name = stats.name.clone();
    let curve = stats.popularity.iter().map(|point| (point.items * 100.0, point.events * 100.0));
    let lengths = stats.at_least.iter().map(|point| (f64::from(point.events).log2(), point.users * 100.0));
    let mut hours: Vec<Series> = stats.hours.iter().map(|hours| by_hour(name.clone(), hours)).collect();
    let mut events = vec![by_week(name.clone(), &stats.weeks, |week| week.events as f64)];
    let mut unknown = vec![by_week("items that are new".to_owned(), &stats.weeks, share)];
    if let Some(drift) = &numbers.drift {
        hours.extend(drift.their_hours.iter().map(|hours| by_hour(drift.against.clone(), hours)));
        unknown.push(by_week(format!("items that {} lacks", drift.against), &drift.weeks, share));
    }
    let since = stats.weeks.first().map_or_else(String::new, |week| format!("weeks since {}", week.monday));
    events.retain(|series| !series.points.is_empty());
    vec![
        chart("Popularity", "% of items, the most popular first", vec![series("% of events", curve)]),
        chart("Users with at least 2^x events", "x", vec![series("% of users", lengths)]),
        chart("Events by week", &since, events),
        chart("% of events with unknown items", &since, unknown),
        chart("% of events by hour", "hour of the day, UTC", hours),
    ]
}

fn chart(title: &str, x_label: &str, series: Vec<Series>) -> Chart {
    Chart { title: title.to_owned(), x_label: x_label.to_owned(), series }
}

fn series(name: &str, points: impl Iterator<Item = (f64, f64)>) -> Series {
    Series { name: name.to_owned(), points: points.collect() }
}

fn share(week: &Week) -> f64 {
    week.unknown_share() * 100.0
}

fn by_hour(name: String, hours: &[u64]) -> Series {
    let total = hours.iter().sum::<u64>().max(1) as f64;
    let points = hours.iter().enumerate().map(|(hour, count)| (hour as f64, *count as f64 * 100.0 / total));
    Series { name, points: points.collect() }
}

/// Weeks without events are gaps in the list, so that a place follows from the date.
fn by_week(name: String, weeks: &[Week], value: impl Fn(&Week) -> f64) -> Series {
    let day = |week: &Week| muster_proto::dataset::time::parse_iso8601(&week.monday).unwrap_or_default();
    let first = weeks.first().map_or(0, day);
    let place = |week: &Week| (day(week) - first) as f64 / (7.0 * 86_400_000.0);
    Series { name, points: weeks.iter().map(|week| (place(week), value(week))).collect() }
}

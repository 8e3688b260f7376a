//! Answers as one HTML file: inline SVG, no script, nothing to fetch.

use std::fmt::Write as _;

use muster_core::capacity::Answer;
use muster_core::capacity::goodput::Failures;
use muster_core::cost::Phase;

use super::legend::{self, COLORS};
use super::question::{Answered, PoolAnswer, spoken};
use super::sweep::Swept;
use crate::chart::{Chart, Series, render};
use crate::html::{escape, page};
use crate::output::Report;

/// A page about a question: what each phase takes, scaling, cost over time, goodput over the checkpoint interval.
#[must_use]
pub fn of_question(answered: &Answered) -> String {
    let mut body = format!("<pre>{}</pre>\n", escape(&answered.text()));
    let bars: Vec<&Answer> = answered.pools.iter().filter_map(|pool| pool.whole().as_ref().ok()).collect();
    body.push_str(&stacked(&bars));
    let series = |point: &dyn Fn(&Answer) -> Option<(f64, f64)>| {
        let of_pool = |pool: &PoolAnswer| Series {
            name: pool.pool.name.clone(),
            points: pool.scaling.iter().filter_map(|(_, answer)| point(answer.as_ref().ok()?)).collect(),
        };
        answered.pools.iter().map(of_pool).collect::<Vec<_>>()
    };
    let charts = [
        Chart {
            title: "Hours of a run (P90)".into(),
            x_label: "devices".into(),
            series: series(&|a| Some((f64::from(a.devices), a.simulated.p90 / 3600.0))),
        },
        Chart {
            title: "Samples per second".into(),
            x_label: "devices".into(),
            series: series(&|a| {
                let samples = answered.spec.run.batch as f64;
                Some((f64::from(a.devices), samples / a.step.seconds))
            }),
        },
        Chart {
            title: "Cost of a run".into(),
            x_label: "hours (P90)".into(),
            series: series(&|a| Some((a.simulated.p90 / 3600.0, a.cost?))).into_iter().map(by_x).collect(),
        },
        goodput(answered),
    ];
    body.push_str(&render(&charts));
    page(&format!("Capacity: {}", answered.spec.name), &body)
}

fn by_x(mut series: Series) -> Series {
    series.points.sort_by(|a, b| a.0.total_cmp(&b.0));
    series
}

/// Goodput over the checkpoint interval, from an eighth to eight times Daly's.
fn goodput(answered: &Answered) -> Chart {
    let of_pool = |pool: &PoolAnswer| {
        let answer = pool.whole().as_ref().ok()?;
        let failures = Failures {
            mtbf: pool.pool.mtbf_per_device.as_secs_f64() / f64::from(answer.devices),
            checkpoint: answered.spec.run.checkpoint.as_secs_f64(),
            restart: pool.pool.restart.as_secs_f64(),
        };
        let point = |step: i32| {
            let interval = failures.interval() * 2f64.powf(f64::from(step) / 8.0);
            (interval / 60.0, failures.goodput(interval))
        };
        Some(Series { name: pool.pool.name.clone(), points: (-24..=24).map(point).collect() })
    };
    Chart {
        title: "Goodput".into(),
        x_label: "minutes of work between checkpoints".into(),
        series: answered.pools.iter().filter_map(of_pool).collect(),
    }
}

/// One bar a pool: the seconds of a step, phase upon phase.
fn stacked(answers: &[&Answer]) -> String {
    let longest = answers.iter().map(|answer| answer.step.seconds).fold(f64::MIN_POSITIVE, f64::max);
    let height = 34 * answers.len() + 60;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"720\" height=\"{height}\" viewBox=\"0 0 720 {height}\" font-family=\"system-ui, \
         sans-serif\" font-size=\"12\" fill=\"#374151\">\n<text x=\"10\" y=\"18\" font-size=\"15\" font-weight=\"600\">A step, by phase</text>\n"
    );
    legend::add(&mut svg, Phase::ALL, 28);
    for (row, answer) in answers.iter().enumerate() {
        let y = 46 + 34 * row;
        let mut x = 130.0;
        let _ = writeln!(
            svg,
            "<text x=\"122\" y=\"{}\" text-anchor=\"end\">{}</text>",
            y + 16,
            escape(&answer.pool)
        );
        for (idx, phase) in Phase::ALL.into_iter().enumerate() {
            let width = 480.0 * answer.step.phases.get(phase) / longest;
            let _ = writeln!(
                svg,
                "<rect x=\"{x:.2}\" y=\"{y}\" width=\"{width:.2}\" height=\"24\" fill=\"{}\"><title>{} {}</title></rect>",
                COLORS[idx],
                phase.name(),
                spoken(answer.step.phases.get(phase))
            );
            x += width;
        }
        let _ = writeln!(
            svg,
            "<text x=\"{:.2}\" y=\"{}\">{}</text>",
            x + 6.0,
            y + 16,
            spoken(answer.step.seconds)
        );
    }
    svg.push_str("</svg>\n");
    svg
}

/// A page about a sweep: its table, and lines over the last field where its values are numbers.
#[must_use]
pub fn of_sweep(swept: &Swept) -> String {
    let mut body = format!("<pre>{}</pre>\n", escape(&swept.text()));
    let chart = |title: &str, value: &dyn Fn(&Answer) -> Option<f64>| {
        let mut series: Vec<Series> = Vec::new();
        for row in &swept.rows {
            let Some((last, others)) = row.values.split_last() else { continue };
            let (Ok(x), Ok(answer)) = (last.parse::<f64>(), &row.answer) else { continue };
            let Some(y) = value(answer) else { continue };
            let name = std::iter::once(row.pool.as_str()).chain(others.iter().map(String::as_str));
            let name = name.collect::<Vec<_>>().join(" ");
            match series.iter_mut().find(|known| known.name == name) {
                Some(known) => known.points.push((x, y)),
                None => series.push(Series { name, points: vec![(x, y)] }),
            }
        }
        let x_label = swept.fields.last().cloned().unwrap_or_default();
        Chart { title: title.to_owned(), x_label, series: series.into_iter().map(by_x).collect() }
    };
    body.push_str(&render(&[
        chart("Step, ms", &|answer| Some(answer.step.seconds * 1e3)),
        chart("Hours of a run (P90)", &|answer| Some(answer.simulated.p90 / 3600.0)),
        chart("Cost of a run", &|answer| answer.cost),
    ]));
    page("Capacity sweep", &body)
}

//! What was measured, as Markdown: tables, and curves in the language of Mermaid.

use std::time::Duration;

use crate::generation::Took;

/// What was measured with so many workers.
pub(crate) struct Row {
    pub(crate) workers: usize,
    /// Until all had a session.
    pub(crate) opened: Duration,
    /// From a heartbeat to its acknowledgement: median, 99 of 100, all.
    pub(crate) latency: [Duration; 3],
    /// Of the coordinator, in parts of a core.
    pub(crate) cpu: f64,
    pub(crate) memory_mib: f64,
    /// That the core took in, a second.
    pub(crate) events: f64,
    pub(crate) generations: [Took; 2],
}

/// Prints all rows.
pub(crate) fn print(rows: &[Row]) {
    println!("| workers | all in session | p50 | p99 | max | coordinator's CPU | its memory | events/s |");
    println!("|---|---|---|---|---|---|---|---|");
    for row in rows {
        let [p50, p99, max] = row.latency.map(ms);
        println!(
            "| {} | {:.1} s | {p50:.1} ms | {p99:.1} ms | {max:.1} ms | {:.0} % | {:.0} MiB | {:.0} |",
            row.workers,
            row.opened.as_secs_f64(),
            row.cpu * 100.0,
            row.memory_mib,
            row.events
        );
    }
    for (index, name) in ["the first generation", "a change of one worker"].iter().enumerate() {
        println!("\n| {name}: workers | told to all | acknowledged by all | coordinator's CPU | told |");
        println!("|---|---|---|---|---|");
        for row in rows {
            let took = row.generations[index];
            let (told, all, cpu) = (ms(took.announced), ms(took.begun), ms(took.cpu));
            let mib = mib(took);
            println!("| {} | {told:.0} ms | {all:.0} ms | {cpu:.0} ms | {mib:.2} MiB |", row.workers);
        }
    }
    curve(rows, "CPU of the coordinator, % of a core", |row| row.cpu * 100.0);
    curve(rows, "a change of one worker, ms until all acknowledged", |row| ms(row.generations[1].begun));
    curve(rows, "told for a change of one worker, MiB", |row| mib(row.generations[1]));
    curve(rows, "told for the first generation, MiB", |row| mib(row.generations[0]));
}

fn curve(rows: &[Row], title: &str, value: impl Fn(&Row) -> f64) {
    let workers: Vec<String> = rows.iter().map(|row| row.workers.to_string()).collect();
    let values: Vec<String> = rows.iter().map(|row| format!("{:.2}", value(row))).collect();
    println!(
        "\n```mermaid\nxychart-beta\n  title \"{title}\"\n  x-axis \"workers\" [{}]",
        workers.join(", ")
    );
    println!("  line [{}]\n```", values.join(", "));
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn mib(took: Took) -> f64 {
    took.bytes as f64 / f64::from(1 << 20)
}

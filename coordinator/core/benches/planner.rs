//! What a plan costs to make: seconds, certified gap and peak memory by number of tables and devices, on synthetic tables.
//!
//! `cargo bench -p muster-core --bench planner` prints the curve; numbers in pairs (`1000 1000 100000 10000`) choose its points,
//! names of files with ready-made options are solved instead. Peak memory is that of the process so far (`VmHWM`).

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measurement takes the time and ends where it cannot be made"
)]

use std::time::Instant;

use muster_core::planner::{
    Choice, Cluster, Demand, Effort, Layout, Problem, Run, Table, options_file, plan, verify,
};

const CURVE: [(usize, usize); 7] =
    [(26, 8), (856, 128), (1_000, 1_000), (2_002, 512), (10_000, 1_000), (100_000, 1_000), (100_000, 10_000)];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    println!(
        "{:>8} {:>8} {:>9} {:>10} {:>10} {:>8} {:>9}  proof",
        "tables", "devices", "seconds", "cost", "bound", "gap %", "peak MiB"
    );
    let files: Vec<&String> = args.iter().filter(|arg| arg.ends_with(".json")).collect();
    for file in &files {
        let text = std::fs::read_to_string(file).unwrap();
        let start = Instant::now();
        let problem = options_file::parse(&text).unwrap();
        measure(&problem, start);
    }
    let numbers: Vec<usize> = args.iter().filter_map(|arg| arg.parse().ok()).collect();
    let points: Vec<(usize, usize)> = numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
    let points = if points.is_empty() && files.is_empty() { CURVE.to_vec() } else { points };
    for (tables, devices) in points {
        let problem = synthetic(tables, devices);
        measure(&problem, Instant::now());
    }
}

fn measure(problem: &Problem, start: Instant) {
    let found = plan(problem, Effort::default()).unwrap();
    let seconds = start.elapsed().as_secs_f64();
    verify(problem, &found).unwrap();
    println!(
        "{:>8} {:>8} {seconds:>9.4} {:>10.5} {:>10.5} {:>8.4} {:>9}  {}",
        problem.tables().len(),
        problem.world_size(),
        found.cost,
        found.bound,
        100.0 * found.gap(),
        peak_mib(),
        found.proof.as_str()
    );
}

/// Tables with costs spread over four octaves, each table-wise, in two, four and eight columns, over a node or everywhere.
fn synthetic(tables: usize, devices: usize) -> Problem {
    let node = if devices.is_multiple_of(8) { 8 } else { 1 };
    let cluster = Cluster::uniform(devices, node, 64 << 30).unwrap();
    let mut seed = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed >> 11) as f64 / (1u64 << 53) as f64
    };
    let tables = (0..tables)
        .map(|idx| {
            let (cost, memory) = (2f64.powf(4.0 * random()) * 0.1, 2f64.powf(6.0 * random()) * 16e6);
            let piece = |name: &'static str, layout, pieces: usize, waste: f64| Choice {
                name: name.into(),
                layout,
                runs: vec![Run {
                    pieces,
                    cost: [cost * waste / pieces as f64].into(),
                    memory: (memory / pieces as f64) as u64,
                }],
            };
            let mut options = vec![
                piece("table_wise", Layout::AnyRank, 1, 1.0),
                piece("column_wise_2", Layout::AnyRank, 2, 1.05),
                piece("column_wise_4", Layout::AnyRank, 4, 1.12),
                piece("column_wise_8", Layout::AnyRank, 8, 1.2),
                piece("row_wise", Layout::EveryRank, devices, 1.5),
            ];
            if node > 1 {
                options.push(piece("table_row_wise", Layout::WholeNodes, node, 1.3));
            }
            Table { name: format!("t{idx:06}"), options, demand: Demand::default() }
        })
        .collect();
    Problem::new(cluster, 1, tables).unwrap()
}

fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) / 1024
}

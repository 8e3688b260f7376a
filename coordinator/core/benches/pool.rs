//! How long a pass over the queue takes: `cargo bench -p muster-core --bench pool -- 1000 10000`. Prints a JSON line for
//! each number of jobs that wait. Without arguments (as CI calls it) it does nothing.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![allow(clippy::disallowed_methods, reason = "a benchmark looks at the clock")]

use std::time::{Duration, Instant};

use muster_core::pool::{Class, Policy, Problem, Running, Waiting, solve, verify};
use muster_proto::checkpoint::mix;
use muster_proto::ids::JobId;

fn main() {
    for jobs in std::env::args().skip(1).filter_map(|arg| arg.parse::<u64>().ok()) {
        let draw = |job: u64, what: u64, below: u64| mix(job * 31 + what) % below;
        let class = |job| Class::ALL[draw(job, 1, 3) as usize];
        let team = |job| format!("team-{}", draw(job, 2, 50));
        let waiting: Vec<Waiting> = (1..=jobs)
            .map(|job| {
                let min = 1 + draw(job, 3, 64) as u32;
                let waited = Duration::from_secs(draw(job, 4, 500));
                Waiting {
                    job: JobId(job),
                    class: class(job),
                    team: team(job),
                    min,
                    max: 2 * min,
                    waited,
                    expected: Some(10 * waited),
                }
            })
            .collect();
        let running: Vec<Running> = (1..=1000)
            .map(|job| {
                let (number, held) = (jobs + job, 4 + draw(job, 3, 8) as u32);
                let (min, max, ran) = (held / 2, held, Duration::from_secs(draw(job, 4, 10_000)));
                Running {
                    job: JobId(number),
                    class: class(job),
                    team: team(job),
                    held,
                    leaving: 0,
                    min,
                    max,
                    ran,
                    expected: Some(ran),
                    stopped: 0,
                }
            })
            .collect();
        let policy = Policy::default();
        let problem = Problem { free: 100, running: &running, waiting: &waiting, policy: &policy };
        let mut seconds: Vec<f64> = (0..9)
            .map(|_| {
                let begun = Instant::now();
                std::hint::black_box(solve(&problem));
                begun.elapsed().as_secs_f64()
            })
            .collect();
        seconds.sort_by(f64::total_cmp);
        let solution = solve(&problem);
        verify(&problem, &solution).expect("an answer holds");
        println!(
            "{{\"waiting\": {jobs}, \"running\": {}, \"starts\": {}, \"stops\": {}, \"milliseconds\": {:.3}}}",
            running.len(),
            solution.starts.len(),
            solution.stops.len(),
            seconds[4] * 1e3
        );
    }
}

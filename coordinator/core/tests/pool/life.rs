//! The life of a pool: jobs come, run, are stopped and go on, until all have ended.

use std::collections::BTreeMap;
use std::time::Duration;

use muster_core::pool::{Class, Policy, Problem, Running, Waiting, solve, verify};
use muster_proto::checkpoint::mix;
use muster_proto::ids::JobId;

const WORKERS: u32 = 64;
const JOBS: u64 = 500;
/// Seconds until a job that is stopped has its checkpoint, or gives back what it can spare.
const GIVING_BACK: u64 = 20;

/// A job's whole life; times in seconds.
#[derive(Debug, Clone)]
struct Job {
    waits: Waiting,
    comes: u64,
    /// Worker seconds still to do.
    work: f64,
    /// Seconds that its forecast is off by, for each one of the truth.
    error: f64,
    queued_at: u64,
    started: Option<u64>,
    ended: Option<u64>,
    stopped: u32,
}

impl Job {
    /// What its forecast says, which is up to 30 % too short and 70 % too long.
    fn expected(&self, workers: u32) -> Option<Duration> {
        Some(Duration::from_secs_f64(self.work.max(0.0) * self.error / f64::from(workers.max(1))))
    }
}

fn jobs() -> BTreeMap<JobId, Job> {
    let job = |number: u64| {
        let draw = |what: u64, below: u64| mix(number * 31 + what) % below;
        let class = [Class::Manual, Class::Scheduled, Class::Scheduled, Class::Backfill][draw(1, 4) as usize];
        let min = [1, 1, 1, 2, 2, 2, 4, 4, 4, 8, 8, 8, 16, 16, 32, 64][draw(2, 16) as usize];
        let max = (min * (1 + draw(3, 3) as u32)).min(WORKERS);
        let team = ["ads", "feed", "shop"][draw(4, 3) as usize].to_owned();
        let work = f64::from(min) * (60 + draw(5, 1200)) as f64;
        let (job, waited, comes) = (JobId(number + 1), Duration::ZERO, draw(6, 40_000));
        let waits = Waiting { job, class, team, min, max, waited, expected: None };
        let error = 0.7 + draw(7, 100) as f64 / 100.0;
        (job, Job { waits, comes, work, error, queued_at: comes, started: None, ended: None, stopped: 0 })
    };
    (0..JOBS).map(job).collect()
}

/// What the pool did, for the assertions.
#[derive(Debug, Default)]
struct Seen {
    busy: f64,
    stops: u32,
    end: u64,
    idle_beside_a_queue: f64,
}

#[derive(Debug)]
struct Pool {
    jobs: BTreeMap<JobId, Job>,
    running: Vec<Running>,
    /// When what each gives back is free.
    back: BTreeMap<JobId, u64>,
    policy: Policy,
    seen: Seen,
}

impl Pool {
    fn free(&self) -> u32 {
        WORKERS - self.running.iter().map(|running| running.held).sum::<u32>()
    }

    fn waiting(&self, now: u64) -> Vec<Waiting> {
        let is_here = |job: &&Job| job.comes <= now && job.started.is_none();
        let job = |job: &Job| Waiting {
            waited: Duration::from_secs(now - job.queued_at),
            expected: job.expected(job.waits.min),
            ..job.waits.clone()
        };
        self.jobs.values().filter(is_here).map(job).collect()
    }

    /// One second: work is done, workers come back, a pass is made.
    fn second(&mut self, now: u64) {
        for running in &mut self.running {
            let job = self.jobs.get_mut(&running.job).unwrap();
            job.work -= f64::from(running.keeps());
            running.ran += Duration::from_secs(1);
            running.expected = job.expected(running.held);
            self.seen.busy += f64::from(running.keeps());
            if job.work <= 0.0 {
                job.ended = Some(now);
                self.seen.end = now;
                self.back.remove(&running.job);
                running.held = 0;
            } else if self.back.get(&running.job).is_some_and(|back| *back <= now) {
                self.back.remove(&running.job);
                running.held = running.keeps();
                running.leaving = 0;
                if running.held == 0 {
                    (job.started, job.queued_at) = (None, now);
                    job.stopped += 1;
                }
            }
        }
        self.running.retain(|running| running.held > 0);
        let (free, waiting) = (self.free(), self.waiting(now));
        let problem = Problem { free, running: &self.running, waiting: &waiting, policy: &self.policy };
        let solution = solve(&problem);
        assert_eq!(verify(&problem, &solution), Ok(()), "at {now}: {problem:?} {solution:?}");
        for stop in &solution.stops {
            let running = self.running.iter_mut().find(|running| running.job == stop.job).unwrap();
            running.leaving = running.held - stop.keeps;
            self.back.insert(stop.job, now + GIVING_BACK);
            self.seen.stops += u32::from(stop.keeps == 0);
        }
        for grow in &solution.grows {
            self.running.iter_mut().find(|running| running.job == grow.job).unwrap().held = grow.workers;
        }
        for start in &solution.starts {
            let job = self.jobs.get_mut(&start.job).unwrap();
            job.started = Some(now);
            let Waiting { job: id, class, team, min, max, .. } = job.waits.clone();
            let (held, stopped) = (start.workers, job.stopped);
            assert!(held >= min && held <= max, "a partial gang");
            self.running.push(Running {
                job: id,
                class,
                team,
                held,
                leaving: 0,
                min,
                max,
                ran: Duration::ZERO,
                expected: None,
                stopped,
            });
        }
        if !solution.waits.is_empty() {
            self.seen.idle_beside_a_queue += f64::from(self.free());
        }
    }
}

#[test]
fn five_hundred_jobs_on_64_workers_all_end_in_gangs_and_the_pool_is_well_used() {
    let policy = Policy { quotas: [("ads".to_owned(), 64)].into(), ..Policy::default() };
    let (jobs, running, back, seen) = (jobs(), Vec::new(), BTreeMap::new(), Seen::default());
    let work: f64 = jobs.values().map(|job| job.work).sum();
    let mut pool = Pool { jobs, running, back, policy, seen };
    let mut now = 0;
    while pool.jobs.values().any(|job| job.ended.is_none()) {
        now += 1;
        pool.second(now);
        assert!(now < 400_000, "some job never ends: {:?}", pool.waiting(now));
    }
    let longest = |class: Class| {
        let jobs = pool.jobs.values().filter(|job| job.waits.class == class && job.waits.min <= 16);
        jobs.map(|job| job.ended.unwrap() - job.comes).max().unwrap()
    };
    // No schedule ends before all work is done by all workers, nor before the last job came.
    let bound = (work / f64::from(WORKERS)).max(40_000.0);
    let used = bound / pool.seen.end as f64;
    println!(
        "ended at {} s, bound {bound:.0} s: {:.1} % of it; {} stopped; {:.1} % of worker time idle beside a queue; longest {:?}",
        pool.seen.end,
        used * 100.0,
        pool.seen.stops,
        pool.seen.idle_beside_a_queue / (f64::from(WORKERS) * pool.seen.end as f64) * 100.0,
        Class::ALL.map(longest)
    );
    assert!(used > 0.7, "the pool is used to {used} of the bound");
    assert!(pool.jobs.values().all(|job| job.stopped <= pool.policy.max_stops));
    assert!(longest(Class::Manual) <= longest(Class::Backfill));
}

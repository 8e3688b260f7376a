//! Numbers for Prometheus, in its text format.

mod fleet;

use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use muster_core::retrain::view::FleetView;
use muster_proto::control::{Cause, Class, EventKind, JobEvent, JobPhase, JobStatus, WorkerStatus};
use muster_proto::ids::JobId;
use tracing::{info, warn};

/// What is counted while the coordinator runs.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) events: AtomicU64,
    pub(crate) sessions: AtomicU64,
    pub(crate) open_sessions: AtomicU64,
    pub(crate) refused: AtomicU64,
    /// 1 while this coordinator leads.
    pub(crate) leads: AtomicU64,
    /// How often it took the lead.
    pub(crate) terms: AtomicU64,
    commits: AtomicU64,
    commit_nanos: AtomicU64,
    workers_lost: AtomicU64,
    incidents: AtomicU64,
    down_nanos: AtomicU64,
    steps_redone: AtomicU64,
}

impl Counters {
    pub(crate) fn committed(&self, took: Duration) {
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.commit_nanos.fetch_add(took.as_nanos() as u64, Ordering::Relaxed);
    }

    /// Counts and logs what happened to a job.
    pub(crate) fn published(&self, job: JobId, event: &JobEvent) {
        let generation = event.generation.0;
        match &event.kind {
            EventKind::PhaseChanged { phase, reason } => {
                info!(%job, generation, %phase, reason, "phase changed");
            }
            EventKind::WorkerLost { worker, rank, reason } => {
                self.workers_lost.fetch_add(1, Ordering::Relaxed);
                warn!(%job, generation, %worker, rank = rank.0, reason, "worker lost");
            }
            EventKind::CheckpointSaved { step, manifest } => {
                info!(%job, generation, step = step.0, manifest, "checkpoint saved");
            }
            EventKind::Incident { incident } => {
                self.incidents.fetch_add(1, Ordering::Relaxed);
                self.down_nanos.fetch_add(incident.downtime().as_nanos() as u64, Ordering::Relaxed);
                self.steps_redone.fetch_add(incident.steps_redone, Ordering::Relaxed);
                info!(
                    %job, generation, planned = incident.planned, before = incident.before, after = incident.after,
                    downtime = ?incident.downtime(), steps_redone = incident.steps_redone, reason = incident.reason,
                    "went on with other workers"
                );
            }
            EventKind::Finished { .. } => info!(%job, generation, "job finished"),
            EventKind::Failed { error } => warn!(%job, generation, error, "job failed"),
            EventKind::Cancelled => info!(%job, generation, "job cancelled"),
            EventKind::Progress(_) | EventKind::Missed { .. } => {}
        }
    }
}

/// Everything there is to show.
pub(crate) struct Page<'a> {
    pub(crate) counters: &'a Counters,
    pub(crate) jobs: &'a [JobStatus],
    pub(crate) workers: &'a [WorkerStatus],
    pub(crate) fleet: &'a FleetView,
}

const PHASES: [JobPhase; 9] = [
    JobPhase::Gathering,
    JobPhase::Planning,
    JobPhase::Loading,
    JobPhase::Training,
    JobPhase::Recovering,
    JobPhase::Draining,
    JobPhase::Finished,
    JobPhase::Failed,
    JobPhase::Cancelled,
];

impl Page<'_> {
    /// The page in Prometheus' text format.
    pub(crate) fn render(&self) -> String {
        let mut page = String::new();
        self.write(&mut page).expect("writing to a string does not fail");
        page
    }

    fn write(&self, page: &mut String) -> fmt::Result {
        let counters = self.counters;
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
        head(page, "muster_workers", "gauge", "Workers that are known, by what they do.")?;
        for (state, size) in self.worker_states() {
            writeln!(page, "muster_workers{{state=\"{state}\"}} {size}")?;
        }
        head(page, "muster_jobs", "gauge", "Jobs that are remembered, by phase.")?;
        for phase in PHASES {
            let size = self.jobs.iter().filter(|job| job.phase == phase).count();
            writeln!(page, "muster_jobs{{phase=\"{phase}\"}} {size}")?;
        }
        head(page, "muster_jobs_queued", "gauge", "Jobs that wait for workers, by class.")?;
        for class in Class::ALL {
            let waits = |job: &&JobStatus| job.place.is_some() && job.queueing.class == class;
            writeln!(
                page,
                "muster_jobs_queued{{class=\"{class}\"}} {}",
                self.jobs.iter().filter(waits).count()
            )?;
        }
        self.write_progress(page)?;
        fleet::write(page, self.fleet)?;
        let totals = [
            ("muster_events_total", "Events that the core took in.", count(&counters.events)),
            ("muster_sessions_total", "Sessions that workers opened.", count(&counters.sessions)),
            (
                "muster_workers_lost_total",
                "Workers that were lost with a rank.",
                count(&counters.workers_lost),
            ),
            (
                "muster_incidents_total",
                "Changes of a job's workers that are over.",
                count(&counters.incidents),
            ),
            (
                "muster_incident_seconds_total",
                "Time in which changes of workers kept jobs from new steps.",
                count(&counters.down_nanos) / 1e9,
            ),
            (
                "muster_steps_redone_total",
                "Steps that were made a second time.",
                count(&counters.steps_redone),
            ),
            ("muster_claims_refused_total", "Claims that were out of date.", count(&counters.refused)),
            ("muster_terms_total", "Times that this coordinator took the lead.", count(&counters.terms)),
            ("muster_commits_total", "Commits to the store.", count(&counters.commits)),
            ("muster_commit_seconds_total", "Time of those commits.", count(&counters.commit_nanos) / 1e9),
        ];
        for (name, help, value) in totals {
            head(page, name, "counter", help)?;
            writeln!(page, "{name} {value}")?;
        }
        head(page, "muster_sessions", "gauge", "Sessions that are open.")?;
        writeln!(page, "muster_sessions {}", count(&counters.open_sessions))?;
        head(page, "muster_leads", "gauge", "1 while this coordinator leads, 0 while it follows.")?;
        writeln!(page, "muster_leads {}", count(&counters.leads))
    }

    fn worker_states(&self) -> [(&'static str, usize); 4] {
        let count = |matches: fn(&WorkerStatus) -> bool| self.workers.iter().filter(|w| matches(w)).count();
        [
            (
                "idle",
                count(|worker| worker.connected && worker.assignment.is_none() && worker.task.is_none()),
            ),
            ("assigned", count(|worker| worker.connected && worker.assignment.is_some())),
            ("on a task", count(|worker| worker.connected && worker.task.is_some())),
            ("disconnected", count(|worker| !worker.connected)),
        ]
    }

    fn write_progress(&self, page: &mut String) -> fmt::Result {
        let running = || self.jobs.iter().filter(|job| !job.phase.is_ended());
        let progress = || running().filter_map(|job| Some((job.job, job.progress.as_ref()?)));
        head(page, "muster_job_generation", "gauge", "The generation of each job that has not ended.")?;
        for job in running() {
            writeln!(page, "muster_job_generation{{job=\"{}\"}} {}", job.job, job.generation)?;
        }
        head(page, "muster_job_step", "gauge", "Optimizer updates of each job that has not ended.")?;
        for (job, progress) in progress() {
            writeln!(page, "muster_job_step{{job=\"{job}\"}} {}", progress.step)?;
        }
        head(page, "muster_job_loss", "gauge", "Loss of the last step.")?;
        for (job, progress) in progress() {
            writeln!(page, "muster_job_loss{{job=\"{job}\"}} {}", progress.loss)?;
        }
        head(page, "muster_job_tokens_per_second", "gauge", "Target positions over seconds of steps.")?;
        for (job, progress) in progress() {
            writeln!(page, "muster_job_tokens_per_second{{job=\"{job}\"}} {}", progress.tokens_per_second)?;
        }
        self.write_spent(page)
    }

    /// Of all jobs that are remembered: what a job's time went into is asked most when it has ended.
    fn write_spent(&self, page: &mut String) -> fmt::Result {
        head(page, "muster_job_seconds", "gauge", "Time of each job, by what it was spent on.")?;
        for job in self.jobs {
            for cause in Cause::ALL {
                let (id, seconds) = (job.job, job.spent.on(cause).as_secs_f64());
                writeln!(page, "muster_job_seconds{{job=\"{id}\",cause=\"{cause}\"}} {seconds}")?;
            }
        }
        head(
            page,
            "muster_job_straggler_ratio",
            "gauge",
            "Time of a step that the slowest rank computes over the median rank's, where it is much.",
        )?;
        for (job, slow) in self.jobs.iter().filter_map(|job| Some((job.job, job.straggler?))) {
            let (rank, worker, ratio) = (slow.rank, slow.worker, slow.own_seconds / slow.median_seconds);
            writeln!(
                page,
                "muster_job_straggler_ratio{{job=\"{job}\",rank=\"{rank}\",worker=\"{worker}\"}} {ratio}"
            )?;
        }
        Ok(())
    }
}

fn head(page: &mut String, name: &str, kind: &str, help: &str) -> fmt::Result {
    writeln!(page, "# HELP {name} {help}\n# TYPE {name} {kind}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_coordinator_shows_every_phase_and_counter_with_help() {
        let page =
            Page { counters: &Counters::default(), jobs: &[], workers: &[], fleet: &FleetView::default() }
                .render();
        assert!(page.contains("muster_jobs{phase=\"training\"} 0\n"), "{page}");
        assert!(page.contains("muster_workers{state=\"idle\"} 0\n"), "{page}");
        for line in page.lines().filter(|line| !line.starts_with('#')) {
            let name = line.split(['{', ' ']).next().unwrap();
            assert!(page.contains(&format!("# HELP {name} ")), "{name} is not explained");
        }
    }
}

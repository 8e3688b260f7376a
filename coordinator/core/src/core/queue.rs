//! Who gets workers: for each kind of worker the pool says, and what it says is carried out.
//!
//! A kind are workers that compute alike: a device and its numerics. A job waits for one kind: of those that suit it, one that
//! has enough free workers, else the largest. A job that may mix numerics, and that no kind alone is enough for, takes what the
//! others leave.

use std::collections::BTreeMap;
use std::time::Duration;

use muster_proto::control::{DeviceKind, EventKind, JobPhase};
use muster_proto::ids::{JobId, WorkerId};

use super::generations::candidate;
use super::{Core, Outbox};
use crate::explain::NotReady;
use crate::job::Job;
use crate::membership::{Hold, Worker};
use crate::phase::{Candidate, Phase};
use crate::pool::{Blocked, Class, Policy, Problem, Running, Solution, Waiting, solve};
use crate::record::Cordon;
use crate::time::Time;

/// What workers that compute alike have in common.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    device: DeviceKind,
    numerics: String,
}

impl Kind {
    fn of(worker: &Worker) -> Self {
        let capabilities = &worker.capabilities;
        Self { device: capabilities.device, numerics: capabilities.numerics.clone() }
    }

    /// Whether a worker is of this kind.
    fn has(&self, worker: &Worker) -> bool {
        let capabilities = &worker.capabilities;
        capabilities.device == self.device && capabilities.numerics == self.numerics
    }

    /// Whether a job's ranks may be of this kind.
    fn suits(&self, job: &Job) -> bool {
        job.submission.device.is_none_or(|device| device == self.device)
            && job.state.numerics.as_ref().is_none_or(|numerics| *numerics == self.numerics)
    }
}

/// Workers of a kind.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    /// That could be given ranks if they had none.
    all: u32,
    /// Without work.
    free: u32,
}

/// Jobs that wait, by the kind that they wait for.
#[derive(Debug, Default)]
struct Lines {
    of_kind: BTreeMap<Kind, Vec<JobId>>,
    /// Those that no kind is enough for.
    others: Vec<JobId>,
}

impl Core {
    /// Gives workers to the jobs that wait, and those that nobody waits for to jobs that have fewer than they want.
    pub(super) fn gather(&mut self, now: Time, out: &mut Outbox) {
        let kinds = self.kinds();
        let lines = self.lines(&kinds);
        for (kind, mut count) in kinds {
            let mut granted = self.restore_losses(&kind, &mut count);
            let waiting = lines.of_kind.get(&kind).map_or(&[][..], Vec::as_slice);
            let solution = self.pass(now, (&kind, count), waiting);
            granted.extend(solution.grows.iter().map(|grown| (grown.job, grown.workers)));
            self.carry_out(now, &kind, &solution, out);
            for (job, ranks) in granted {
                self.resize(now, job, Some(ranks), out);
            }
        }
        for id in lines.others {
            self.serve_from_all(now, id, out);
        }
        let trains = |(id, job): (&JobId, &Job)| (job.phase() == JobPhase::Training).then_some(*id);
        let training: Vec<JobId> = self.jobs.iter().filter_map(trains).collect();
        for id in training {
            self.resize(now, id, None, out);
        }
    }

    /// Starts a job that no kind is enough for on what is free, if it may mix numerics, or says what is missing.
    fn serve_from_all(&mut self, now: Time, id: JobId, out: &mut Outbox) {
        let idle: Vec<Candidate<'_>> = self.idle().map(|(id, known)| candidate(id, known)).collect();
        let job = &self.jobs[&id];
        let (team, need) = (&job.submission.queueing.team, job.needed());
        let left = self.config.pool.quota(team).saturating_sub(self.held_by(team));
        match self.choose_of(id, &idle) {
            Err(reason) => self.explain(id, self.told(reason), None, out),
            Ok(_) if need > left => self.explain(id, self.over_quota(team, need), None, out),
            Ok(mut workers) => {
                workers.truncate(left as usize);
                self.start(now, id, &workers, out);
            }
        }
    }

    fn start(&mut self, now: Time, id: JobId, workers: &[WorkerId], out: &mut Outbox) {
        if let Some(job) = self.jobs.get_mut(&id) {
            job.state.granted = workers.len() as u32;
        }
        self.begin(now, id, workers, None, out);
    }

    /// Workers that a team's jobs hold or have a claim to, of all kinds.
    pub(crate) fn held_by(&self, team: &str) -> u32 {
        let of_team = self.jobs.values().filter(|job| job.submission.queueing.team == team);
        of_team.map(Job::granted).sum()
    }

    fn over_quota(&self, team: &str, want: u32) -> NotReady {
        let (quota, held) = (self.config.pool.quota(team), self.held_by(team));
        NotReady::Quota { team: team.to_owned(), quota, held, want }
    }

    fn kinds(&self) -> BTreeMap<Kind, Count> {
        let mut kinds: BTreeMap<Kind, Count> = BTreeMap::new();
        let usable = |worker: &&Worker| worker.session.is_some() && worker.cordon == Cordon::Open;
        for worker in self.members.iter().map(|(_, worker)| worker).filter(usable) {
            kinds.entry(Kind::of(worker)).or_default().all += 1;
        }
        for (_, worker) in self.idle() {
            kinds.entry(Kind::of(worker)).or_default().free += 1;
        }
        kinds
    }

    fn lines(&self, kinds: &BTreeMap<Kind, Count>) -> Lines {
        let mut lines = Lines::default();
        for (id, job) in self.jobs.iter().filter(|(_, job)| job.phase() == JobPhase::Gathering) {
            let need = job.needed();
            let enough = kinds.iter().filter(|(kind, count)| kind.suits(job) && count.all >= need);
            // Of kinds that are as good the first, so that a job does not change its line for nothing.
            let best = enough.min_by_key(|(_, count)| (count.free < need, u32::MAX - count.all));
            match best {
                Some((kind, _)) => lines.of_kind.entry(kind.clone()).or_default().push(*id),
                None => lines.others.push(*id),
            }
        }
        lines
    }

    /// Grants free workers to jobs that have fewer than the pool gave them: ranks by job.
    fn restore_losses(&self, kind: &Kind, count: &mut Count) -> BTreeMap<JobId, u32> {
        let mut granted = BTreeMap::new();
        for (id, job) in &self.jobs {
            let Some(held) = settled(job) else { continue };
            let given = job.granted().saturating_sub(held).min(count.free);
            if given > 0 && self.is_of_kind(job, kind) {
                count.free -= given;
                granted.insert(*id, held + given);
            }
        }
        granted
    }

    /// Whether a job's first rank is of a kind.
    fn is_of_kind(&self, job: &Job, kind: &Kind) -> bool {
        let first = job.state.phase.assignment().and_then(|held| held.members.first());
        first.and_then(|member| self.members.get(member.worker)).is_some_and(|worker| kind.has(worker))
    }

    /// Asks the pool about one kind.
    fn pass(&self, now: Time, (kind, count): (&Kind, Count), waiting: &[JobId]) -> Solution {
        let waiting: Vec<Waiting> = waiting.iter().map(|id| waits(*id, &self.jobs[id], now)).collect();
        let mut running = Vec::new();
        let is_of_kind = |(_, worker): &(WorkerId, &Worker)| kind.has(worker);
        let is_free_soon = |hold| matches!(hold, Hold::Stopping { .. } | Hold::Task { .. });
        let of_kind = self.members.iter().filter(is_of_kind);
        let free_soon = of_kind.filter(|(_, worker)| is_free_soon(worker.hold)).count() as u32;
        for (id, job) in &self.jobs {
            // Ranks that stopped for the next generation are held too.
            let assignment = job.state.phase.assignment();
            let members = assignment.into_iter().flat_map(|assignment| &assignment.members);
            let known = members.filter_map(|member| self.members.get(member.worker));
            let held = known.filter(|worker| kind.has(worker)).count() as u32;
            if held > 0 {
                running.push(runs(*id, job, held, now));
            }
        }
        // Workers of a job that has ended, and that have not said so yet, are as good as given back, and so are those that have a
        // task: it is short, and no other one follows while a job could begin.
        running.extend((free_soon > 0).then(|| given_back(free_soon)));
        let policy = &self.policy_beside(&running);
        solve(&Problem { free: count.free, running: &running, waiting: &waiting, policy })
    }

    /// The rules, with quotas less what teams hold or have a claim to beside those that run on this kind.
    fn policy_beside(&self, running: &[Running]) -> Policy {
        let mut policy = self.config.pool.clone();
        for (team, quota) in &mut policy.quotas {
            let here: u32 = running.iter().filter(|job| job.team == *team).map(|job| job.held).sum();
            *quota = quota.saturating_sub(self.held_by(team).saturating_sub(here));
        }
        policy
    }

    fn carry_out(&mut self, now: Time, kind: &Kind, solution: &Solution, out: &mut Outbox) {
        for start in &solution.starts {
            let free: Vec<WorkerId> = self
                .idle()
                .filter(|(_, worker)| kind.has(worker))
                .map(|(id, _)| id)
                .take(start.workers as usize)
                .collect();
            self.start(now, start.job, &free, out);
        }
        for stop in &solution.stops {
            self.give_back(now, stop, out);
        }
        for wait in &solution.waits {
            let reason = match &wait.why {
                Blocked::TooLarge { min, workers: have } | Blocked::TooFew { min, free: have } => self
                    .told(NotReady::TooFewWorkers { have: *have as usize, want: *min as usize, others: 0 }),
                Blocked::Quota { team, min, .. } => self.over_quota(team, *min),
                Blocked::Promised { min, kept } => NotReady::Promised { want: *min, kept: *kept },
                Blocked::Behind { job } => NotReady::Behind { job: *job },
            };
            self.explain(wait.job, reason, Some(wait.place), out);
        }
    }

    /// A reason, with the workers that are not idle counted.
    fn told(&self, reason: NotReady) -> NotReady {
        match reason {
            NotReady::TooFewWorkers { have, want, .. } => {
                NotReady::TooFewWorkers { have, want, others: self.members.len().saturating_sub(have) }
            }
            reason => reason,
        }
    }

    /// Says why a job waits, if that is news.
    fn explain(&mut self, id: JobId, reason: NotReady, place: Option<u32>, out: &mut Outbox) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let text = reason.to_string();
        let Phase::Gathering(gathering) = &mut job.state.phase else { return };
        gathering.place = place;
        if gathering.reason.replace(reason.clone()) != Some(reason) {
            let event = job.event(EventKind::PhaseChanged { phase: JobPhase::Gathering, reason: text });
            out.publish(id, event);
        }
    }
}

fn waits(id: JobId, job: &Job, now: Time) -> Waiting {
    let queueing = &job.submission.queueing;
    Waiting {
        job: id,
        class: queueing.class,
        team: queueing.team.clone(),
        min: job.needed(),
        max: job.wanted(),
        waited: job.waited(now),
        expected: job.expected(now),
    }
}

/// The ranks of a job that may be asked to change. One that is about to is left alone until it trains again, and has made up for
/// its last loss: each change costs a moment, and new steps are what counts.
fn settled(job: &Job) -> Option<u32> {
    let Phase::Training(training) = &job.state.phase else { return None };
    let assignment = &training.assignment;
    let is_whole = assignment.ended.is_empty() && !training.stopping && job.open.is_none();
    is_whole.then_some(assignment.members.len() as u32)
}

fn runs(id: JobId, job: &Job, held: u32, now: Time) -> Running {
    let queueing = &job.submission.queueing;
    let is_settled = settled(job) == Some(held);
    let leaving = match &job.state.phase {
        Phase::Recovering(recovering) => recovering.giving_back().min(held),
        Phase::Draining(_) => held,
        _ => 0,
    };
    Running {
        job: id,
        class: queueing.class,
        team: queueing.team.clone(),
        held,
        leaving,
        min: if is_settled { job.shares() } else { held },
        max: if is_settled { job.wanted() } else { held },
        ran: job.spent(now).total(),
        expected: job.expected(now),
        stopped: if is_settled { job.state.stops } else { u32::MAX },
    }
}

/// Workers that no job holds and that will be free soon, as a job that gives all of its workers back.
fn given_back(workers: u32) -> Running {
    Running {
        job: JobId(u64::MAX),
        class: Class::Manual,
        team: String::new(),
        held: workers,
        leaving: workers,
        min: workers,
        max: workers,
        ran: Duration::ZERO,
        expected: None,
        stopped: u32::MAX,
    }
}

//! Generations of a job: who gets its ranks first, and who after some were lost or others came.

use std::collections::{BTreeMap, BTreeSet};

use muster_proto::control::{EventKind, JobPhase};
use muster_proto::ids::{Generation, JobId, Rank, WorkerId};

use super::{Core, Outbox};
use crate::assignment::{Assignment, Member};
use crate::explain::NotReady;
use crate::job::Job;
use crate::membership::{Hold, Worker};
use crate::phase::{
    self, Candidate, Context, Ended, Gathering, Loading, Phase, PlanError, Planning, Recovering,
};
use crate::pool::Stop;
use crate::record::Cordon;
use crate::time::Time;

/// Generations in a row that may end without a new step; then the job fails, as more of the same would not help.
const MAX_FRUITLESS: u32 = 10;

impl Core {
    /// Workers that can be given a rank. Those that stopped for a job that goes on are its own.
    pub(super) fn idle(&self) -> impl Iterator<Item = (WorkerId, &Worker)> {
        let recovering = self.jobs.values().filter_map(|job| match &job.state.phase {
            Phase::Recovering(recovering) => Some(&recovering.assignment),
            _ => None,
        });
        let reserved: BTreeSet<WorkerId> =
            recovering.flat_map(Assignment::ranks).map(|(_, member)| member.worker).collect();
        self.members.iter().filter(move |(id, worker)| is_free(worker) && !reserved.contains(id))
    }

    /// The workers that a job begins with, of those that it may have.
    pub(super) fn choose_of(&self, id: JobId, of: &[Candidate<'_>]) -> Result<Vec<WorkerId>, NotReady> {
        let job = &self.jobs[&id];
        let wish = phase::Wish { want: job.wanted() as usize, need: job.needed() as usize };
        phase::choose(&job.submission, wish, job.state.numerics.as_deref(), of)
    }

    /// Has a job that trains stop for a new generation, where it has more ranks than it should, a rank on a worker that
    /// is drained, or fewer ranks than the pool grants it.
    pub(super) fn resize(&mut self, now: Time, id: JobId, granted: Option<u32>, out: &mut Outbox) {
        let job = &self.jobs[&id];
        let Phase::Training(training) = &job.state.phase else { return };
        let (held, wanted) = (training.assignment.members.len(), job.wanted() as usize);
        if training.stopping || !training.assignment.ended.is_empty() {
            return;
        }
        let drained = |member: &Member| {
            self.members.get(member.worker).is_some_and(|worker| worker.cordon == Cordon::Draining)
        };
        let (mut leaving, stay): (Vec<_>, Vec<_>) =
            training.assignment.ranks().partition(|(_, member)| drained(member));
        let leaves =
            leaving.first().map(|(rank, member)| format!("{} (rank {rank}) is drained", member.worker));
        leaving.extend(stay.into_iter().skip(wanted));
        let leaving: Vec<Rank> = leaving.into_iter().map(|(rank, _)| rank).collect();
        let granted = granted.filter(|granted| *granted as usize > held);
        let reason = match (leaves, granted) {
            (Some(reason), _) => reason,
            (None, _) if held > wanted => format!("it should have {wanted} workers and has {held}"),
            (None, Some(granted)) => {
                let more = granted as usize - held;
                format!("it should have {wanted} workers, has {held}, and {more} more are there")
            }
            (None, None) => return,
        };
        let assignment = training.assignment.clone();
        let stop = Recovering::orderly(assignment, reason, leaving, self.context(now));
        let stop = match (granted, self.jobs.get_mut(&id)) {
            (Some(ranks), Some(job)) => {
                job.state.granted = ranks;
                stop.with_ranks(ranks)
            }
            _ => stop,
        };
        let verdict = stop.begin();
        self.on_job(now, id, out, |_, _| verdict);
    }

    /// Has a job that trains give workers back for another; with none that it keeps it is stopped at a checkpoint and waits again.
    pub(super) fn give_back(&mut self, now: Time, stop: &Stop, out: &mut Outbox) {
        let Some(job) = self.jobs.get_mut(&stop.job) else { return };
        let Phase::Training(training) = &job.state.phase else { return };
        let assignment = training.assignment.clone();
        job.state.stops += u32::from(stop.keeps == 0);
        job.state.granted = stop.keeps;
        let held = assignment.members.len() as u32;
        let reason = match stop.keeps {
            0 => format!("stops at a checkpoint: {} comes first", stop.for_job),
            keeps => format!("gives {} of {held} workers back for {}", held - keeps, stop.for_job),
        };
        let leaving = (stop.keeps..held).map(Rank).collect();
        let stopped = Recovering::orderly(assignment, reason, leaving, self.context(now));
        let verdict = stopped.with_ranks(stop.keeps).begin();
        self.on_job(now, stop.job, out, |_, _| verdict);
    }

    /// Whether a worker computes as the job's ranks do.
    fn suits(&self, job: &Job, candidate: &Candidate<'_>) -> bool {
        let first = job.state.phase.assignment().and_then(|held| held.members.first());
        let device = first.and_then(|member| Some(self.members.get(member.worker)?.capabilities.device));
        device.is_none_or(|device| device == candidate.device)
            && job.submission.device.is_none_or(|device| device == candidate.device)
            && job.state.numerics.as_deref().is_none_or(|numerics| numerics == candidate.numerics)
    }

    /// All ranks have stopped: opens the next generation with those that are left and what is free.
    pub(super) fn regroup(&mut self, now: Time, id: JobId, stopped: Recovering, out: &mut Outbox) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.open_incident(&stopped, now).stopped(now);
        if !stopped.orderly {
            job.state.fruitless += 1;
        }
        if job.state.fruitless > MAX_FRUITLESS {
            let error = format!(
                "{MAX_FRUITLESS} generations in a row made no new step; the last one: {}",
                stopped.blame.reason()
            );
            return self.enter(now, id, Phase::Ended(Ended::Failed { error: error.clone() }), error, out);
        }
        if stopped.ranks == Some(0) {
            let reason = stopped.blame.reason().to_owned();
            return self.enter(now, id, Phase::Gathering(Gathering::default()), reason, out);
        }
        let shut_out = self.shut_out(id, &stopped, out);
        let Some(job) = self.jobs.get(&id) else { return };
        let wanted = stopped.ranks.unwrap_or(job.granted()).min(job.wanted()) as usize;
        let survivors: Vec<(Rank, WorkerId)> = stopped
            .survivors()
            .filter_map(|rank| Some((rank, stopped.assignment.members.get(rank.0 as usize)?)))
            .filter(|(_, member)| !shut_out.contains(&member.worker))
            .filter(|(_, member)| self.members.get(member.worker).is_some_and(is_free))
            .map(|(rank, member)| (rank, member.worker))
            .collect();
        let job = &self.jobs[&id];
        let stayed: BTreeSet<WorkerId> =
            stopped.assignment.ranks().map(|(_, member)| member.worker).collect();
        let others = self
            .idle()
            .filter(|(worker, known)| !stayed.contains(worker) && self.suits(job, &candidate(*worker, known)))
            .map(|(worker, _)| worker);
        let seats = phase::seat(&survivors, others, wanted);
        let needed = job.needed() as usize;
        if seats.workers.len() < needed {
            let (have, want) = (seats.workers.len(), needed);
            let others = self.members.len().saturating_sub(have);
            let reason = NotReady::TooFewWorkers { have, want, others };
            let text = reason.to_string();
            let waiting = Phase::Gathering(Gathering { reason: Some(reason), place: None });
            return self.enter(now, id, waiting, text, out);
        }
        // Who has not stopped in time is waited for before it gets another rank.
        self.let_go(Some(&stopped.assignment), out);
        self.begin(now, id, &seats.workers, Some((stopped.assignment, seats.kept)), out);
    }

    /// Shuts out workers that the others cannot reach, where more than one generation in a row made no new step, and lets in
    /// who was shut out wrongly; those that are shut out now.
    fn shut_out(&mut self, id: JobId, stopped: &Recovering, out: &mut Outbox) -> BTreeSet<WorkerId> {
        let Some(job) = self.jobs.get_mut(&id) else { return BTreeSet::new() };
        let worker = |rank: Rank| stopped.assignment.members.get(rank.0 as usize).map(|held| held.worker);
        for (by, of) in stopped.accusations() {
            if let (Some(by), Some(of)) = (worker(by), worker(of)) {
                job.state.suspicion.accuse(by, of);
            }
        }
        if job.state.fruitless <= 1 {
            return BTreeSet::new();
        }
        let needed = job.needed() as usize;
        let mut cover = job.state.suspicion.cover(|worker| self.members.get(worker).is_some());
        let before = std::mem::take(&mut job.state.suspicion.shut_out);
        let is_left = |(id, worker): &(WorkerId, &Worker)| {
            let is_open = worker.cordon == Cordon::Open || before.contains(id);
            is_open && worker.session.is_some() && !cover.contains(id)
        };
        let left = self.members.iter().filter(is_left).count();
        if left < needed {
            // All are needed: the network may have healed, and if not, the tries are counted.
            cover.clear();
        }
        job.state.suspicion.shut_out.clone_from(&cover);
        for worker in before.difference(&cover) {
            self.set_cordon(*worker, Cordon::Open, out);
        }
        for worker in cover.difference(&before) {
            // Or the job would take it in again as soon as it trains.
            self.set_cordon(*worker, Cordon::Cordoned, out);
        }
        cover
    }

    /// Opens a new generation of a job; `before` is the one that it follows, with the ranks whose workers stay.
    pub(super) fn begin(
        &mut self,
        now: Time,
        id: JobId,
        workers: &[WorkerId],
        before: Option<(Assignment, BTreeMap<u32, u32>)>,
        out: &mut Outbox,
    ) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let generation = job.state.generation.next();
        job.state.generation = generation;
        let member = |worker: &WorkerId| {
            let known = self.members.get(*worker)?;
            let (incarnation, address) = (known.incarnation, known.capabilities.data_plane_address.clone());
            Some(Member { worker: *worker, incarnation, address })
        };
        let members: Vec<Member> = workers.iter().filter_map(member).collect();
        let sharers = self.members.sharers(workers);
        let known = |member: &Member| {
            let capabilities = &self.members.get(member.worker)?.capabilities;
            let sharers = sharers.get(capabilities.host.as_str()).copied().unwrap_or(1);
            Some(phase::Worker { capabilities, sharers })
        };
        let known: Vec<phase::Worker<'_>> = members.iter().filter_map(known).collect();
        if job.submission.reproducible && job.state.numerics.is_none() {
            let first = members.first().and_then(|member| self.members.get(member.worker));
            job.state.numerics = first.map(|worker| worker.capabilities.numerics.clone());
        }
        let before = before.map(|(assignment, kept)| (assignment.plan, kept));
        let submission = &job.submission;
        let planned = phase::plan(Planning {
            job: id,
            submission,
            generation,
            members,
            workers: known,
            before,
            seed: &self.seed,
        });
        let assignment = match planned {
            Ok(assignment) => assignment,
            Err(error) => return self.unplanned(now, id, workers.len() as u32, &error, out),
        };
        job.state.too_few = 0;
        if let Some(open) = &mut job.open {
            open.begun(now, assignment.members.len() as u32);
        }
        let summary = assignment.summary(&submission.tables);
        let event = job.record(EventKind::PhaseChanged { phase: JobPhase::Planning, reason: summary });
        out.publish(id, event);
        self.hold_ranks(id, generation, workers);
        let reason = "ranks connect to each other and load".to_owned();
        let loading = Loading::new(assignment, Context { now, config: &self.config });
        self.enter(now, id, Phase::Loading(loading), reason, out);
    }

    /// No plan places the job on so many workers: it waits for more where it may have more, and fails where not.
    fn unplanned(&mut self, now: Time, id: JobId, workers: u32, error: &PlanError, out: &mut Outbox) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let reason = format!("no plan places the job's tables: {error}");
        if error.is_of_memory() && workers < job.wanted() {
            job.state.too_few = workers;
            return self.enter(now, id, Phase::Gathering(Gathering::default()), reason, out);
        }
        self.enter(now, id, Phase::Ended(Ended::Failed { error: reason.clone() }), reason, out);
    }

    fn hold_ranks(&mut self, job: JobId, generation: Generation, workers: &[WorkerId]) {
        for (rank, worker) in (0..).map(Rank).zip(workers) {
            if let Some(worker) = self.members.get_mut(*worker) {
                worker.hold = Hold::Rank { job, generation, rank };
            }
        }
    }
}

pub(super) fn is_free(worker: &Worker) -> bool {
    worker.hold == Hold::Idle && worker.session.is_some() && worker.cordon == Cordon::Open
}

pub(super) fn candidate(worker: WorkerId, known: &Worker) -> Candidate<'_> {
    Candidate { worker, device: known.capabilities.device, numerics: &known.capabilities.numerics }
}

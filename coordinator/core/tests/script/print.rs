//! What the core says, a line each.

use muster_core::{Action, Answer, PREFIX, SessionId, Write};
use muster_proto::control::{
    Cause, Directive, EventKind, Incident, JobEvent, JobStatus, Prepare, TaskStage, TaskStatus, TaskWork,
    WorkerStatus,
};

pub(super) fn action(action: &Action, name: impl Fn(SessionId) -> String) -> String {
    match action {
        Action::Persist(writes) => {
            let keys: Vec<String> = writes.iter().map(write).collect();
            format!("persist {}", keys.join(", "))
        }
        Action::Send { session, directive: sent } => format!("send {}: {}", name(*session), directive(sent)),
        Action::CloseSession { session, end } => format!("close {}: {end}", name(*session)),
        Action::Reply { answer, .. } => match answer {
            Ok(Answer::Registered(registration)) => {
                format!("reply {} incarnation {}", registration.worker, registration.incarnation)
            }
            Ok(Answer::Submitted(job)) => format!("reply {job}"),
            Ok(Answer::Accepted) => "reply accepted".to_owned(),
            Err(refusal) => format!("reply refused: {refusal}"),
        },
        Action::Publish { job, event: published } => format!("publish {job} {}", event(published)),
        Action::Refused { worker, stale } => format!("note {worker}: {stale}"),
    }
}

fn write(write: &Write) -> String {
    let short = |key: &str| {
        let parts: Vec<&str> = key.strip_prefix(PREFIX).unwrap().split('/').collect();
        let part = |part: &&str| match part.trim_start_matches('0') {
            "" => "0".to_owned(),
            part => part.to_owned(),
        };
        parts.iter().map(part).collect::<Vec<_>>().join("/")
    };
    match write {
        Write::Put { key, .. } => short(key),
        Write::Delete { key } => format!("-{}", short(key)),
    }
}

fn directive(directive: &Directive) -> String {
    match directive {
        Directive::Welcome { incarnation } => format!("welcome {incarnation}"),
        Directive::Prepare(prepare) => self::prepare(prepare),
        Directive::Start { fence } => format!("start {fence}"),
        Directive::Abort { fence, reason } => format!("abort {fence}: {reason}"),
        Directive::Checkpoint { fence } => format!("checkpoint {fence}"),
        Directive::Drain { fence } => format!("drain {fence}"),
        Directive::Yield { fence, leaving } if leaving.is_empty() => format!("yield {fence}"),
        Directive::Yield { fence, leaving } => {
            let leaving: Vec<String> = leaving.iter().map(ToString::to_string).collect();
            format!("yield {fence}, without rank {}", leaving.join(", "))
        }
        Directive::Shutdown { reason } => format!("shutdown: {reason}"),
        Directive::Acknowledged { fence } => format!("acknowledged {fence}"),
        Directive::RunTask { claim, work: TaskWork::Prepare(unit) } => {
            format!("run {claim}: {:?} in {}", unit.unit, unit.folder)
        }
        Directive::RunTask { claim, work: TaskWork::Window(unit) } => {
            format!("run {claim}: window of {}", unit.run)
        }
        Directive::RunTask { claim, work: TaskWork::Judge(unit) } => {
            format!("run {claim}: judge {}", unit.run)
        }
        Directive::StopTask { claim, reason } => format!("stop {claim}: {reason}"),
        Directive::TaskAcknowledged { claim } => format!("acknowledged {claim}"),
    }
}

fn prepare(prepare: &Prepare) -> String {
    let cohort = &prepare.cohort;
    let peers: Vec<&str> = cohort.peers.iter().map(|(_, address)| address).collect();
    let tables = cohort.plan.tables.iter().map(|(name, plan)| format!("{name} on {:?}", plan.owners));
    let tables: Vec<String> = tables.collect();
    let from = cohort.checkpoint.iter().map(|path| format!(", from {path}")).collect::<String>();
    let (fence, rank) = (prepare.fence, prepare.rank);
    format!("prepare {fence} rank {rank} of {}: {}{from}", peers.join(" "), tables.join(", "))
}

fn incident(incident: &Incident) -> String {
    let stages = [
        ("detect", incident.detect),
        ("abort", incident.abort),
        ("decide", incident.decide),
        ("rendezvous", incident.rendezvous),
        ("reload", incident.reload),
        ("recompute", incident.recompute),
    ];
    let stages = stages.map(|(stage, time)| format!("{stage} {:.2}s", time.as_secs_f64()));
    let kind = if incident.planned { "planned" } else { "unplanned" };
    let (before, after, redone) = (incident.before, incident.after, incident.steps_redone);
    let from = &incident.restored_from;
    format!(
        "{kind} {before} -> {after} ({}), {redone} steps redone from {from:?}: {}",
        stages.join(", "),
        incident.reason
    )
}

pub(super) fn event(event: &JobEvent) -> String {
    let what = match &event.kind {
        EventKind::PhaseChanged { phase, reason } => format!("{phase}: {reason}"),
        EventKind::Progress(progress) if progress.metrics.is_empty() => {
            format!("progress step {}", progress.step)
        }
        EventKind::Progress(progress) => format!("progress step {} {:?}", progress.step, progress.metrics),
        EventKind::WorkerLost { worker, rank, reason } => format!("lost {worker} rank {rank}: {reason}"),
        EventKind::CheckpointSaved { step, manifest } => format!("saved step {step} as {manifest}"),
        EventKind::Incident { incident } => self::incident(incident),
        EventKind::Finished { summary } => format!("finished {summary}"),
        EventKind::Failed { error } => format!("failed: {error}"),
        EventKind::Cancelled => "cancelled".to_owned(),
        EventKind::Missed { count } => format!("missed {count}"),
    };
    format!("#{} generation {} {what}", event.sequence, event.generation)
}

pub(super) fn job(job: &JobStatus) -> String {
    let workers: Vec<String> = job.workers.iter().map(ToString::to_string).collect();
    let (id, name, phase, generation) = (job.job, &job.name, job.phase, job.generation);
    let standing =
        format!("{id} {name} {phase} generation {generation} [{}] {}", workers.join(" "), job.reason);
    let spent = Cause::ALL.into_iter().filter(|cause| !job.spent.on(*cause).is_zero());
    let spent = spent.map(|cause| format!(", {cause} {:.1}s", job.spent.on(cause).as_secs_f64()));
    format!("{}{}", standing.trim_end(), spent.collect::<String>())
}

pub(super) fn worker(worker: &WorkerStatus) -> String {
    let assignment = match (&worker.assignment, worker.task) {
        (Some((fence, rank)), _) => format!("rank {rank} of {fence}"),
        (None, Some(task)) => task.to_string(),
        (None, None) => "no rank".to_owned(),
    };
    let connected = if worker.connected { "connected" } else { "away" };
    let cordoned = if worker.cordoned { ", cordoned" } else { "" };
    format!("{} {} {connected}, {assignment}{cordoned}", worker.worker, worker.capabilities.name)
}

pub(super) fn task(task: &TaskStatus) -> String {
    let stage = match &task.stage {
        TaskStage::Waiting => "waiting".to_owned(),
        TaskStage::Given { worker, progress } => {
            format!("given to {worker}, {} of {} done", progress.done, progress.of)
        }
        TaskStage::Done { result } => format!("done: {result}"),
        TaskStage::Failed { error } => format!("failed: {error}"),
    };
    format!("task {} attempt {} {stage}", task.number, task.attempt)
}

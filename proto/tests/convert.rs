//! What is written to the wire is what was meant, and what cannot be meant is refused by name.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use muster_proto::capacity::Phase;
use muster_proto::control::{
    Capabilities, Cause, Class, Cohort, DeviceKind, Directive, EventKind, Failure, FailureCause, Gpu, Hello,
    Incident, JobEvent, JobPhase, JobStatus, PiecesSaved, Prepare, PrepareUnit, Progress, Queueing,
    RankStage, RankState, Registration, Report, Restored, RestoredFrom, Spent, StepTiming, Straggler,
    Submission, TaskEnd, TaskProgress, TaskStage, TaskStatus, TaskWork, Unit, WorkerStatus,
};
use muster_proto::convert::{Error, NewTasks};
use muster_proto::fence::{Fence, TaskClaim};
use muster_proto::ids::{Generation, Incarnation, JobId, Rank, Step, TaskId, TaskOwner, WorkerId, WorldSize};
use muster_proto::measured::{Breakdown, Forecast, Share};
use muster_proto::sharding::{ColumnBlock, Placement, ShardingPlan, TableDecl};
use muster_proto::wire;

fn fence() -> Fence {
    Fence { job: JobId(3), generation: Generation(5), incarnation: Incarnation(7) }
}

fn progress() -> Progress {
    Progress {
        epoch: 1,
        epochs: 9,
        step: Step(40),
        steps_per_epoch: 30,
        loss: 0.25,
        tokens_per_second: 1e4,
        samples: 5120,
        metrics: BTreeMap::from([("HR@10".into(), 0.07), ("NDCG@10".into(), f64::INFINITY)]),
    }
}

fn tables() -> Vec<TableDecl> {
    let placements = [
        None,
        Some(Placement::RowWise),
        Some(Placement::TableWise),
        Some(Placement::DataParallel),
        Some(Placement::ColumnWise),
        Some(Placement::TableRowWise),
        Some(Placement::Grid),
    ];
    let table = |(index, placement): (usize, Option<Placement>)| TableDecl {
        name: format!("table {index}"),
        rows: 10,
        dim: 4,
        row_blocks: 8,
        bias: index == 1,
        placement,
        columns: (index > 4).then(|| ColumnBlock { table: "t".into(), dim: 8, first: 4 }),
    };
    placements.into_iter().enumerate().map(table).collect()
}

fn capabilities() -> Capabilities {
    Capabilities {
        name: "a".into(),
        host: "h".into(),
        cpu_threads: 2,
        memory_bytes: 1 << 40,
        device: DeviceKind::Cuda,
        data_plane_address: "h:1".into(),
        numerics: "n".into(),
        muster_version: "v".into(),
        gpu: Some(Gpu {
            name: "card".into(),
            memory_bytes: 80 << 30,
            compute_major: 9,
            compute_minor: 1,
            pci_bus_id: "0000:01:00.0".into(),
            ordinal: 2,
            visible: 4,
            direct_peers: vec!["0000:02:00.0".into()],
        }),
    }
}

fn breakdown() -> Breakdown {
    let share =
        |micros| Share { wall: Duration::from_micros(micros), inside: Duration::from_micros(micros / 2) };
    let phases = BTreeMap::from([(Phase::Dense, share(40)), (Phase::AllReduce, share(20))]);
    Breakdown { steps: 7, phases, rest: share(2), steal: Duration::from_micros(3), peak_bytes: 1 << 40 }
}

fn forecast() -> Forecast {
    Forecast {
        source: "calibration of m".into(),
        workers: 2,
        phases: BTreeMap::from([(Phase::Loss, 0.25)]),
        rest: 0.5,
        peak_bytes: vec![3, 4],
        ..Forecast::default()
    }
}

fn state() -> RankState {
    let breakdown = Some(Box::new(breakdown()));
    let timing = StepTiming { step: Step(4), own: Duration::from_micros(1500), breakdown };
    RankState { fence: fence(), stage: RankStage::Ready, timing: Some(timing) }
}

fn incident() -> Incident {
    let seconds = Duration::from_secs;
    Incident {
        generation: Generation(3),
        reason: "r".into(),
        planned: true,
        before: 4,
        after: 3,
        detect: seconds(1),
        abort: seconds(2),
        decide: seconds(3),
        rendezvous: seconds(4),
        reload: seconds(5),
        recompute: seconds(6),
        steps_redone: 7,
        restored_from: RestoredFrom::Memory,
    }
}

fn spent() -> Spent {
    let mut spent = Spent::default();
    (1..).zip(Cause::ALL).for_each(|(time, cause)| spent.add(cause, Duration::from_secs(time)));
    spent
}

fn prepare() -> Prepare {
    let cohort = Cohort {
        peers: (0..3).map(|rank| (WorkerId(rank), format!("h:{rank}"))).collect(),
        spec_toml: "seed = 1".into(),
        dataset_dir: "d".into(),
        run_dir: "r".into(),
        plan: ShardingPlan::simple(&tables(), 8, 3).unwrap(),
        collective_token: [9; 32],
        checkpoint: Some("c".into()),
    };
    Prepare { fence: fence(), rank: Rank(1), cohort: Arc::new(cohort) }
}

/// Through the bytes that go over the connection.
fn wired<W: prost::Message + Default>(message: &W) -> W {
    W::decode(message.encode_to_vec().as_slice()).unwrap()
}

fn claim() -> TaskClaim {
    let task = TaskId { owner: TaskOwner(u64::MAX), number: 4 };
    TaskClaim { task, attempt: 2, incarnation: Incarnation(7) }
}

fn work(unit: Unit) -> TaskWork {
    TaskWork::Prepare(PrepareUnit { folder: "/shared/work".into(), unit })
}

#[test]
fn tasks_arrive_as_they_were_sent() {
    let created: NewTasks = (TaskOwner(3), vec![(0, work(Unit::Share(0))), (9, work(Unit::Share(1)))]);
    assert_eq!(NewTasks::try_from(wired(&wire::CreateTasksRequest::from(created.clone()))).unwrap(), created);
    let progress = TaskProgress { done: 1, of: 2 };
    let stages = [
        TaskStage::Waiting,
        TaskStage::Given { worker: WorkerId(6), progress },
        TaskStage::Done { result: serde_json::json!([1, "x"]) },
        TaskStage::Failed { error: "e".into() },
    ];
    for stage in stages {
        let status = TaskStatus { number: 8, attempt: 2, stage };
        assert_eq!(TaskStatus::try_from(wired(&wire::TaskStatus::from(status.clone()))).unwrap(), status);
    }
}

#[test]
fn every_report_arrives_as_it_was_sent() {
    let (fence, incarnation) = (fence(), Incarnation(7));
    let causes = [FailureCause::Own, FailureCause::Peer, FailureCause::Aborted, FailureCause::Panic];
    let stages = [RankStage::Loading, RankStage::Ready, RankStage::Training, RankStage::Stopping];
    let saved = |manifest: Option<&str>| PiecesSaved {
        step: Step(4),
        pieces: 3,
        bytes: 99,
        manifest: manifest.map(str::to_owned),
    };
    let mut reports = vec![
        Report::Hello(Hello { worker: WorkerId(1), incarnation, running: None }),
        Report::Hello(Hello { worker: WorkerId(1), incarnation, running: Some(fence) }),
        Report::Heartbeat { incarnation, running: None },
        Report::Yielded { fence, step: Step(5) },
        Report::CaughtUp { fence, steps_redone: 3, recompute: Duration::from_millis(7) },
        Report::Progress { fence, progress: progress() },
        Report::PiecesSaved { fence, saved: saved(None) },
        Report::PiecesSaved { fence, saved: saved(Some("m")) },
        Report::Finished { fence, summary: serde_json::json!({ "steps": [1, null, "x"] }) },
    ];
    let sources = [RestoredFrom::Start, RestoredFrom::Memory, RestoredFrom::Checkpoint("c".into())];
    let (connect, load) = (Duration::from_millis(1), Duration::from_millis(2));
    reports.extend(
        sources.map(|from| Report::JobReady {
            fence,
            restored: Restored { step: Step(4), from, connect, load },
        }),
    );
    reports.extend(
        stages.map(|stage| Report::Heartbeat { incarnation, running: Some(RankState { stage, ..state() }) }),
    );
    reports.extend(causes.map(|cause| Report::Failed {
        fence,
        failure: Failure { cause, message: "m".into(), peer: Some(Rank(1)) },
    }));
    let progress = TaskProgress { done: 3, of: 9 };
    reports.push(Report::TaskRunning { claim: claim(), progress });
    let ends = [TaskEnd::Done(serde_json::json!({"rows": 3})), TaskEnd::Failed("e".into()), TaskEnd::Stopped];
    reports.extend(ends.map(|end| Report::TaskEnded { claim: claim(), end }));
    for report in reports {
        let arrived = wired(&wire::SessionRequest::from(report.clone()));
        assert_eq!(Report::try_from(arrived).unwrap(), report);
    }
}

#[test]
fn every_directive_arrives_as_it_was_sent() {
    let fence = fence();
    let directives = [
        Directive::Welcome { incarnation: Incarnation(7) },
        Directive::Prepare(prepare()),
        Directive::Start { fence },
        Directive::Abort { fence, reason: "why".into() },
        Directive::Checkpoint { fence },
        Directive::Drain { fence },
        Directive::Yield { fence, leaving: vec![Rank(2), Rank(3)] },
        Directive::Shutdown { reason: "why".into() },
        Directive::Acknowledged { fence },
        Directive::RunTask { claim: claim(), work: work(Unit::Share(3)) },
        Directive::RunTask { claim: claim(), work: work(Unit::Part { pass: 2, part: 5 }) },
        Directive::StopTask { claim: claim(), reason: "why".into() },
        Directive::TaskAcknowledged { claim: claim() },
    ];
    for directive in directives {
        let arrived = wired(&wire::SessionResponse::from(directive.clone()));
        assert_eq!(Directive::try_from(arrived).unwrap(), directive);
    }
}

#[test]
fn jobs_workers_and_events_arrive_as_they_were_sent() {
    let job = Submission {
        name: "n".into(),
        spec_toml: "s".into(),
        dataset_dir: "d".into(),
        run_dir: "r".into(),
        world_size: WorldSize(2),
        micro_batches: 8,
        tables: tables(),
        reproducible: true,
        device: Some(DeviceKind::Cpu),
        numerics: Some("n".into()),
        min_workers: 2,
        forecast: Some(forecast()),
        queueing: Queueing { class: Class::Scheduled, team: "t".into(), start_workers: Some(1) },
    };
    assert_eq!(Submission::try_from(wired(&wire::SubmitJobRequest::from(&job))).unwrap(), job);
    let registration = Registration {
        worker: WorkerId(1),
        incarnation: Incarnation(2),
        failure_detection: Duration::from_millis(1500),
    };
    assert_eq!(
        Registration::try_from(wired(&wire::RegisterResponse::from(registration))).unwrap(),
        registration
    );
    let kinds = [
        EventKind::PhaseChanged { phase: JobPhase::Draining, reason: "r".into() },
        EventKind::Progress(progress()),
        EventKind::WorkerLost { worker: WorkerId(1), rank: Rank(2), reason: "r".into() },
        EventKind::CheckpointSaved { step: Step(1), manifest: "m".into() },
        EventKind::Incident { incident: incident() },
        EventKind::Finished { summary: serde_json::json!([1.5]) },
        EventKind::Failed { error: "e".into() },
        EventKind::Cancelled,
        EventKind::Missed { count: 4 },
    ];
    for kind in kinds {
        let event = JobEvent { sequence: 9, generation: Generation(2), kind };
        assert_eq!(JobEvent::try_from(wired(&wire::WatchJobResponse::from(event.clone()))).unwrap(), event);
    }
    let worker = WorkerStatus {
        worker: WorkerId(1),
        incarnation: Incarnation(2),
        capabilities: capabilities(),
        connected: true,
        assignment: Some((fence(), Rank(3))),
        running: Some(state()),
        cordoned: true,
        task: Some(claim().task),
    };
    assert_eq!(WorkerStatus::try_from(wired(&wire::WorkerStatus::from(worker.clone()))).unwrap(), worker);
}

#[test]
fn a_job_in_any_phase_arrives_as_it_was_sent() {
    use JobPhase::{
        Cancelled, Draining, Failed, Finished, Gathering, Loading, Planning, Recovering, Training,
    };
    for phase in [Gathering, Planning, Loading, Training, Draining, Recovering, Finished, Failed, Cancelled] {
        let job = JobStatus {
            job: JobId(1),
            name: "n".into(),
            phase,
            generation: Generation(2),
            world_size: WorldSize(3),
            reason: "r".into(),
            progress: Some(progress()),
            workers: vec![WorkerId(4), WorkerId(5)],
            run_dir: "d".into(),
            incidents: vec![incident()],
            spent: spent(),
            straggler: Some(Straggler {
                rank: Rank(1),
                worker: WorkerId(5),
                own_seconds: 0.5,
                median_seconds: 0.25,
            }),
            forecast: Some(forecast()),
            measured: vec![breakdown(), breakdown()],
            queueing: Queueing { class: Class::Backfill, team: String::new(), start_workers: None },
            place: Some(3),
            stops: 2,
        };
        assert_eq!(JobStatus::try_from(wired(&wire::JobStatus::from(job.clone()))).unwrap(), job);
    }
}

#[test]
fn what_is_missing_or_unknown_is_refused_by_message_and_field() {
    let empty = Report::try_from(wire::SessionRequest { report: None }).unwrap_err();
    assert_eq!(empty, Error::Missing { message: "SessionRequest", field: "report" });
    let capabilities = wire::Capabilities { device: 77, ..capabilities().into() };
    let unknown = Capabilities::try_from(capabilities).unwrap_err();
    assert_eq!(unknown, Error::UnknownValue { message: "Capabilities", field: "device", value: 77 });
    let finished = wire::Finished { fence: Some(fence().into()), summary_json: "{".into() };
    let report = wire::SessionRequest { report: Some(wire::session_request::Report::Finished(finished)) };
    assert!(matches!(Report::try_from(report), Err(Error::Json { field: "summary_json", .. })));
}

#[test]
fn the_secret_of_a_generation_and_the_spec_stay_out_of_debug_output() {
    let text = format!("{:?}", prepare());
    assert!(!text.contains("collective_token") && !text.contains("seed"), "{text}");
}

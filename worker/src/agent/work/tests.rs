//! What an agent does with directives and jobs, without a network.

use std::net::TcpListener;
use std::sync::mpsc;
use std::time::Duration;

use muster_proto::control::{Cohort, DeviceKind, FailureCause, Progress, RankStage, Restored};
use muster_proto::ids::{Generation, JobId, Rank, Step, WorkerId};
use muster_proto::sharding::ShardingPlan;
use serde_json::json;

use super::*;
use crate::agent::Control;

/// Ends when it is told to by the test, or aborted.
struct Told(std::sync::Mutex<mpsc::Receiver<()>>);

impl JobRunner for Told {
    fn run(&self, assignment: Assignment, control: Control) -> Result<Outcome, RunError> {
        control.ready_and_wait_start(Restored::start()).map_err(|aborted| RunError::aborted(&aborted))?;
        control.progress(Progress { step: Step(1), ..Progress::default() });
        self.0.lock().unwrap().recv().map_err(|error| RunError::own(&error))?;
        Ok(Outcome::Finished { summary: json!(assignment.rank) })
    }
}

fn work() -> (Work, mpsc::Sender<()>) {
    let (end, told) = mpsc::channel();
    (work_of(Told(told.into()), Duration::from_secs(5)), end)
}

fn work_of(runner: impl JobRunner, failure_detection: Duration) -> Work {
    let config = AgentConfig {
        coordinator: "".into(),
        token: None,
        name: "a".into(),
        host: String::new(),
        listener: TcpListener::bind("127.0.0.1:0").unwrap(),
        advertise: None,
        threads: 1,
        memory_bytes: 1,
        device: DeviceKind::Cpu,
        gpu: None,
        numerics: "n".into(),
        register_deadline: Duration::from_secs(1),
    };
    let registration = Registration { worker: WorkerId(1), incarnation: Incarnation(7), failure_detection };
    Work::new(Arc::new(config), Arc::new(runner), &registration)
}

fn fence(generation: u64) -> Fence {
    Fence { job: JobId(1), generation: Generation(generation), incarnation: Incarnation(7) }
}

fn prepare(fence: Fence) -> Directive {
    let cohort = Cohort {
        peers: [(WorkerId(1), "h:1")].into_iter().collect(),
        spec_toml: String::new(),
        dataset_dir: String::new(),
        run_dir: String::new(),
        plan: ShardingPlan::simple(&[], 8, 1).unwrap(),
        collective_token: [0; 32],
        checkpoint: None,
    };
    Directive::Prepare(Prepare { fence, rank: Rank(0), cohort: Arc::new(cohort) })
}

/// Waits for the job's next reports.
async fn reports(work: &mut Work) -> Vec<Report> {
    loop {
        tokio::time::timeout(Duration::from_secs(60), work.changed())
            .await
            .expect("the job says nothing")
            .unwrap();
        let reports = work.untold();
        if !reports.is_empty() {
            return reports;
        }
    }
}

fn stage(work: &Work) -> Option<RankStage> {
    match work.heartbeat() {
        Report::Heartbeat { running, .. } => running.map(|state| state.stage),
        other => panic!("{other:?} is no heartbeat"),
    }
}

#[tokio::test]
async fn an_end_is_told_on_each_session_until_it_is_acknowledged() {
    let (mut work, end) = work();
    work.follow(prepare(fence(1)));
    assert_eq!(reports(&mut work).await, [Report::JobReady { fence: fence(1), restored: Restored::start() }]);
    work.renew();
    assert_eq!(
        work.untold(),
        [Report::JobReady { fence: fence(1), restored: Restored::start() }],
        "a new session is told again"
    );
    work.follow(Directive::Start { fence: fence(1) });
    end.send(()).unwrap();
    let mut last = reports(&mut work).await;
    while work.is_running() {
        last.extend(reports(&mut work).await);
    }
    let progress = Progress { step: Step(1), ..Progress::default() };
    let finished = Report::Finished { fence: fence(1), summary: json!(0) };
    assert_eq!(last, [Report::Progress { fence: fence(1), progress }, finished.clone()]);
    assert_eq!(work.untold(), []);
    work.renew();
    assert_eq!(work.untold(), [finished]);
    work.follow(Directive::Acknowledged { fence: fence(2) });
    assert_eq!(work.fence(), Some(fence(1)), "another rank's acknowledgement changes nothing");
    work.follow(Directive::Acknowledged { fence: fence(1) });
    assert_eq!(work.fence(), None);
    work.renew();
    assert_eq!(work.untold(), []);
}

#[tokio::test]
async fn directives_about_another_generation_or_life_change_nothing() {
    let (mut work, end) = work();
    let other_life = Fence { incarnation: Incarnation(6), ..fence(1) };
    work.follow(prepare(other_life));
    assert_eq!(work.fence(), None);
    work.follow(prepare(fence(2)));
    reports(&mut work).await;
    for stale in [
        fence(1),
        fence(3),
        Fence { job: JobId(2), ..fence(2) },
        Fence { incarnation: Incarnation(6), ..fence(2) },
    ] {
        work.follow(Directive::Start { fence: stale });
        work.follow(Directive::Abort { fence: stale, reason: "stale".into() });
        work.follow(Directive::Drain { fence: stale });
        assert_eq!(stage(&work), Some(RankStage::Ready), "{stale} was taken");
    }
    work.follow(prepare(fence(2)));
    assert_eq!(work.untold(), [], "a repeated order starts nothing");
    work.follow(Directive::Start { fence: fence(2) });
    assert_eq!(stage(&work), Some(RankStage::Training));
    end.send(()).unwrap();
}

#[tokio::test]
async fn a_new_rank_waits_until_the_old_one_was_given_up() {
    let (mut work, _end) = work();
    work.follow(prepare(fence(1)));
    reports(&mut work).await;
    work.follow(prepare(fence(2)));
    assert_eq!((work.fence(), stage(&work)), (Some(fence(1)), Some(RankStage::Stopping)));
    while work.fence() == Some(fence(1)) {
        work.changed().await.unwrap();
    }
    assert_eq!(work.fence(), Some(fence(2)));
    assert_eq!(reports(&mut work).await, [Report::JobReady { fence: fence(2), restored: Restored::start() }]);
}

#[tokio::test]
async fn an_abort_ends_the_job_and_is_told_as_such() {
    let (mut work, _end) = work();
    work.follow(prepare(fence(1)));
    reports(&mut work).await;
    work.follow(Directive::Abort { fence: fence(1), reason: "worker-2 was lost".into() });
    let [Report::Failed { fence: told, failure }] = &reports(&mut work).await[..] else {
        panic!("no failure")
    };
    assert_eq!((*told, failure.cause), (fence(1), FailureCause::Aborted));
    assert_eq!(failure.message, "aborted: worker-2 was lost");
    assert_eq!(work.follow(Directive::Shutdown { reason: "done".into() }), Next::GoHome("done".into()));
}

/// Does not stop when it is told to, but only at its own end, which the test gives it.
struct Deaf(std::sync::Mutex<mpsc::Receiver<()>>);

impl JobRunner for Deaf {
    fn run(&self, _: Assignment, control: Control) -> Result<Outcome, RunError> {
        control.ready(Restored::start());
        self.0.lock().unwrap().recv().map_err(|error| RunError::own(&error))?;
        Ok(Outcome::Finished { summary: json!(null) })
    }
}

/// Waits for the end of the job's patience or of the job; says how long after `since` it was.
async fn ended(work: &mut Work, since: Instant) -> (Result<(), Error>, Duration) {
    let waited = async {
        while work.is_running() {
            work.changed().await?;
        }
        Ok(())
    };
    let outcome = tokio::time::timeout(Duration::from_secs(60), waited).await.expect("no end in sight");
    (outcome, since.elapsed())
}

#[tokio::test]
async fn a_job_that_ignores_its_abort_ends_the_process_after_twice_the_failure_detection() {
    let failure_detection = Duration::from_millis(100);
    let orders: [fn(&mut Work); 3] = [
        |work| {
            work.follow(Directive::Abort { fence: fence(1), reason: "worker-2 was lost".into() });
        },
        |work| {
            work.follow(prepare(fence(2)));
        },
        |work| work.abort("the coordinator does not know this worker"),
    ];
    for order in orders {
        let (_end, told) = mpsc::channel();
        let mut work = work_of(Deaf(told.into()), failure_detection);
        work.follow(prepare(fence(1)));
        reports(&mut work).await;
        let since = Instant::now();
        order(&mut work);
        // Only the first order counts: one that is repeated gives a job no more time.
        tokio::time::timeout(failure_detection, work.changed()).await.unwrap_err();
        order(&mut work);
        let (outcome, after) = ended(&mut work, since).await;
        assert!(matches!(outcome, Err(Error::Stuck { patience }) if patience == failure_detection * 2));
        assert!(after >= failure_detection * 2 && after < failure_detection * 3, "ended after {after:?}");
    }
}

#[tokio::test]
async fn a_job_that_ends_within_its_patience_ends_nothing_else() {
    let (end, told) = mpsc::channel();
    let mut work = work_of(Deaf(told.into()), Duration::from_secs(60));
    work.follow(prepare(fence(1)));
    reports(&mut work).await;
    work.follow(Directive::Abort { fence: fence(1), reason: "worker-2 was lost".into() });
    end.send(()).unwrap();
    let (outcome, _) = ended(&mut work, Instant::now()).await;
    assert!(outcome.is_ok() && work.fence() == Some(fence(1)), "its end is told: {outcome:?}");
}

#[tokio::test]
async fn a_job_that_was_begun_and_does_nothing_ends_the_process_in_time() {
    let failure_detection = Duration::from_millis(20);
    let (_end, told) = mpsc::channel();
    let mut work = work_of(Deaf(told.into()), failure_detection);
    work.follow(prepare(fence(1)));
    reports(&mut work).await;
    let waits = tokio::time::timeout(failure_detection * 40, work.changed()).await;
    assert!(waits.is_err(), "a rank that waits for the others is not hung: {waits:?}");
    let since = Instant::now();
    work.follow(Directive::Start { fence: fence(1) });
    let (outcome, after) = ended(&mut work, since).await;
    assert!(
        matches!(outcome, Err(Error::Hung { silent }) if silent >= failure_detection * 30),
        "{outcome:?}"
    );
    assert!(after >= failure_detection * 30 && after < failure_detection * 60, "ended after {after:?}");
}

mod blocked;

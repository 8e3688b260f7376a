//! What a job's earlier generations leave behind binds its later ones.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use std::collections::BTreeMap;

use muster_core::{Action, Answer, Config, Core, Event, RequestId, SessionId, Time, Write};
use muster_proto::control::{
    Capabilities, DeviceKind, Directive, Hello, JobPhase, Prepare, Queueing, Submission,
};
use muster_proto::ids::{Generation, WorldSize};

type Store = BTreeMap<String, Vec<u8>>;

fn restore(store: &Store) -> Core {
    Core::restore(Time::default(), Config::default(), [3; 32], store.clone()).unwrap()
}

fn step(core: &mut Core, store: &mut Store, event: Event) -> Vec<Action> {
    let actions = core.step(Time::default(), event);
    for action in &actions {
        let Action::Persist(writes) = action else { continue };
        for write in writes.iter().cloned() {
            match write {
                Write::Put { key, value } => store.insert(key, value),
                Write::Delete { key } => store.remove(&key),
            };
        }
    }
    actions
}

/// The store of a cluster with one job that waits, after `change` was made to the job's record.
fn waiting_job(change: impl Fn(&mut serde_json::Value)) -> Store {
    let submission = Submission {
        name: "job".into(),
        spec_toml: "seed = 1".into(),
        dataset_dir: "data".into(),
        run_dir: "run".into(),
        world_size: WorldSize(1),
        micro_batches: 8,
        tables: Vec::new(),
        reproducible: true,
        device: None,
        numerics: None,
        min_workers: 1,
        queueing: Queueing::default(),
        forecast: None,
    };
    let mut store = Store::new();
    let submit = Event::Submit { request: RequestId(1), submission: Box::new(submission) };
    step(&mut restore(&Store::new()), &mut store, submit);
    let state = store.iter_mut().find(|(key, _)| key.ends_with("/state")).unwrap().1;
    let mut record = serde_json::from_slice(state).unwrap();
    change(&mut record);
    *state = serde_json::to_vec(&record).unwrap();
    store
}

/// Brings a worker in; what it is told to prepare, if anything.
fn join(core: &mut Core, store: &mut Store, name: &str, numerics: &str) -> Option<Prepare> {
    let capabilities = Capabilities {
        name: name.to_owned(),
        host: String::new(),
        cpu_threads: 1,
        memory_bytes: 1 << 30,
        device: DeviceKind::Cpu,
        data_plane_address: "host:1".into(),
        numerics: numerics.to_owned(),
        muster_version: String::new(),
        gpu: None,
    };
    let actions = step(core, store, Event::Register { request: RequestId(2), capabilities });
    let known = actions.iter().find_map(|action| match action {
        Action::Reply { answer: Ok(Answer::Registered(known)), .. } => Some(*known),
        _ => None,
    });
    let known = known.unwrap();
    let hello = Hello { worker: known.worker, incarnation: known.incarnation, running: None };
    let session = SessionId(known.worker.0);
    step(core, store, Event::SessionOpened { session, hello }).into_iter().find_map(|action| match action {
        Action::Send { directive: Directive::Prepare(prepare), .. } => Some(prepare),
        _ => None,
    })
}

#[test]
fn a_generation_that_was_given_out_is_not_given_out_again_by_the_next_coordinator() {
    let mut store = waiting_job(|record| record["generation"] = 7.into());
    let mut core = restore(&store);
    let prepare = join(&mut core, &mut store, "a", "avx2").unwrap();
    assert_eq!(prepare.fence.generation, Generation(8));
    assert_eq!(restore(&store).jobs(Time::default())[0].generation, Generation(8));
}

#[test]
fn a_later_generation_takes_only_workers_that_compute_as_the_first_did() {
    let mut store = waiting_job(|record| record["numerics"] = "avx512".into());
    let mut core = restore(&store);
    assert_eq!(join(&mut core, &mut store, "a", "avx2"), None);
    let job = &core.jobs(Time::default())[0];
    assert_eq!(job.phase, JobPhase::Gathering);
    assert!(job.reason.contains("numerics avx512"), "{}", job.reason);
    assert!(join(&mut core, &mut store, "b", "avx512").is_some());
}

#[test]
fn two_generations_do_not_share_their_secret() {
    let secret = |generation: u64| {
        let mut store = waiting_job(|record| record["generation"] = generation.into());
        join(&mut restore(&store), &mut store, "a", "avx2").unwrap().cohort.collective_token
    };
    assert_eq!(secret(1), secret(1));
    assert_ne!(secret(1), secret(2));
}

#[test]
fn a_store_that_a_newer_version_wrote_is_refused_by_its_key() {
    let unknown = Store::from([("core/schedules/1".to_owned(), b"{}".to_vec())]);
    let error = Core::restore(Time::default(), Config::default(), [3; 32], unknown).unwrap_err();
    assert!(error.to_string().contains("core/schedules/1"), "{error}");
    let mut half = waiting_job(|_| {});
    half.retain(|key, _| !key.ends_with("/submission"));
    let error = Core::restore(Time::default(), Config::default(), [3; 32], half).unwrap_err();
    assert!(error.to_string().contains("half of job-1"), "{error}");
}

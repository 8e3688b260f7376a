//! A cohort told by what differs from the one before is the cohort.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Arc;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use muster_proto::control::{Cohort, Directive, Prepare};
use muster_proto::convert::{Directives, Error};
use muster_proto::fence::Fence;
use muster_proto::ids::{Generation, Incarnation, JobId, Rank, WorkerId};
use muster_proto::sharding::{Placement, ShardingPlan, TablePlan};
use muster_proto::wire;
use muster_proto::wire::prepare::Cohort as Told;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use prost::Message as _;

fn cohort(ranks: u32) -> impl Strategy<Value = Cohort> {
    let owners = || vec(0..ranks, 5);
    let workers = vec(0_u64..8, ranks as usize);
    (workers, owners(), owners(), any::<u8>(), proptest::option::of("[a-z]{0,4}")).prop_map(
        move |(workers, first, second, token, checkpoint)| {
            let table = |owners| TablePlan { placement: Placement::RowWise, owners };
            let tables =
                BTreeMap::from([("item".to_owned(), table(first)), ("user".to_owned(), table(second))]);
            Cohort {
                peers: workers
                    .into_iter()
                    .map(|worker| (WorkerId(worker), format!("host-{worker}:1")))
                    .collect(),
                spec_toml: "seed = 1".into(),
                dataset_dir: "data".into(),
                run_dir: "run".into(),
                plan: ShardingPlan { world_size: ranks, micro_batches: 8, tables },
                collective_token: [token; 32],
                checkpoint,
            }
        },
    )
}

fn cohorts() -> impl Strategy<Value = Vec<Cohort>> {
    vec((1_u32..7).prop_flat_map(cohort), 1..8)
}

fn told(generation: u64, cohort: &Cohort, told: Told) -> (Prepare, wire::SessionResponse) {
    let fence = Fence { job: JobId(1), generation: Generation(generation), incarnation: Incarnation(3) };
    let prepare = Prepare { fence, rank: Rank(0), cohort: Arc::new(cohort.clone()) };
    let directive = Some(wire::session_response::Directive::Prepare(prepare.to_wire(told)));
    (prepare, wire::SessionResponse { directive })
}

proptest! {
    #[test]
    fn a_session_makes_the_same_of_changes_as_of_wholes(cohorts in cohorts()) {
        let mut session = Directives::default();
        for (generation, cohort) in (1..).zip(&cohorts) {
            let encoded = match generation {
                1 => Told::Whole(cohort.encode()),
                _ => {
                    let base = &cohorts[generation as usize - 2];
                    Told::Change(cohort.encode_change(base, Generation(generation - 1)).unwrap())
                }
            };
            let (prepare, message) = told(generation, cohort, encoded);
            prop_assert_eq!(session.read(message).unwrap(), Directive::Prepare(prepare));
        }
    }

    #[test]
    fn bytes_that_are_no_cohort_are_refused_and_never_a_panic(
        bytes in vec(any::<u8>(), 0..64),
        first in cohort(3),
        is_change in any::<bool>(),
    ) {
        let mut session = Directives::default();
        session.read(told(1, &first, Told::Whole(first.encode())).1).unwrap();
        let encoded = if is_change { Told::Change } else { Told::Whole };
        for bytes in [deflated(&bytes), bytes.into()] {
            let _ = session.read(told(2, &first, encoded(bytes)).1);
        }
    }
}

#[test]
fn a_change_of_what_was_not_told_on_this_session_is_refused() {
    let first = some_cohort();
    let change = first.encode_change(&first, Generation(1)).unwrap();
    let (_, message) = told(2, &first, Told::Change(change.clone()));
    assert_eq!(Directives::default().read(message).unwrap_err(), Error::UnknownBase { base: 1 });
    let mut session = Directives::default();
    session.read(told(4, &first, Told::Whole(first.encode())).1).unwrap();
    let (_, message) = told(5, &first, Told::Change(change));
    assert_eq!(session.read(message).unwrap_err(), Error::UnknownBase { base: 1 });
}

fn some_cohort() -> Cohort {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    cohort(3).new_tree(&mut runner).unwrap().current()
}

fn deflated(bytes: &[u8]) -> prost::bytes::Bytes {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap().into()
}

#[test]
fn a_cohort_that_cannot_be_is_refused_by_its_field() {
    let refused = |spoil: &dyn Fn(&mut wire::Cohort)| {
        let mut message = wire::Cohort::from(&some_cohort());
        spoil(&mut message);
        let whole = Told::Whole(deflated(&message.encode_to_vec()));
        Directives::default().read(told(1, &some_cohort(), whole).1).unwrap_err().to_string()
    };
    assert!(refused(&|cohort| cohort.collective_token.truncate(31)).contains("collective_token"));
    assert!(refused(&|cohort| cohort.addresses.truncate(3)).contains("address_lengths"));
    assert!(refused(&|cohort| cohort.plan = None).contains("plan"));
    let nobody = refused(&|cohort| {
        (cohort.addresses, cohort.address_lengths, cohort.worker_steps) = Default::default();
    });
    assert!(nobody.contains("rank"), "{nobody}");
}

#[test]
fn bytes_that_would_fill_the_memory_are_refused() {
    let bomb = deflated(&vec![0; 80 << 20]);
    assert!(bomb.len() < 1 << 20, "{} bytes", bomb.len());
    let (_, message) = told(1, &some_cohort(), Told::Whole(bomb));
    assert!(matches!(Directives::default().read(message), Err(Error::Undecodable { .. })));
}

#[test]
fn cohorts_that_differ_in_more_than_a_generation_changes_have_no_change() {
    let first = some_cohort();
    let other_job = Cohort { spec_toml: "seed = 2".into(), ..first.clone() };
    assert_eq!(other_job.encode_change(&first, Generation(1)), None);
    let mut other_tables = first.clone();
    other_tables.plan.tables.pop_last();
    assert_eq!(other_tables.encode_change(&first, Generation(1)), None);
    let mut other_layout = first.clone();
    other_layout.plan.tables.values_mut().for_each(|table| table.placement = Placement::DataParallel);
    assert_eq!(other_layout.encode_change(&first, Generation(1)), None);
}

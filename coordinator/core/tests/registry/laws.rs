//! What holds after any requests, in any order, right or wrong.

use std::collections::{BTreeMap, BTreeSet};

use muster_core::Write;
use muster_core::retrain::registry::{CHAMPION, Error, Registry, VersionNumber};
use muster_proto::schedule::RetentionSpec;
use muster_proto::units::ByteSize;
use proptest::prelude::*;

use super::{ana, apply, hours, model};

/// A request; versions are places among those that there ever were, so that many are of ones that are gone.
#[derive(Debug, Clone)]
enum Request {
    Register { digest: u8, bytes: u64 },
    Promote { version: u8, guess: Option<u8> },
    RollBack { guess: u8 },
    Move { alias: u8, version: u8, guess: Option<u8> },
    Unname { alias: u8, guess: u8 },
    Hold { version: u8, run: u8 },
    LetGo { run: u8 },
    Remove { version: u8 },
    Retain { keep: Option<u32>, size: Option<u64> },
    Remark { version: u8 },
}

fn requests() -> impl Strategy<Value = Vec<Request>> {
    let version = || 1_u8..12;
    let guess = || prop::option::of(1_u8..12);
    let request = prop_oneof![
        4 => (0_u8..20, 1_u64..100).prop_map(|(digest, bytes)| Request::Register { digest, bytes }),
        3 => (version(), guess()).prop_map(|(version, guess)| Request::Promote { version, guess }),
        1 => version().prop_map(|guess| Request::RollBack { guess }),
        2 => (0_u8..3, version(), guess()).prop_map(|(alias, version, guess)| Request::Move { alias, version, guess }),
        1 => (0_u8..3, version()).prop_map(|(alias, guess)| Request::Unname { alias, guess }),
        1 => (version(), 0_u8..3).prop_map(|(version, run)| Request::Hold { version, run }),
        1 => (0_u8..3).prop_map(|run| Request::LetGo { run }),
        2 => version().prop_map(|version| Request::Remove { version }),
        2 => (prop::option::of(0_u32..4), prop::option::of(1_u64..200)).prop_map(|(keep, size)| Request::Retain { keep, size }),
        1 => version().prop_map(|version| Request::Remark { version }),
    ];
    prop::collection::vec(request, 1..60)
}

fn number(place: u8) -> VersionNumber {
    VersionNumber(u64::from(place))
}

/// Does what is asked; a guess of none half of the time stands for the right one, so that some requests go through.
fn ask(registry: &mut Registry, request: &Request, at: i64) -> Result<Vec<Write>, Error> {
    let right = |alias: &str, guess: Option<u8>| {
        guess.map_or_else(|| registry.alias(alias), |guess| Some(number(guess)))
    };
    match request {
        Request::Register { digest, bytes } => {
            registry.register(model(&format!("m{digest}"), *bytes), ana(at)).map(|(_, writes)| writes)
        }
        Request::Promote { version, guess } => {
            let expected = right(CHAMPION, *guess);
            registry.promote(number(*version), expected, ana(at))
        }
        Request::RollBack { guess } => registry.roll_back(number(*guess), ana(at)),
        Request::Move { alias, version, guess } => {
            let alias = format!("free-{alias}");
            let expected = right(&alias, *guess);
            registry.move_alias(&alias, number(*version), expected, ana(at))
        }
        Request::Unname { alias, guess } => {
            registry.remove_alias(&format!("free-{alias}"), number(*guess), ana(at))
        }
        Request::Hold { version, run } => registry.hold(number(*version), &format!("run-{run}")),
        Request::LetGo { run } => Ok(registry.let_go(&format!("run-{run}"))),
        Request::Remove { version } => registry.remove(number(*version), ana(at)),
        Request::Remark { version } => registry.remark(number(*version), "seen", ana(at)),
        Request::Retain { keep, size } => {
            let policy =
                RetentionSpec { keep: *keep, max_age: None, max_size: size.map(ByteSize::from_bytes) };
            let mut writes = Vec::new();
            for version in registry.plan_retention(&policy, hours(at)) {
                writes.extend(registry.remove(version, ana(at))?);
            }
            Ok(writes)
        }
    }
}

/// What the request says that the alias is at, and what it is at.
fn is_stale(before: &Registry, request: &Request) -> bool {
    let wrong = |alias: &str, guess: Option<u8>| {
        guess.is_some_and(|guess| before.alias(alias) != Some(number(guess)))
    };
    match request {
        Request::Promote { guess, .. } => wrong(CHAMPION, *guess),
        Request::RollBack { guess } => wrong(CHAMPION, Some(*guess)),
        Request::Move { alias, guess, .. } => wrong(&format!("free-{alias}"), *guess),
        Request::Unname { alias, guess } => wrong(&format!("free-{alias}"), Some(*guess)),
        _ => false,
    }
}

proptest! {
    #[test]
    fn aliases_never_dangle_what_is_needed_stays_and_the_store_has_all_of_it(requests in requests()) {
        let mut registry = Registry::new("shop").unwrap();
        let (mut store, mut ever) = (BTreeMap::new(), BTreeSet::new());
        for (at, request) in (1..).zip(&requests) {
            let before = registry.clone();
            let needed: Vec<VersionNumber> =
                before.versions().map(|v| v.number).filter(|v| before.needed_by(*v).is_some()).collect();
            match ask(&mut registry, request, at) {
                Ok(writes) => {
                    prop_assert!(!is_stale(&before, request), "a stale {request:?} went through");
                    apply(&mut store, writes);
                }
                Err(error) => prop_assert_eq!(&registry, &before, "{} changed something", error),
            }
            for (alias, version) in registry.aliases() {
                prop_assert!(registry.version(version).is_ok(), "{alias} dangles after {request:?}");
            }
            for version in needed {
                prop_assert!(registry.version(version).is_ok(), "{version} was needed and is gone after {request:?}");
            }
            for version in registry.versions().map(|version| version.number) {
                let is_old = before.version(version).is_ok();
                prop_assert!(is_old || ever.insert(version), "{version} was given twice");
            }
            prop_assert!(registry.history().count() >= before.history().count());
            let mut restored = Registry::restore(store.clone()).unwrap();
            let restored = restored.remove("shop").unwrap_or_else(|| Registry::new("shop").unwrap());
            prop_assert_eq!(&restored, &registry, "after {:?}", request);
        }
    }

    #[test]
    fn retention_keeps_within_its_bounds_unless_the_rest_is_needed(
        sizes in prop::collection::vec(1_u64..100, 1..20), held in prop::collection::vec(1_u8..20, 0..6),
        keep in 0_u32..10, most in 1_u64..500,
    ) {
        let mut registry = Registry::new("shop").unwrap();
        for (place, bytes) in (0..).zip(&sizes) {
            registry.register(model(&format!("m{place}"), *bytes), ana(place)).unwrap();
        }
        for version in &held {
            // Some are not there.
            let _ = registry.hold(number(*version), "run");
        }
        let policy = RetentionSpec { keep: Some(keep), max_age: None, max_size: Some(ByteSize::from_bytes(most)) };
        for version in registry.plan_retention(&policy, hours(99)) {
            registry.remove(version, ana(99)).unwrap();
        }
        let free = registry.versions().filter(|version| registry.needed_by(version.number).is_none()).count();
        let bytes: u64 = registry.versions().map(|version| version.model.bytes).sum();
        prop_assert!(free <= keep as usize);
        prop_assert!(bytes <= most || free == 0, "{bytes} bytes, {free} of them free");
        prop_assert!(registry.plan_retention(&policy, hours(99)).is_empty());
    }
}

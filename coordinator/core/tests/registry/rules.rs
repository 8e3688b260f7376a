//! Each rule by example.

use std::collections::BTreeMap;
use std::time::Duration;

use muster_core::retrain::registry::{
    CHAMPION, Change, Error, PREVIOUS, Registry, RestoreError, VersionNumber,
};
use muster_proto::capacity::DurationText;
use muster_proto::schedule::RetentionSpec;
use muster_proto::units::ByteSize;

use super::{ana, apply, hours, model, registry};

const V1: VersionNumber = VersionNumber(1);
const V2: VersionNumber = VersionNumber(2);
const V3: VersionNumber = VersionNumber(3);

#[test]
fn a_model_that_is_registered_again_keeps_its_number() {
    let mut registry = registry(2);
    let (again, writes) = registry.register(model("m1", 100), ana(9)).unwrap();
    assert_eq!((again, writes.len(), registry.versions().count()), (V1, 0, 2));
    let mut other = model("m1", 100);
    other.lineage.seed = 7;
    assert_eq!(registry.register(other, ana(9)).unwrap().0, V3);
}

#[test]
fn a_number_is_not_given_again_after_its_version_is_gone() {
    let mut registry = registry(2);
    registry.remove(V2, ana(5)).unwrap();
    assert_eq!(registry.register(model("m2", 100), ana(6)).unwrap().0, V3);
}

#[test]
fn promotion_and_roll_back_move_champion_and_previous_together() {
    let mut registry = registry(3);
    registry.promote(V1, None, ana(4)).unwrap();
    assert_eq!((registry.alias(CHAMPION), registry.alias(PREVIOUS)), (Some(V1), None));
    assert!(matches!(registry.roll_back(V1, ana(4)), Err(Error::NothingBefore { .. })));
    registry.promote(V3, Some(V1), ana(5)).unwrap();
    assert_eq!((registry.alias(CHAMPION), registry.alias(PREVIOUS)), (Some(V3), Some(V1)));
    registry.roll_back(V3, ana(6)).unwrap();
    assert_eq!((registry.alias(CHAMPION), registry.alias(PREVIOUS)), (Some(V1), Some(V3)));
    let last = registry.history().next_back().unwrap();
    assert_eq!(last.change, Change::RolledBack { version: V1, from: V3 });
}

#[test]
fn of_two_who_promote_at_once_the_second_loses_and_changes_nothing() {
    let mut registry = registry(3);
    registry.promote(V1, None, ana(4)).unwrap();
    registry.promote(V2, Some(V1), ana(5)).unwrap();
    let before = registry.clone();
    let lost = registry.promote(V3, Some(V1), ana(5)).unwrap_err();
    assert_eq!(
        lost.to_string(),
        "alias champion is at version 2 by now, not at version 1; look again before you move it"
    );
    assert!(matches!(registry.roll_back(V1, ana(6)), Err(Error::Moved { .. })));
    assert!(matches!(registry.promote(V3, None, ana(6)), Err(Error::Moved { .. })));
    assert_eq!(registry, before);
}

#[test]
fn free_aliases_move_by_compare_and_swap_and_the_others_by_promotion_only() {
    let mut registry = registry(2);
    registry.move_alias("canary", V1, None, ana(3)).unwrap();
    assert!(matches!(registry.move_alias("canary", V2, None, ana(3)), Err(Error::Moved { .. })));
    registry.move_alias("canary", V2, Some(V1), ana(4)).unwrap();
    assert!(matches!(registry.remove_alias("canary", V1, ana(4)), Err(Error::Moved { .. })));
    registry.remove_alias("canary", V2, ana(5)).unwrap();
    let error = registry.remove_alias("canary", V2, ana(5)).unwrap_err();
    assert_eq!(error.to_string(), "model shop has no alias canary; there are: none");
    for alias in [CHAMPION, PREVIOUS] {
        assert!(matches!(registry.move_alias(alias, V1, None, ana(6)), Err(Error::Reserved { .. })));
    }
    for alias in ["", "a/b", "..", "7", "x y"] {
        assert!(matches!(registry.move_alias(alias, V1, None, ana(6)), Err(Error::Name { .. })), "{alias}");
    }
    assert!(matches!(
        registry.move_alias("a", VersionNumber(9), None, ana(6)),
        Err(Error::UnknownVersion { .. })
    ));
}

#[test]
fn remarks_and_labels_stay_with_their_version() {
    let mut registry = registry(1);
    registry.remark(V1, "looks good", ana(2)).unwrap();
    registry.label(V1, ("team", Some("search")), ana(3)).unwrap();
    let version = registry.version(V1).unwrap();
    assert_eq!((version.notes[0].text.as_str(), version.labels["team"].as_str()), ("looks good", "search"));
    registry.label(V1, ("team", None), ana(4)).unwrap();
    assert!(registry.version(V1).unwrap().labels.is_empty());
    assert!(matches!(registry.remark(V1, &"x".repeat(10_001), ana(5)), Err(Error::TooLong { .. })));
}

#[test]
fn what_is_not_a_number_is_not_kept() {
    let mut spoiled = model("m", 1);
    spoiled.metrics.insert("loss".into(), f64::NAN);
    let error = registry(0).register(spoiled, ana(1)).unwrap_err();
    assert!(error.to_string().starts_with("loss of the model is NaN"), "{error}");
}

#[test]
fn retention_goes_by_number_age_and_size_and_takes_the_oldest_first() {
    let mut registry = registry(6);
    registry.promote(V1, None, ana(7)).unwrap();
    registry.hold(V2, "run-9").unwrap();
    let numbers = |policy: RetentionSpec| {
        registry.plan_retention(&policy, hours(6)).iter().map(|v| v.0).collect::<Vec<_>>()
    };
    assert_eq!(numbers(RetentionSpec::default()), [0_u64; 0]);
    assert_eq!(numbers(RetentionSpec { keep: Some(2), ..RetentionSpec::default() }), [3, 4]);
    let age = Some(DurationText(Duration::from_secs(2 * 3600)));
    assert_eq!(numbers(RetentionSpec { max_age: age, ..RetentionSpec::default() }), [3, 4]);
    let size = |bytes| Some(ByteSize::from_bytes(bytes));
    assert_eq!(numbers(RetentionSpec { max_size: size(450), ..RetentionSpec::default() }), [3, 4]);
    assert_eq!(numbers(RetentionSpec { max_size: size(1), ..RetentionSpec::default() }), [3, 4, 5, 6]);
    assert_eq!(numbers(RetentionSpec { keep: Some(3), max_age: None, max_size: size(500) }), [3]);
}

#[test]
fn what_an_alias_names_or_a_run_works_on_cannot_be_removed() {
    let mut registry = registry(2);
    registry.move_alias("canary", V1, None, ana(3)).unwrap();
    registry.hold(V2, "run-9").unwrap();
    let refused =
        |registry: &mut Registry, version| registry.remove(version, ana(4)).unwrap_err().to_string();
    assert_eq!(refused(&mut registry, V1), "version 1 cannot be removed: it is what alias canary names");
    assert_eq!(refused(&mut registry, V2), "version 2 cannot be removed: run run-9 works on it");
    registry.let_go("run-9");
    registry.remove(V2, ana(5)).unwrap();
    let last = registry.history().next_back().unwrap();
    assert_eq!(last.change, Change::Removed { version: V2, checkpoint: "runs/m2".into() });
}

#[test]
fn what_a_store_cannot_have_is_named() {
    let mut registry = registry(0);
    let mut store = BTreeMap::new();
    apply(&mut store, registry.register(model("m", 1), ana(1)).unwrap().1);
    apply(&mut store, registry.promote(V1, None, ana(2)).unwrap());
    let restored = |store: BTreeMap<String, Vec<u8>>| Registry::restore(store);
    assert_eq!(restored(store.clone()).unwrap()["shop"], registry);
    let mut dangling = store.clone();
    dangling.remove("models/shop/versions/00000000000000000001").unwrap();
    assert!(matches!(restored(dangling), Err(RestoreError::Dangling { version: V1, .. })));
    let mut unknown = store.clone();
    unknown.insert("models/shop/colours/3".into(), b"1".to_vec());
    assert!(matches!(restored(unknown), Err(RestoreError::UnknownKey { .. })));
    let mut torn = store;
    torn.insert("models/shop/aliases/champion".into(), b"{".to_vec());
    assert!(matches!(restored(torn), Err(RestoreError::Value { .. })));
}

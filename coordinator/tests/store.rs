//! One suite for every kind of store.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use muster_coordinator::store::{EmbeddedStore, Error, Guard, MemoryStore, Revision, Store};
use muster_core::Write;

fn put(key: &str, value: &str) -> Write {
    Write::Put { key: key.into(), value: value.into() }
}

fn delete(key: &str) -> Write {
    Write::Delete { key: key.into() }
}

fn guard(key: &str, revision: Revision) -> Guard {
    Guard { key: key.into(), revision }
}

async fn value(store: &impl Store, key: &str) -> Option<String> {
    store.get(key).await.unwrap().map(|entry| String::from_utf8(entry.value).unwrap())
}

async fn what_is_written_is_read_back(store: impl Store) {
    assert_eq!(store.get("a").await.unwrap(), None);
    let first = store.commit(vec![], vec![put("a", "1"), put("b", "2")]).await.unwrap();
    let second = store.commit(vec![], vec![put("a", "3"), delete("b"), delete("none")]).await.unwrap();
    assert!(second > first);
    assert_eq!(store.get("a").await.unwrap().unwrap().revision, second);
    assert_eq!(value(&store, "a").await.as_deref(), Some("3"));
    assert_eq!(value(&store, "b").await, None);
}

async fn a_range_is_a_prefix_in_order(store: impl Store) {
    let writes = ["b/2", "a/9", "b/10", "b", "b0", "c/1", "b/1"].map(|key| put(key, key));
    store.commit(vec![], writes.to_vec()).await.unwrap();
    let keys: Vec<String> = store.range("b/").await.unwrap().into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["b/1", "b/10", "b/2"]);
    assert_eq!(store.range("d").await.unwrap(), []);
    assert_eq!(store.range("").await.unwrap().len(), 7);
}

async fn a_commit_whose_guard_does_not_hold_writes_nothing(store: impl Store) {
    let first = store.commit(vec![guard("leader", Revision(0))], vec![put("leader", "x")]).await.unwrap();
    let second = store.commit(vec![guard("leader", first)], vec![put("leader", "y")]).await.unwrap();
    for stale in [Revision(0), first] {
        let refused =
            store.commit(vec![guard("leader", stale)], vec![put("a", "1"), put("leader", "z")]).await;
        let Err(Error::Conflict { key, expected, found }) = refused else { panic!("{stale:?} was taken") };
        assert_eq!((key.as_str(), expected, found), ("leader", stale, second));
    }
    assert_eq!(value(&store, "a").await, None);
    assert_eq!(value(&store, "leader").await.as_deref(), Some("y"));
    let later = store.commit(vec![guard("leader", second)], vec![put("a", "1")]).await.unwrap();
    assert!(later > second);
}

async fn a_deleted_key_counts_as_never_written(store: impl Store) {
    store.commit(vec![], vec![put("a", "1")]).await.unwrap();
    store.commit(vec![], vec![delete("a")]).await.unwrap();
    store.commit(vec![guard("a", Revision(0))], vec![put("a", "2")]).await.unwrap();
    assert_eq!(value(&store, "a").await.as_deref(), Some("2"));
}

async fn of_many_that_claim_one_key_one_gets_it(store: impl Store + Clone) {
    let claims = (0..8).map(|claimant: usize| {
        let store = store.clone();
        tokio::spawn(async move {
            store.commit(vec![guard("leader", Revision(0))], vec![put("leader", &claimant.to_string())]).await
        })
    });
    let mut won = 0;
    for claim in claims.collect::<Vec<_>>() {
        won += usize::from(claim.await.unwrap().is_ok());
    }
    assert_eq!(won, 1);
}

macro_rules! suite {
    ($($test:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test]
            async fn $test() {
                super::$test(super::MemoryStore::default()).await;
            })*
        }

        mod embedded {
            $(#[tokio::test]
            async fn $test() {
                let dir = tempfile::tempdir().unwrap();
                super::$test(super::EmbeddedStore::open(&dir.path().join("store")).await.unwrap()).await;
            })*
        }
    };
}

suite![
    what_is_written_is_read_back,
    a_range_is_a_prefix_in_order,
    a_commit_whose_guard_does_not_hold_writes_nothing,
    a_deleted_key_counts_as_never_written,
    of_many_that_claim_one_key_one_gets_it,
];

#[tokio::test]
async fn an_embedded_store_keeps_values_and_revisions_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let store = EmbeddedStore::open(&path).await.unwrap();
    let before = store.commit(vec![], vec![put("a", "1")]).await.unwrap();
    drop(store);
    let store = EmbeddedStore::open(&path).await.unwrap();
    assert_eq!(store.get("a").await.unwrap().unwrap().revision, before);
    assert!(store.commit(vec![], vec![put("b", "1")]).await.unwrap() > before);
}

#[tokio::test]
async fn a_store_that_is_open_elsewhere_is_refused_by_its_path() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let _held = EmbeddedStore::open(&path).await.unwrap();
    let refused = EmbeddedStore::open(&path).await.unwrap_err();
    assert!(refused.to_string().contains("store"), "{refused}");
}

#[tokio::test]
async fn a_file_that_is_no_store_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    std::fs::write(&path, "something else\n").unwrap();
    EmbeddedStore::open(&path).await.unwrap_err();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "something else\n");
}

//! One suite for every kind of store.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

#[path = "../../tests/src/etcd.rs"]
#[allow(
    clippy::print_stdout,
    unreachable_pub,
    dead_code,
    reason = "shared with tests/, which uses all of it; a test that is skipped says so"
)]
mod etcd;

use std::process::Command;
use std::time::{Duration, Instant};

use etcd::Etcd;
use muster_coordinator::store::{
    EmbeddedStore, Error, EtcdStore, Guard, MemoryStore, Revision, Store, Watch, Write,
};

/// Long enough for a busy machine; only failing tests wait for it.
const PATIENCE: Duration = Duration::from_secs(60);

fn put(key: &str, value: &str) -> Write {
    Write::Put { key: key.into(), value: value.into(), lease: None }
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

async fn of_several_writes_to_a_key_the_last_counts(store: impl Store) {
    store.commit(vec![], vec![put("a", "1"), delete("a"), put("b", "1")]).await.unwrap();
    assert_eq!((value(&store, "a").await, value(&store, "b").await), (None, Some("1".to_owned())));
    store.commit(vec![], vec![delete("b"), put("b", "2"), put("b", "3")]).await.unwrap();
    assert_eq!(value(&store, "b").await.as_deref(), Some("3"));
}

async fn a_commit_of_thousands_of_keys_is_as_good_as_one_of_two(store: impl Store) {
    let keys: Vec<String> = (0..3000).map(|number| format!("many/{number:04}")).collect();
    let lead = store.commit(vec![], vec![put("leader", "x")]).await.unwrap();
    let puts: Vec<Write> = keys.iter().map(|key| put(key, "1")).collect();
    let stale = store.commit(vec![guard("leader", Revision(0))], puts.clone()).await;
    assert!(matches!(stale, Err(Error::Conflict { .. })), "{stale:?}");
    assert_eq!(store.range("many/").await.unwrap(), []);
    let written = store.commit(vec![guard("leader", lead)], puts).await.unwrap();
    let found = store.range("many/").await.unwrap();
    assert!(found.iter().all(|(_, entry)| entry.revision > lead && entry.revision <= written));
    assert_eq!(found.into_iter().map(|(key, _)| key).collect::<Vec<_>>(), keys);
    let deletes = keys.iter().map(|key| delete(key)).collect();
    store.commit(vec![guard("leader", lead)], deletes).await.unwrap();
    let left: Vec<String> = store.range("").await.unwrap().into_iter().map(|(key, _)| key).collect();
    assert_eq!(left, ["leader"]);
}

/// Waits until a watch tells that there are these keys.
async fn until(watch: &mut Watch, wanted: &[&str]) {
    let waiting = async {
        while watch.next().await.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>() != wanted {}
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("the watch never tells");
}

async fn a_key_goes_away_with_its_lease_and_not_before(store: impl Store) {
    let mut watch = store.watch("led/");
    until(&mut watch, &[]).await;
    let asked = Duration::from_secs(1);
    let lease = store.lease(asked).await.unwrap();
    assert!(lease.ttl >= asked, "{lease:?}");
    let leased = Write::Put { key: "led/by".into(), value: "x".into(), lease: Some(lease.id) };
    store.commit(vec![], vec![leased.clone(), put("led/for", "good")]).await.unwrap();
    let kept_until = Instant::now() + lease.ttl * 2;
    while Instant::now() < kept_until {
        store.keep_alive(lease).await.unwrap();
        assert_eq!(value(&store, "led/by").await.as_deref(), Some("x"));
    }
    let last_heard_of = Instant::now();
    until(&mut watch, &["led/for"]).await;
    assert!(last_heard_of.elapsed() > lease.ttl / 2, "it went away before its time");
    assert_eq!(value(&store, "led/by").await, None);
    assert!(matches!(store.keep_alive(lease).await, Err(Error::LeaseEnded { .. })));
    assert!(matches!(store.commit(vec![], vec![leased]).await, Err(Error::LeaseEnded { .. })));
    store.revoke(lease).await.unwrap();
}

async fn a_lease_that_is_revoked_takes_its_keys_along(store: impl Store) {
    let lease = store.lease(Duration::from_secs(3600)).await.unwrap();
    let leased = |key: &str| Write::Put { key: key.into(), value: "x".into(), lease: Some(lease.id) };
    store.commit(vec![], vec![leased("a"), leased("b"), put("c", "1")]).await.unwrap();
    // Written again without the lease, it stays.
    store.commit(vec![], vec![put("b", "2")]).await.unwrap();
    store.revoke(lease).await.unwrap();
    let left: Vec<String> = store.range("").await.unwrap().into_iter().map(|(key, _)| key).collect();
    assert_eq!(left, ["b", "c"]);
    assert!(matches!(store.keep_alive(lease).await, Err(Error::LeaseEnded { .. })));
}

async fn a_watch_tells_what_is_there_and_what_becomes_of_it(store: impl Store) {
    store.commit(vec![], vec![put("w/a", "1"), put("x", "1")]).await.unwrap();
    let mut watch = store.watch("w/");
    until(&mut watch, &["w/a"]).await;
    store.commit(vec![], vec![put("w/b", "1"), delete("w/a")]).await.unwrap();
    until(&mut watch, &["w/b"]).await;
    store.commit(vec![], vec![delete("w/b")]).await.unwrap();
    until(&mut watch, &[]).await;
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

        mod in_etcd {
            $(#[tokio::test]
            async fn $test() {
                let Some(etcd) = super::Etcd::start() else { return };
                super::$test(super::in_etcd(&etcd)).await;
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
    of_several_writes_to_a_key_the_last_counts,
    a_commit_of_thousands_of_keys_is_as_good_as_one_of_two,
    a_key_goes_away_with_its_lease_and_not_before,
    a_lease_that_is_revoked_takes_its_keys_along,
    a_watch_tells_what_is_there_and_what_becomes_of_it,
];

/// A store whose calls are not in a hurry.
fn in_etcd(etcd: &Etcd) -> EtcdStore {
    EtcdStore::new(std::slice::from_ref(&etcd.endpoint), "clusters/one", Duration::from_secs(10)).unwrap()
}

#[tokio::test]
async fn a_watch_outlives_the_connection_and_the_etcd_that_it_was_opened_with() {
    let Some(mut etcd) = Etcd::start() else { return };
    let store =
        EtcdStore::new(std::slice::from_ref(&etcd.endpoint), "p", Duration::from_millis(500)).unwrap();
    let mut watch = store.watch("w/");
    until(&mut watch, &[]).await;
    etcd.restart();
    commit_in_the_end(&store, put("w/a", "1")).await;
    until(&mut watch, &["w/a"]).await;
}

/// Commits, as often as it takes for etcd to be back.
async fn commit_in_the_end(store: &EtcdStore, write: Write) {
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = store.commit(vec![], vec![write.clone()]).await {
        assert!(error.is_transient() && Instant::now() < deadline, "{error}");
    }
}

#[tokio::test]
async fn a_call_to_an_etcd_that_hangs_ends_at_its_deadline_and_the_next_finds_it_well() {
    let Some(etcd) = Etcd::start() else { return };
    let deadline = Duration::from_millis(300);
    let store = EtcdStore::new(std::slice::from_ref(&etcd.endpoint), "p", deadline).unwrap();
    commit_in_the_end(&store, put("a", "1")).await;
    signal("STOP", &etcd);
    until_stopped(&etcd);
    let begun = Instant::now();
    let error = store.get("a").await.unwrap_err();
    assert!(error.is_transient() && begun.elapsed() >= deadline, "{error} after {:?}", begun.elapsed());
    signal("CONT", &etcd);
    commit_in_the_end(&store, put("a", "2")).await;
    assert_eq!(value(&in_other_prefix(&etcd), "a").await.as_deref(), Some("2"));
}

fn in_other_prefix(etcd: &Etcd) -> EtcdStore {
    EtcdStore::new(std::slice::from_ref(&etcd.endpoint), "p", Duration::from_secs(10)).unwrap()
}

fn signal(name: &str, etcd: &Etcd) {
    let sent = Command::new("kill").args([format!("-{name}"), etcd.id().to_string()]).status();
    assert!(sent.unwrap().success());
}

/// A signal is sent before each thread has heard of it.
fn until_stopped(etcd: &Etcd) {
    let deadline = Instant::now() + PATIENCE;
    let is_stopped = |thread: std::fs::DirEntry| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        stat.rsplit(')').next().is_none_or(|after| after.trim_start().starts_with('T'))
    };
    while !std::fs::read_dir(format!("/proc/{}/task", etcd.id())).unwrap().flatten().all(is_stopped) {
        assert!(Instant::now() < deadline, "etcd does not stop");
        std::thread::yield_now();
    }
}

#[tokio::test]
async fn a_commit_that_was_interrupted_is_finished_before_the_next() {
    let Some(etcd) = Etcd::start() else { return };
    let store = in_etcd(&etcd);
    // What a coordinator that died in the middle of a large commit leaves behind: etcd's own words for two puts.
    let field = |number: u8, bytes: &[u8]| [&[number << 3 | 2, bytes.len() as u8], bytes].concat();
    let operation = |key: &str| {
        let put = [field(1, format!("clusters/one/{key}").as_bytes()), field(2, b"1")].concat();
        field(2, &field(2, &put))
    };
    let journal = [operation("left/a"), operation("left/b")].concat();
    let journal = Write::Put { key: "journal".into(), value: journal, lease: None };
    store.commit(vec![], vec![journal]).await.unwrap();
    assert_eq!(value(&store, "left/a").await, None);
    store.commit(vec![], vec![delete("left/b"), put("next", "1")]).await.unwrap();
    let keys: Vec<String> = store.range("").await.unwrap().into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["left/a", "next"]);
}

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

//! Who leads: one coordinator of a store at a time, for as long as a lease lasts.
//!
//! The lead is a key. Every commit of a leader is guarded by the key's revision, so one that was succeeded can write
//! nothing more, whatever it believes. Its own monotonic clock tells it to stop before others may begin: the lease is
//! counted from when its renewal was sent, and a tenth of it is given away.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{debug, warn};

use crate::store::{Error, Guard, Lease, Revision, Store, Write};

/// Under which a leader notes that it leads.
pub(crate) const LEADER: &str = "leader";

/// Who wants to lead.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    /// Where clients and workers reach it.
    pub(crate) url: String,
    /// How long others wait for a leader that is silent.
    pub(crate) ttl: Duration,
}

/// What a leader writes down about itself.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    url: String,
    /// Tells this term from every other.
    term: String,
}

/// The URL in a leader's note; none if it cannot be read.
pub(crate) fn url_in(note: &[u8]) -> Option<String> {
    serde_json::from_slice::<Note>(note).ok().map(|note| note.url)
}

/// The lead, for as long as it lasts.
#[derive(Debug)]
pub(crate) struct Lead {
    guard: Guard,
    term: Option<Term>,
}

#[derive(Debug)]
struct Term {
    lease: Lease,
    /// Until when nobody else can lead.
    until: watch::Receiver<Instant>,
    renewal: JoinHandle<()>,
}

impl Drop for Term {
    fn drop(&mut self) {
        self.renewal.abort();
    }
}

impl Lead {
    /// Without which a leader writes nothing.
    pub(crate) fn guard(&self) -> &Guard {
        &self.guard
    }

    /// Whether nobody else can lead now, by this process' clock.
    pub(crate) fn holds(&self) -> bool {
        self.term.as_ref().is_none_or(|term| Instant::now() < *term.until.borrow())
    }

    /// Completes when it is over; never for a store that nobody else can open.
    pub(crate) fn lapsed(&self) -> impl Future<Output = ()> + Send + use<> {
        let until = self.term.as_ref().map(|term| term.until.clone());
        async move {
            let Some(mut until) = until else { return std::future::pending().await };
            loop {
                let end = *until.borrow_and_update();
                tokio::select! {
                    () = sleep_until(end) => return,
                    changed = until.changed() => if changed.is_err() { return sleep_until(end).await },
                }
            }
        }
    }

    /// Lets others lead at once instead of when the lease has run out.
    pub(crate) async fn give_up(self, store: &Arc<impl Store>) {
        let Some(term) = self.term else { return };
        term.renewal.abort();
        match timeout(term.lease.ttl / 3, store.revoke(term.lease)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => debug!(%error, "the lease is left to run out"),
            Err(_) => debug!("the lease is left to run out"),
        }
    }
}

/// Takes the lead of a store that no other process has open.
pub(crate) async fn seize(store: &Arc<impl Store>, url: &str) -> Result<Lead, Error> {
    let before = store.get(LEADER).await?.map_or(Revision(0), |entry| entry.revision);
    let guard = Guard { key: LEADER.to_owned(), revision: before };
    let note = Write::Put { key: LEADER.to_owned(), value: note(url).0, lease: None };
    let revision = store.commit(vec![guard], vec![note]).await?;
    Ok(Lead { guard: Guard { key: LEADER.to_owned(), revision }, term: None })
}

/// Tries to take the lead; the URL of who has it, if somebody else does.
pub(crate) async fn campaign<S: Store>(
    store: &Arc<S>,
    candidate: &Candidate,
) -> Result<Result<Lead, String>, Error> {
    let sent = Instant::now();
    let lease = store.lease(candidate.ttl).await?;
    let (value, term) = note(&candidate.url);
    let free = Guard { key: LEADER.to_owned(), revision: Revision(0) };
    let write = Write::Put { key: LEADER.to_owned(), value, lease: Some(lease.id) };
    let outcome = match store.commit(vec![free], vec![write]).await {
        Ok(revision) => Ok(Ok(revision)),
        // It may have been carried out although no answer came.
        Err(failed) => match (store.get(LEADER).await, failed) {
            (Ok(Some(entry)), _) if is_of_term(&entry.value, &term) => Ok(Ok(entry.revision)),
            (Ok(Some(entry)), Error::Conflict { .. }) => Ok(Err(url_in(&entry.value).unwrap_or_default())),
            (Ok(None), Error::Conflict { .. }) => Ok(Err(String::new())),
            (_, failed) => Err(failed),
        },
    };
    if !matches!(outcome, Ok(Ok(_))) {
        // If it cannot be revoked it runs out.
        let _ = store.revoke(lease).await;
    }
    let revision = match outcome? {
        Ok(revision) => revision,
        Err(leader) => return Ok(Err(leader)),
    };
    let (until, receiver) = watch::channel(end_of_term(sent, lease));
    let renewal = tokio::spawn(renew(Arc::clone(store), lease, until));
    let guard = Guard { key: LEADER.to_owned(), revision };
    Ok(Ok(Lead { guard, term: Some(Term { lease, until: receiver, renewal }) }))
}

/// When a leader stops whose last word to the store was sent at `sent`.
fn end_of_term(sent: Instant, lease: Lease) -> Instant {
    sent + lease.ttl - lease.ttl / 10
}

/// Keeps the lease alive for as long as it can be.
async fn renew(store: Arc<impl Store>, lease: Lease, until: watch::Sender<Instant>) {
    let mut failing = false;
    loop {
        sleep(lease.ttl / 6).await;
        let sent = Instant::now();
        match store.keep_alive(lease).await {
            Ok(()) => {
                failing = false;
                until.send_replace(end_of_term(sent, lease));
            }
            Err(Error::LeaseEnded { .. }) => {
                warn!("the store has ended this coordinator's lease");
                until.send_replace(sent);
                return;
            }
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    warn!(%error, "this coordinator's lease cannot be renewed, it is tried again");
                }
            }
        }
    }
}

fn note(url: &str) -> (Vec<u8>, String) {
    let mut random = [0; 16];
    // Without random numbers the time of the process tells terms apart as well as anything does.
    let term = match getrandom::fill(&mut random) {
        Ok(()) => format!("{:032x}", u128::from_le_bytes(random)),
        Err(_) => format!("{}-{:?}", std::process::id(), Instant::now()),
    };
    let note = Note { url: url.to_owned(), term: term.clone() };
    (serde_json::to_vec(&note).expect("two strings are JSON"), term)
}

fn is_of_term(value: &[u8], term: &str) -> bool {
    serde_json::from_slice::<Note>(value).is_ok_and(|note| note.term == term)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Entry, MemoryStore, Watch};

    const TTL: Duration = Duration::from_secs(3);

    fn candidate(url: &str) -> Candidate {
        Candidate { url: url.to_owned(), ttl: TTL }
    }

    fn put(key: &str) -> Write {
        Write::Put { key: key.to_owned(), value: Vec::new(), lease: None }
    }

    /// A store that can be cut off from one of its clients.
    #[derive(Clone, Default)]
    struct Distant {
        store: MemoryStore,
        cut_off: Arc<std::sync::atomic::AtomicBool>,
    }

    impl Distant {
        fn reach(&self) -> Result<&MemoryStore, Error> {
            if self.cut_off.load(std::sync::atomic::Ordering::Acquire) {
                return Err(Error::Deadline { endpoint: "far away".to_owned(), deadline: TTL / 4 });
            }
            Ok(&self.store)
        }
    }

    impl Store for Distant {
        const SHARED: bool = true;
        const LARGEST_VALUE: usize = usize::MAX;

        async fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
            self.reach()?.get(key).await
        }

        async fn range(&self, prefix: &str) -> Result<Vec<(String, Entry)>, Error> {
            self.reach()?.range(prefix).await
        }

        async fn commit(&self, guards: Vec<Guard>, writes: Vec<Write>) -> Result<Revision, Error> {
            self.reach()?.commit(guards, writes).await
        }

        async fn lease(&self, ttl: Duration) -> Result<Lease, Error> {
            self.reach()?.lease(ttl).await
        }

        async fn keep_alive(&self, lease: Lease) -> Result<(), Error> {
            self.reach()?.keep_alive(lease).await
        }

        async fn revoke(&self, lease: Lease) -> Result<(), Error> {
            self.reach()?.revoke(lease).await
        }

        fn watch(&self, prefix: &str) -> Watch {
            self.store.watch(prefix)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn of_two_candidates_one_leads_for_as_long_as_it_likes_and_the_other_is_told_who() {
        let store = Arc::new(Distant::default());
        let lead = campaign(&store, &candidate("http://a:1")).await.unwrap().unwrap();
        tokio::time::advance(TTL / 2).await;
        let over = timeout(TTL * 100, lead.lapsed()).await;
        assert!(over.is_err() && lead.holds(), "a lease that is renewed does not lapse");
        let other = campaign(&store, &candidate("http://b:1")).await.unwrap();
        assert_eq!(other.unwrap_err(), "http://a:1");
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_that_is_cut_off_stops_before_another_can_lead() {
        let store = Arc::new(Distant::default());
        let lead = campaign(&store, &candidate("http://a:1")).await.unwrap().unwrap();
        store.cut_off.store(true, std::sync::atomic::Ordering::Release);
        let begun = Instant::now();
        lead.lapsed().await;
        assert!(!lead.holds());
        assert!(begun.elapsed() < TTL, "{:?}", begun.elapsed());
        let others = Arc::new(Distant { store: store.store.clone(), ..Distant::default() });
        let early = campaign(&others, &candidate("http://b:1")).await.unwrap();
        assert_eq!(early.unwrap_err(), "http://a:1");
        tokio::time::advance(TTL / 10).await;
        let later = campaign(&others, &candidate("http://b:1")).await.unwrap();
        assert!(later.is_ok_and(|lead| lead.holds()));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_succeeded_can_write_nothing_whatever_it_believes() {
        let store = Arc::new(Distant::default());
        let first = campaign(&store, &candidate("http://a:1")).await.unwrap().unwrap();
        let stale = first.guard().clone();
        store.commit(vec![stale.clone()], vec![put("core/a")]).await.unwrap();
        first.give_up(&store).await;
        let second = campaign(&store, &candidate("http://b:1")).await.unwrap().unwrap();
        let refused = store.commit(vec![stale], vec![put("core/b")]).await;
        assert!(matches!(refused, Err(Error::Conflict { .. })), "{refused:?}");
        store.commit(vec![second.guard().clone()], vec![put("core/b")]).await.unwrap();
    }
}

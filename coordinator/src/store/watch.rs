//! What lies under a prefix, told whenever it differs from what was told before.
//!
//! A watch tells states, not changes: whoever is slow, or was cut off for a while, misses nothing that still
//! matters, and a connection that breaks is nobody's business but its own.

use tokio::sync::watch;
use tokio::time::Instant;

use super::Entry;

type Entries = Vec<(String, Entry)>;

/// Watches a prefix, until it is dropped.
#[derive(Debug)]
pub struct Watch {
    states: watch::Receiver<Option<Entries>>,
}

impl Watch {
    /// What lies under the prefix; at once the first time, then when it has changed. While the store cannot be
    /// reached it waits. Cancel safe.
    pub async fn next(&mut self) -> Entries {
        loop {
            if self.states.changed().await.is_err() {
                // The process ends.
                std::future::pending::<()>().await;
            }
            if let Some(entries) = self.states.borrow_and_update().clone() {
                return entries;
            }
        }
    }
}

/// The end at which a store says what it has.
pub(super) struct Teller {
    states: watch::Sender<Option<Entries>>,
}

impl Teller {
    pub(super) fn tell(&self, entries: Entries) {
        self.states.send_if_modified(|told| {
            let news = told.as_ref() != Some(&entries);
            if news {
                *told = Some(entries);
            }
            news
        });
    }

    /// Nobody listens any more.
    pub(super) async fn closed(&self) {
        self.states.closed().await;
    }
}

/// Both ends of a watch.
pub(super) fn pair() -> (Teller, Watch) {
    let (teller, states) = watch::channel(None);
    (Teller { states: teller }, Watch { states })
}

/// What there is, and when some of it goes away by itself.
pub(super) type State = (Entries, Option<Instant>);

/// Watches a store of this process: `read` gives what there is, or none where the store is gone, and `changes` moves
/// with every commit.
pub(super) fn local<F, Read>(mut changes: watch::Receiver<u64>, read: F) -> Watch
where
    F: Fn() -> Read + Send + 'static,
    Read: Future<Output = Option<State>> + Send + 'static,
{
    let (teller, watch) = pair();
    tokio::spawn(async move {
        loop {
            changes.borrow_and_update();
            let Some((entries, next_end)) = read().await else { return };
            teller.tell(entries);
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                () = sleep_until(next_end) => {}
                () = teller.closed() => return,
            }
        }
    });
    watch
}

async fn sleep_until(end: Option<Instant>) {
    match end {
        Some(end) => tokio::time::sleep_until(end).await,
        None => std::future::pending().await,
    }
}

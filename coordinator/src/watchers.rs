//! Who watches which job: a bounded channel a job, made for its first watcher and dropped with its last event.

use std::collections::BTreeMap;

use muster_proto::control::JobEvent;
use muster_proto::ids::JobId;
use tokio::sync::broadcast;

/// Events that a watcher may be behind; it is told how many it missed beyond that.
const BEHIND: usize = 256;

/// The channels of the jobs that are watched.
#[derive(Default)]
pub(crate) struct Watchers {
    channels: BTreeMap<JobId, broadcast::Sender<JobEvent>>,
}

impl Watchers {
    pub(crate) fn subscribe(&mut self, job: JobId) -> broadcast::Receiver<JobEvent> {
        self.channels.entry(job).or_insert_with(|| broadcast::channel(BEHIND).0).subscribe()
    }

    pub(crate) fn publish(&mut self, job: JobId, event: JobEvent) {
        let last = event.kind.is_last();
        if let Some(channel) = self.channels.get(&job) {
            let nobody_listens = channel.send(event).is_err();
            if nobody_listens || last {
                self.channels.remove(&job);
            }
        }
    }
}

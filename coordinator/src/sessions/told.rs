//! What each session was told of its job's cohort, so that the next one is told by what differs.
//!
//! All ranks of a generation are told the same, so its bytes are made once, whole and as a change from the generation
//! before, and shared by all messages. A session's memory is one pointer.

use std::collections::VecDeque;
use std::sync::Arc;

use muster_proto::control::{Cohort, Prepare};
use muster_proto::ids::{Generation, JobId};
use muster_proto::wire;
use muster_proto::wire::prepare::Cohort as Encoded;

/// Encodings that are kept: whole and change for each of the jobs that may begin generations at the same time. More
/// jobs than that are right too, and encode more often.
const KEPT: usize = 8;

/// The cohort that a session was told last.
#[derive(Debug, Clone)]
pub(super) struct Told {
    job: JobId,
    generation: Generation,
    cohort: Arc<Cohort>,
}

/// An encoding and what it is of.
struct Entry {
    base: Option<Arc<Cohort>>,
    cohort: Arc<Cohort>,
    encoded: Encoded,
}

/// The newest encodings.
#[derive(Default)]
pub(super) struct Cohorts {
    entries: VecDeque<Entry>,
}

impl Cohorts {
    /// The message for a rank whose session was told `last`; notes what it is told now.
    pub(super) fn encode(&mut self, prepare: &Prepare, last: &mut Option<Told>) -> wire::Prepare {
        let base = last.take().filter(|told| told.job == prepare.fence.job);
        let encoded = self.encoded(&prepare.cohort, base);
        let (job, generation, cohort) =
            (prepare.fence.job, prepare.fence.generation, Arc::clone(&prepare.cohort));
        *last = Some(Told { job, generation, cohort });
        prepare.to_wire(encoded)
    }

    fn encoded(&mut self, cohort: &Arc<Cohort>, base: Option<Told>) -> Encoded {
        let of_base = base.as_ref().map(|told| &told.cohort);
        let is_it = |entry: &&Entry| {
            let same_base = match (&entry.base, of_base) {
                (Some(known), Some(base)) => Arc::ptr_eq(known, base),
                (None, None) => true,
                _ => false,
            };
            same_base && Arc::ptr_eq(&entry.cohort, cohort)
        };
        if let Some(entry) = self.entries.iter().find(is_it) {
            return entry.encoded.clone();
        }
        let encoded = match &base {
            None => Encoded::Whole(cohort.encode()),
            Some(base) => {
                let whole = self.encoded(cohort, None);
                match cohort.encode_change(&base.cohort, base.generation) {
                    // A change of nearly that size saves little, and the whole does not rest on anything.
                    Some(change) if change.len() < length(&whole) / 2 => Encoded::Change(change),
                    _ => whole,
                }
            }
        };
        if self.entries.len() == KEPT {
            self.entries.pop_front();
        }
        let base = base.map(|told| told.cohort);
        self.entries.push_back(Entry { base, cohort: Arc::clone(cohort), encoded: encoded.clone() });
        encoded
    }
}

fn length(encoded: &Encoded) -> usize {
    match encoded {
        Encoded::Whole(bytes) | Encoded::Change(bytes) => bytes.len(),
    }
}

#[cfg(test)]
mod tests {
    use muster_proto::control::Directive;
    use muster_proto::convert::Directives;
    use muster_proto::fence::Fence;
    use muster_proto::ids::{Incarnation, Rank, WorkerId};
    use muster_proto::sharding::ShardingPlan;

    use super::*;

    const RANKS: u32 = 500;

    fn cohort(token: u8, lost: Option<u32>) -> Arc<Cohort> {
        let peer = |rank: u32| {
            let worker = if lost == Some(rank) { 9_999 } else { rank.into() };
            (WorkerId(worker), format!("10.0.0.1:{rank}"))
        };
        Arc::new(Cohort {
            peers: (0..RANKS).map(peer).collect(),
            spec_toml: "seed = 1".into(),
            dataset_dir: "data".into(),
            run_dir: "run".into(),
            plan: ShardingPlan { world_size: RANKS, micro_batches: RANKS, tables: Default::default() },
            collective_token: [token; 32],
            checkpoint: None,
        })
    }

    fn prepare(job: u64, generation: u64, rank: u32, cohort: &Arc<Cohort>) -> Prepare {
        let fence =
            Fence { job: JobId(job), generation: Generation(generation), incarnation: Incarnation(1) };
        Prepare { fence, rank: Rank(rank), cohort: Arc::clone(cohort) }
    }

    /// A session: what the coordinator told on it, and what its worker makes of that.
    #[derive(Default)]
    struct Session {
        last: Option<Told>,
        reader: Directives,
    }

    impl Session {
        /// Tells a rank; the size of what was told.
        fn tell(&mut self, cohorts: &mut Cohorts, prepare: &Prepare) -> usize {
            let message = cohorts.encode(prepare, &mut self.last);
            let size = message.cohort.as_ref().map(length).unwrap();
            let directive = wire::session_response::Directive::Prepare(message);
            let read = self.reader.read(wire::SessionResponse { directive: Some(directive) }).unwrap();
            assert_eq!(read, Directive::Prepare(prepare.clone()));
            size
        }
    }

    #[test]
    fn the_next_generation_is_told_by_what_differs_and_only_where_the_one_before_was_told() {
        let (mut cohorts, mut session) = (Cohorts::default(), Session::default());
        let (first, second) = (cohort(1, None), cohort(2, Some(7)));
        let whole = session.tell(&mut cohorts, &prepare(1, 1, 3, &first));
        let change = session.tell(&mut cohorts, &prepare(1, 2, 3, &second));
        assert!(change < 100 && change < whole / 5, "{whole} and {change} bytes");
        assert!(Session::default().tell(&mut cohorts, &prepare(1, 2, 7, &second)) > change);
        // Another job's ranks are others, whatever they are like.
        assert!(session.tell(&mut cohorts, &prepare(2, 3, 3, &second)) > change);
    }

    #[test]
    fn all_ranks_share_the_bytes_of_their_generation() {
        let mut cohorts = Cohorts::default();
        let (first, second) = (cohort(1, None), cohort(2, Some(7)));
        let mut addresses: Vec<*const u8> = Vec::new();
        let mut sessions: Vec<Option<Told>> = vec![None; RANKS as usize];
        for (generation, cohort) in [(1, &first), (2, &second)] {
            for (rank, last) in (0..).zip(&mut sessions) {
                match cohorts.encode(&prepare(1, generation, rank, cohort), last).cohort.unwrap() {
                    Encoded::Whole(bytes) | Encoded::Change(bytes) => addresses.push(bytes.as_ptr()),
                }
            }
        }
        addresses.dedup();
        assert_eq!(addresses.len(), 2);
    }

    #[test]
    fn more_jobs_than_encodings_are_kept_are_told_right() {
        let (mut cohorts, mut sessions) = (Cohorts::default(), Vec::new());
        sessions.resize_with(3 * KEPT, Session::default);
        for generation in 1..4 {
            for (job, session) in (1..).zip(&mut sessions) {
                let cohort = cohort(job as u8, Some(generation));
                session.tell(&mut cohorts, &prepare(job, generation.into(), 0, &cohort));
            }
        }
        assert_eq!(cohorts.entries.len(), KEPT);
    }
}

//! Commits: one transaction of etcd, or where that would be too large, a journal that is carried out in parts.
//!
//! A journal is one key with all the writes, made under the guards of the commit. From then on the commit has
//! happened: whoever commits next, here or elsewhere, first finishes what the journal says, and no transaction goes
//! through while there is one. Readers that have committed something therefore never see half of a commit.

use std::collections::BTreeMap;

use prost::Message as _;

use super::api::compare::{CompareResult, CompareTarget, TargetUnion};
use super::api::request_op::Request;
use super::api::response_op::Response as Found;
use super::api::{Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest, TxnResponse};
use super::connection::{self, Kv};
use super::{Error, Guard, Inner, LeaseId, Revision, Write};

/// Operations in one transaction; etcd takes 128 unless it is told otherwise.
const MOST_OPERATIONS: usize = 100;

/// Bytes in one transaction; etcd takes 1.5 MiB unless it is told otherwise.
const MOST_BYTES: usize = 1_400_000;

/// The largest value, in bytes; some is left for what a commit writes beside it.
pub(super) const LARGEST_VALUE: usize = 1_000_000;

const JOURNAL: &str = "journal";

/// What a transaction's failure was.
enum Refused {
    /// A commit that is to be finished first.
    Journal { operations: Vec<RequestOp>, revision: i64 },
    /// A guard that does not hold.
    Guard { guard: Guard, found: Revision },
}

impl Inner {
    pub(super) async fn commit(&self, guards: &[Guard], writes: Vec<Write>) -> Result<Revision, Error> {
        let operations = self.operations(writes)?;
        let bytes: usize = operations.iter().map(RequestOp::encoded_len).sum();
        if bytes > MOST_BYTES {
            return Err(Error::TooLarge { bytes, most: MOST_BYTES });
        }
        if operations.len() <= MOST_OPERATIONS {
            return self.commit_whole(guards, operations).await;
        }
        let value = TxnRequest { success: operations.clone(), ..TxnRequest::default() }.encode_to_vec();
        let journal = PutRequest { key: self.key(JOURNAL), value, lease: 0 };
        let journal = vec![RequestOp { request: Some(Request::RequestPut(journal)) }];
        let revision = self.commit_whole(guards, journal).await?;
        self.finish(operations, revision.0 as i64).await
    }

    /// The operations of a commit; etcd wants each key once.
    fn operations(&self, writes: Vec<Write>) -> Result<Vec<RequestOp>, Error> {
        let last: BTreeMap<String, Write> =
            writes.into_iter().map(|write| (write.key().to_owned(), write)).collect();
        let leased = last.values().any(|write| matches!(write, Write::Put { lease: Some(_), .. }));
        if leased && last.len() > MOST_OPERATIONS {
            // A journal may be carried out when the lease has ended, and then could never be.
            return Err(Error::TooLarge { bytes: last.len(), most: MOST_OPERATIONS });
        }
        let operation = |write| match write {
            Write::Put { key, value, lease } => {
                let lease = lease.map_or(0, |lease| lease.0);
                Request::RequestPut(PutRequest { key: self.key(&key), value, lease })
            }
            Write::Delete { key } => Request::RequestDeleteRange(DeleteRangeRequest { key: self.key(&key) }),
        };
        Ok(last.into_values().map(|write| RequestOp { request: Some(operation(write)) }).collect())
    }

    /// One transaction, once there is no journal.
    async fn commit_whole(&self, guards: &[Guard], operations: Vec<RequestOp>) -> Result<Revision, Error> {
        let no_journal = Guard { key: JOURNAL.to_owned(), revision: Revision(0) };
        let guards: Vec<&Guard> = [&no_journal].into_iter().chain(guards).collect();
        let compare = guards.iter().map(|guard| self.holds(&guard.key, guard.revision.0 as i64)).collect();
        let failure = guards.iter().map(|guard| self.read(&guard.key)).collect();
        let transaction = TxnRequest { compare, success: operations, failure };
        loop {
            let answer = self.transact(transaction.clone()).await?;
            if answer.succeeded {
                return Ok(Revision(connection::revision(answer.header) as u64));
            }
            match refused(&guards, answer) {
                Some(Refused::Journal { operations, revision }) => self.finish(operations, revision).await?,
                Some(Refused::Guard { guard: Guard { key, revision: expected }, found }) => {
                    return Err(Error::Conflict { key, expected, found });
                }
                None => return Err(Error::Garbled { key: JOURNAL.to_owned() }),
            };
        }
    }

    /// Carries out a journal, or what is left of it. Another one that does the same is no harm: what each writes is
    /// the same, and nothing else is written before the journal is gone.
    async fn finish(&self, operations: Vec<RequestOp>, journal: i64) -> Result<Revision, Error> {
        let mut revision = journal;
        let delete = DeleteRangeRequest { key: self.key(JOURNAL) };
        let delete = RequestOp { request: Some(Request::RequestDeleteRange(delete)) };
        let mut parts = operations.chunks(MOST_OPERATIONS).peekable();
        while let Some(part) = parts.next() {
            let mut success = part.to_vec();
            if parts.peek().is_none() {
                success.push(delete.clone());
            }
            let compare = vec![self.holds(JOURNAL, journal)];
            let answer = self.transact(TxnRequest { compare, success, failure: Vec::new() }).await?;
            revision = connection::revision(answer.header);
            if !answer.succeeded {
                // Somebody else has finished it.
                break;
            }
        }
        Ok(Revision(revision as u64))
    }

    async fn transact(&self, transaction: TxnRequest) -> Result<TxnResponse, Error> {
        let lease = transaction.success.iter().find_map(|operation| match &operation.request {
            Some(Request::RequestPut(put)) if put.lease != 0 => Some(LeaseId(put.lease)),
            _ => None,
        });
        let call = |mut etcd: Kv| async move { etcd.txn(transaction).await };
        self.connection.kv(call).await.map_err(|error| match lease {
            Some(lease) if connection::is_missing_lease(&error) => Error::LeaseEnded { lease },
            _ => error,
        })
    }

    fn holds(&self, key: &str, revision: i64) -> Compare {
        Compare {
            result: CompareResult::Equal.into(),
            target: CompareTarget::Mod.into(),
            key: self.key(key),
            target_union: Some(TargetUnion::ModRevision(revision)),
        }
    }

    fn read(&self, key: &str) -> RequestOp {
        let range = RangeRequest { key: self.key(key), ..RangeRequest::default() };
        RequestOp { request: Some(Request::RequestRange(range)) }
    }
}

/// Why a transaction did not go through: its failure read each guarded key. None if it says nothing of the kind.
fn refused(guards: &[&Guard], answer: TxnResponse) -> Option<Refused> {
    for (guard, read) in guards.iter().zip(answer.responses) {
        let Some(Found::ResponseRange(read)) = read.response else { return None };
        let found = read.kvs.into_iter().next();
        let revision = found.as_ref().map_or(0, |kv| kv.mod_revision);
        if revision == guard.revision.0 as i64 {
            continue;
        }
        if guard.key == JOURNAL {
            let operations = TxnRequest::decode(found?.value.as_slice()).ok()?.success;
            return Some(Refused::Journal { operations, revision });
        }
        return Some(Refused::Guard { guard: (*guard).clone(), found: Revision(revision as u64) });
    }
    None
}

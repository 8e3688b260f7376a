//! A store in etcd, which several coordinators share.
//!
//! Each call has a deadline of its own and is made once; who calls decides whether to make it again. The client is
//! ours, made from the part of etcd's public API that is used ([`api`]): the crate that exists needs a `protoc` to
//! build and its watch does not reconnect.

mod api;
mod commit;
mod connection;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use self::api::{LeaseGrantRequest, LeaseKeepAliveRequest, LeaseRevokeRequest, RangeRequest};
use self::connection::Connection;
use super::{Entry, Error, Guard, Lease, LeaseId, Revision, Store, Watch, Write};

/// Keys that are read at a time.
const PAGE: i64 = 128;

/// Keeps everything in etcd, under a prefix. Clones share a connection.
#[derive(Debug, Clone)]
pub struct EtcdStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    connection: Connection,
    /// With the slash after it.
    prefix: String,
}

impl EtcdStore {
    /// A store at `endpoints` (`HOST:PORT`), whose keys lie under `prefix`. Nothing is said to etcd yet.
    ///
    /// `call_deadline` is for each call.
    ///
    /// # Errors
    /// [`Error::Endpoint`] if an address cannot be one.
    pub fn new(endpoints: &[String], prefix: &str, call_deadline: Duration) -> Result<Self, Error> {
        let connection = Connection::new(endpoints, call_deadline)?;
        Ok(Self { inner: Arc::new(Inner { connection, prefix: format!("{prefix}/") }) })
    }
}

impl Inner {
    fn key(&self, key: &str) -> Vec<u8> {
        format!("{}{key}", self.prefix).into_bytes()
    }

    /// The key without the store's prefix.
    fn strip(&self, key: &[u8]) -> Option<String> {
        let key = std::str::from_utf8(key).ok()?;
        key.strip_prefix(&self.prefix).map(str::to_owned)
    }

    /// All keys under a prefix, as of one revision, and that revision.
    async fn range(&self, prefix: &str) -> Result<(Vec<(String, Entry)>, i64), Error> {
        let (mut key, range_end) = (self.key(prefix), end_of(self.key(prefix)));
        let (mut revision, mut entries) = (0, Vec::new());
        loop {
            let request =
                RangeRequest { key: key.clone(), range_end: range_end.clone(), limit: PAGE, revision };
            let call = |mut etcd: connection::Kv| async move { etcd.range(request).await };
            let page = self.connection.kv(call).await?;
            revision = if revision == 0 { connection::revision(page.header) } else { revision };
            if let Some(last) = page.kvs.last() {
                key = last.key.iter().copied().chain([0]).collect();
            }
            for kv in page.kvs {
                let entry = Entry { value: kv.value, revision: Revision(kv.mod_revision as u64) };
                let key = self
                    .strip(&kv.key)
                    .ok_or_else(|| Error::Garbled { key: String::from_utf8_lossy(&kv.key).into_owned() })?;
                entries.push((key, entry));
            }
            if !page.more {
                return Ok((entries, revision));
            }
        }
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        let request = RangeRequest { key: self.key(key), ..RangeRequest::default() };
        let call = |mut etcd: connection::Kv| async move { etcd.range(request).await };
        let found = self.connection.kv(call).await?.kvs.into_iter().next();
        Ok(found.map(|kv| Entry { value: kv.value, revision: Revision(kv.mod_revision as u64) }))
    }
}

/// The first key after all that begin with `prefix`.
fn end_of(mut prefix: Vec<u8>) -> Vec<u8> {
    while let Some(last) = prefix.pop() {
        if last < u8::MAX {
            prefix.push(last + 1);
            return prefix;
        }
    }
    // To the end of all keys, in etcd's words.
    vec![0]
}

impl Store for EtcdStore {
    const SHARED: bool = true;
    const LARGEST_VALUE: usize = commit::LARGEST_VALUE;

    async fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        self.inner.get(key).await
    }

    async fn range(&self, prefix: &str) -> Result<Vec<(String, Entry)>, Error> {
        Ok(self.inner.range(prefix).await?.0)
    }

    async fn commit(&self, guards: Vec<Guard>, writes: Vec<Write>) -> Result<Revision, Error> {
        self.inner.commit(&guards, writes).await
    }

    async fn lease(&self, ttl: Duration) -> Result<Lease, Error> {
        // Whole seconds are all that etcd knows.
        let request = LeaseGrantRequest { ttl: ttl.as_secs_f64().ceil().max(1.0) as i64 };
        let call = |mut etcd: connection::Leases| async move { etcd.lease_grant(request).await };
        let granted = self.inner.connection.leases(call).await?;
        Ok(Lease { id: LeaseId(granted.id), ttl: Duration::from_secs(granted.ttl.max(0) as u64) })
    }

    async fn keep_alive(&self, lease: Lease) -> Result<(), Error> {
        let request = LeaseKeepAliveRequest { id: lease.id.0 };
        let call = |mut etcd: connection::Leases| async move {
            let mut answers = etcd.lease_keep_alive(tokio_stream::once(request)).await?;
            Ok(tonic::Response::new(answers.get_mut().message().await?))
        };
        match self.inner.connection.leases(call).await? {
            Some(answer) if answer.ttl > 0 => Ok(()),
            _ => Err(Error::LeaseEnded { lease: lease.id }),
        }
    }

    async fn revoke(&self, lease: Lease) -> Result<(), Error> {
        let request = LeaseRevokeRequest { id: lease.id.0 };
        let call = |mut etcd: connection::Leases| async move { etcd.lease_revoke(request).await };
        match self.inner.connection.leases(call).await {
            Err(Error::Etcd { code: tonic::Code::NotFound, .. }) => Ok(()),
            revoked => revoked.map(drop),
        }
    }

    fn watch(&self, prefix: &str) -> Watch {
        watch::start(Arc::clone(&self.inner), prefix.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix_is_the_first_key_after_it() {
        assert_eq!(end_of(b"muster/".to_vec()), b"muster0");
        assert_eq!(end_of(vec![b'a', 0xff, 0xff]), b"b");
        assert_eq!(end_of(vec![0xff]), [0]);
    }
}

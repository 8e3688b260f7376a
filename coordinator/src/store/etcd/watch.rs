//! Watches a prefix in etcd: a stream of changes says when to look, and a look every now and then makes sure.
//!
//! The stream is never relied on: one that is silent because its connection hangs is found out by the next look.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tonic::Streaming;
use tracing::{debug, warn};

use super::api::watch_request::RequestUnion;
use super::api::{WatchCreateRequest, WatchRequest, WatchResponse};
use super::connection::Watches;
use super::{Error, Inner, end_of};
use crate::store::Watch;
use crate::store::watch::{Teller, pair};

pub(super) fn start(inner: Arc<Inner>, prefix: String) -> Watch {
    let (teller, watch) = pair();
    tokio::spawn(async move {
        tokio::select! {
            () = look_again_and_again(&inner, &prefix, &teller) => {}
            () = teller.closed() => {}
        }
    });
    watch
}

async fn look_again_and_again(inner: &Inner, prefix: &str, teller: &Teller) {
    let deadline = inner.connection.deadline();
    let (mut stream, mut failures) = (None, 0u32);
    loop {
        let revision = match inner.range(prefix).await {
            Ok((entries, revision)) => {
                teller.tell(entries);
                failures = 0;
                revision
            }
            Err(error) => {
                if failures == 0 {
                    warn!(%error, prefix, "etcd cannot be watched, it is tried again");
                }
                failures = failures.saturating_add(1);
                stream = None;
                sleep(pause(failures, deadline)).await;
                continue;
            }
        };
        if stream.is_none() {
            stream = open(inner, prefix, revision + 1).await.ok();
        }
        let Some(changes) = &mut stream else {
            sleep(deadline / 4).await;
            continue;
        };
        if let Ok(changed) = timeout(deadline, next_change(changes)).await
            && let Err(problem) = changed
        {
            debug!(problem, prefix, "a watch of etcd broke, it is opened again");
            inner.connection.broken();
            stream = None;
        }
    }
}

/// Longer after each failure, up to the deadline of a call.
fn pause(failures: u32, deadline: Duration) -> Duration {
    (Duration::from_millis(10) * 2u32.pow(failures.min(10))).min(deadline)
}

async fn open(inner: &Inner, prefix: &str, start_revision: i64) -> Result<Streaming<WatchResponse>, Error> {
    let key = inner.key(prefix);
    let create = WatchCreateRequest { range_end: end_of(key.clone()), key, start_revision };
    let request = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
    // The stream of requests stays open: etcd ends a watch whose watcher has nothing more to say.
    let requests = tokio_stream::StreamExt::chain(tokio_stream::once(request), tokio_stream::pending());
    inner.connection.watches(|mut etcd: Watches| async move { etcd.watch(requests).await }).await
}

/// Waits for a change; what ended the stream, if it ended. Cancel safe.
async fn next_change(changes: &mut Streaming<WatchResponse>) -> Result<(), String> {
    loop {
        match changes.message().await {
            Ok(Some(response)) if response.canceled => return Err("etcd cancelled it".to_owned()),
            Ok(Some(response)) if response.events.is_empty() => {}
            Ok(Some(_)) => return Ok(()),
            Ok(None) => return Err("etcd closed it".to_owned()),
            Err(status) => return Err(status.message().to_owned()),
        }
    }
}

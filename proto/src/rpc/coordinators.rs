//! Where the coordinators of a cluster are, and which of them to ask next.
//!
//! Of several replicas one leads. The others answer that they do not, and say in [`LEADER_HEADER`] who does; whoever
//! is connected to them hears it on the way, so that callers only have to connect again. Only addresses that were
//! given are ever gone to: a token is not shown to a host that somebody else named.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::transport::{self, Channel};

use super::Dial;

/// The header of a refusal that comes from a coordinator that does not lead: the leader's URL, empty where it
/// knows none. A call that was refused like this has changed nothing.
pub const LEADER_HEADER: &str = "muster-leader";

/// The URLs of a cluster's coordinators. Clones share what was learned about who leads.
#[derive(Clone)]
pub struct Coordinators {
    text: Arc<str>,
    urls: Arc<[String]>,
    /// Which is tried first when the next connection is opened.
    turn: Arc<AtomicUsize>,
    dial: Option<Dial>,
}

impl From<&str> for Coordinators {
    /// From `URL` or `URL,URL,URL`; whether they can be URLs is found when they are dialled.
    fn from(text: &str) -> Self {
        let urls = text.split(',').map(|url| url.trim().trim_end_matches('/').to_owned()).collect();
        Self { text: text.into(), urls, turn: Arc::default(), dial: None }
    }
}

impl From<String> for Coordinators {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl Deref for Coordinators {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for Coordinators {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

impl fmt::Display for Coordinators {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Coordinators {
    /// All of them, as they were given.
    #[must_use]
    pub fn urls(&self) -> &[String] {
        &self.urls
    }

    /// Has connections to them opened by `dial`.
    #[must_use]
    pub fn reached_by(self, dial: Dial) -> Self {
        Self { dial: Some(dial), ..self }
    }

    pub(super) fn dial(&self) -> Option<&Dial> {
        self.dial.as_ref()
    }

    /// All of them, the one to try first in front.
    pub(super) fn in_turn(&self) -> impl Iterator<Item = &String> {
        let first = self.turn.load(Ordering::Relaxed) % self.urls.len();
        self.urls.iter().cycle().skip(first).take(self.urls.len())
    }

    /// Until this one answers, another connection is asked for because it does not: the others are tried first.
    pub(super) fn connected(&self, url: &str) {
        if let Some(index) = self.position(url) {
            self.turn.store(index + 1, Ordering::Relaxed);
        }
    }

    /// This one leads, by its own or somebody else's word.
    fn prefer(&self, url: &str) {
        if let Some(index) = self.position(url.trim_end_matches('/')) {
            self.turn.store(index, Ordering::Relaxed);
        }
    }

    fn position(&self, url: &str) -> Option<usize> {
        self.urls.iter().position(|known| known == url)
    }
}

/// A connection that listens for who leads.
#[derive(Debug, Clone)]
pub struct Listening {
    channel: Channel,
    url: Arc<str>,
    coordinators: Coordinators,
}

impl Listening {
    pub(super) fn new(channel: Channel, url: &str, coordinators: &Coordinators) -> Self {
        Self { channel, url: url.into(), coordinators: coordinators.clone() }
    }
}

impl Service<http::Request<Body>> for Listening {
    type Response = http::Response<Body>;
    type Error = transport::Error;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.channel.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let response = self.channel.call(request);
        let (url, coordinators) = (Arc::clone(&self.url), self.coordinators.clone());
        Box::pin(async move {
            let response = response.await?;
            match response.headers().get(LEADER_HEADER) {
                Some(leader) => coordinators.prefer(leader.to_str().unwrap_or_default()),
                None => coordinators.prefer(&url),
            }
            Ok(response)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(coordinators: &Coordinators) -> Vec<&str> {
        coordinators.in_turn().map(String::as_str).collect()
    }

    #[test]
    fn the_one_that_was_of_no_use_is_tried_last_and_the_leader_first() {
        let three = Coordinators::from("http://a:1, http://b:2/,http://c:3");
        assert_eq!(order(&three), ["http://a:1", "http://b:2", "http://c:3"]);
        three.connected("http://a:1");
        assert_eq!(order(&three), ["http://b:2", "http://c:3", "http://a:1"]);
        three.prefer("http://c:3/");
        assert_eq!(order(&three), ["http://c:3", "http://a:1", "http://b:2"]);
        three.connected("http://c:3");
        assert_eq!(order(&three), ["http://a:1", "http://b:2", "http://c:3"]);
    }

    #[test]
    fn a_leader_that_was_not_given_is_not_gone_to() {
        let one = Coordinators::from("http://a:1");
        one.prefer("http://elsewhere:1");
        one.prefer("");
        one.connected("http://a:1");
        assert_eq!(order(&one), ["http://a:1"]);
    }
}

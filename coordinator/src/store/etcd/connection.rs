//! One connection to etcd at a time, to the next of its members when the last was of no use.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Response, Status};

use super::Error;
use super::api::ResponseHeader;
use super::api::kv_client::KvClient;
use super::api::lease_client::LeaseClient;
use super::api::watch_client::WatchClient;

pub(super) type Kv = KvClient<Channel>;
pub(super) type Leases = LeaseClient<Channel>;
pub(super) type Watches = WatchClient<Channel>;

/// The largest answer that is read, in bytes: a page of the largest values.
const LARGEST_ANSWER: usize = 256 * 1024 * 1024;

/// How often an idle connection is tried. etcd cuts off whoever does so more often than every 5 s.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Where etcd's members are, and the one that is talked to.
#[derive(Debug)]
pub(super) struct Connection {
    members: Vec<(String, Endpoint)>,
    deadline: Duration,
    current: Mutex<Current>,
}

#[derive(Debug, Clone)]
struct Current {
    member: usize,
    /// Grows with each change, so that of several calls that fail together one causes a change.
    age: u64,
    channel: Channel,
}

impl Connection {
    pub(super) fn new(endpoints: &[String], deadline: Duration) -> Result<Self, Error> {
        let member = |name: &String| {
            let endpoint = Endpoint::from_shared(format!("http://{name}"))
                .map_err(|_| Error::Endpoint { endpoint: name.clone() })?
                .connect_timeout(deadline)
                .http2_keep_alive_interval(KEEP_ALIVE)
                .keep_alive_timeout(deadline)
                .keep_alive_while_idle(true)
                .tcp_nodelay(true);
            Ok((name.clone(), endpoint))
        };
        let members: Vec<(String, Endpoint)> = endpoints.iter().map(member).collect::<Result<_, Error>>()?;
        let first = members.first().ok_or_else(|| Error::Endpoint { endpoint: String::new() })?;
        let channel = first.1.connect_lazy();
        Ok(Self { members, deadline, current: Mutex::new(Current { member: 0, age: 0, channel }) })
    }

    pub(super) fn deadline(&self) -> Duration {
        self.deadline
    }

    pub(super) async fn kv<T, F>(&self, call: impl FnOnce(Kv) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        self.call(|channel| call(KvClient::new(channel).max_decoding_message_size(LARGEST_ANSWER))).await
    }

    pub(super) async fn leases<T, F>(&self, call: impl FnOnce(Leases) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        self.call(|channel| call(LeaseClient::new(channel))).await
    }

    pub(super) async fn watches<T, F>(&self, call: impl FnOnce(Watches) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        self.call(|channel| call(WatchClient::new(channel).max_decoding_message_size(LARGEST_ANSWER))).await
    }

    async fn call<T, F>(&self, call: impl FnOnce(Channel) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let Current { member, age, channel } = self.current();
        let endpoint = self.members[member].0.clone();
        let error = match timeout(self.deadline, call(channel)).await {
            Ok(Ok(response)) => return Ok(response.into_inner()),
            Ok(Err(status)) => {
                let (code, problem) = (status.code(), status.message().to_owned());
                Error::Etcd { endpoint, code, problem }
            }
            Err(_) => Error::Deadline { endpoint, deadline: self.deadline },
        };
        if error.is_transient() {
            self.turn(age);
        }
        Err(error)
    }

    fn current(&self) -> Current {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Goes on to the next member, or to a new connection where there is one member only.
    fn turn(&self, age: u64) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.age == age {
            let member = (current.member + 1) % self.members.len();
            let channel = self.members[member].1.connect_lazy();
            *current = Current { member, age: age + 1, channel };
        }
    }

    /// What a broken stream of the current member was.
    pub(super) fn broken(&self) {
        let age = self.current().age;
        self.turn(age);
    }
}

/// The revision of etcd's store that an answer was made at.
pub(super) fn revision(header: Option<ResponseHeader>) -> i64 {
    header.map_or(0, |header| header.revision)
}

/// Whether etcd says that a lease it was told of is not there.
pub(super) fn is_missing_lease(error: &Error) -> bool {
    matches!(error, Error::Etcd { code: Code::NotFound, .. })
}

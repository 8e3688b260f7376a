//! gRPC clients of the coordinator, with deadlines, bounds and the cluster's token.

mod calls;
mod client;
mod coordinators;
mod dial;
mod retrain;
mod tasks;
mod watch;

use std::time::Duration;

use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Endpoint;
use tonic::{Code, Request, Status};

pub use self::client::JobClient;
pub use self::coordinators::{Coordinators, LEADER_HEADER, Listening};
pub use self::dial::{Connection, Dial};
pub use self::retrain::{Repeat, RetrainClient};
pub use self::tasks::TaskClient;
pub use self::watch::Watch;
use crate::auth::Token;
use crate::convert;
use crate::fence::Stale;
use crate::wire::job_service_client::JobServiceClient;
use crate::wire::worker_service_client::WorkerServiceClient;

/// Largest message that is sent or accepted, in bytes; a job's spec and plan are the largest there are.
pub const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;

/// Of the deadline, after which a silent connection is tried, and as much again until it counts as broken. A worker
/// then has a third of `failure_detection` left, and what the next leader gives it, to find that leader.
const KEEP_ALIVE: u32 = 3;

/// A connection that shows the token with every call.
pub type Authorized = InterceptedService<Listening, Bearer>;

/// Where the coordinators are and how to talk to them.
#[derive(Debug, Clone)]
pub struct Target {
    /// `http://HOST:PORT` of each.
    pub url: Coordinators,
    /// The cluster's token, where the coordinator asks for one.
    pub token: Option<Token>,
    /// How long a call may take, and opening a connection.
    pub deadline: Duration,
}

/// Why a call did not succeed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The address cannot be one.
    #[error("`{url}` is not a coordinator's address: expected http://HOST:PORT, several with commas between")]
    BadUrl {
        /// What was given.
        url: String,
    },
    /// Nobody answers in time.
    #[error("no coordinator answers at {url}: {problem}; is it running, and is the port right?")]
    Unreachable {
        /// The address.
        url: String,
        /// What was tried and failed.
        problem: String,
    },
    /// The coordinators that answer do not lead.
    #[error("no coordinator leads the cluster: {message}")]
    NotLed {
        /// What the last one that was asked says.
        message: String,
    },
    /// The coordinator refuses.
    #[error("the coordinator refuses: {message}")]
    Refused {
        /// The kind of refusal.
        code: Code,
        /// Why, for people.
        message: String,
    },
    /// The coordinator's answer cannot be read; the versions probably differ.
    #[error("the coordinator's answer cannot be read; do the versions of both programs agree?")]
    Malformed(#[from] convert::Error),
    /// The coordinator's answer is of another form than this program knows.
    #[error("the coordinator's answer cannot be read: {problem}; do the versions of both programs agree?")]
    Unknown {
        /// What the parser says.
        problem: String,
    },
}

impl Error {
    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::NotLed { .. } => true,
            Self::Refused { code, .. } => *code == Code::ResourceExhausted,
            Self::BadUrl { .. } | Self::Malformed(_) | Self::Unknown { .. } => false,
        }
    }

    /// The error that a status of the coordinator at `url` stands for.
    #[must_use]
    pub fn from_status(url: &str, status: &Status) -> Self {
        let message = status.message().to_owned();
        if status.metadata().contains_key(LEADER_HEADER) {
            return Self::NotLed { message };
        }
        match status.code() {
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown => {
                Self::Unreachable { url: url.to_owned(), problem: message }
            }
            code => Self::Refused { code, message },
        }
    }
}

impl From<convert::Error> for Status {
    fn from(error: convert::Error) -> Self {
        Self::invalid_argument(error.to_string())
    }
}

impl From<Stale> for Status {
    fn from(stale: Stale) -> Self {
        Self::failed_precondition(stale.to_string())
    }
}

/// Puts the token into every request.
#[derive(Debug, Clone)]
pub struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(header) = &self.0 {
            request.metadata_mut().insert("authorization", header.clone());
        }
        Ok(request)
    }
}

impl Target {
    /// Opens a connection to the first coordinator that takes one. Each call begins with another of them, or with
    /// the one that is said to lead.
    ///
    /// # Errors
    /// [`Error::BadUrl`] or [`Error::Unreachable`].
    pub async fn connect(&self) -> Result<Authorized, Error> {
        let endpoints = self.url.in_turn().map(|url| Ok((url, endpoint(url)?)));
        let endpoints: Vec<(&String, Endpoint)> = endpoints.collect::<Result<_, Error>>()?;
        let mut problem = String::new();
        for (url, endpoint) in endpoints {
            let endpoint = endpoint
                .connect_timeout(self.share())
                .http2_keep_alive_interval(self.deadline / KEEP_ALIVE)
                .keep_alive_timeout(self.deadline / KEEP_ALIVE)
                .keep_alive_while_idle(true)
                .tcp_nodelay(true);
            let connected = match self.url.dial() {
                Some(dial) => endpoint.connect_with_connector(dial.clone()).await,
                None => endpoint.connect().await,
            };
            match connected {
                Ok(channel) => {
                    self.url.connected(url);
                    let listening = Listening::new(channel, url, &self.url);
                    return Ok(InterceptedService::new(listening, self.bearer()));
                }
                Err(error) => problem = root_cause(&error),
            }
        }
        Err(Error::Unreachable { url: self.url.to_string(), problem })
    }

    /// Opens a connection for a worker.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub async fn worker_client(&self) -> Result<WorkerServiceClient<Authorized>, Error> {
        let client = WorkerServiceClient::new(self.connect().await?);
        Ok(client.max_decoding_message_size(MAX_MESSAGE_BYTES).max_encoding_message_size(MAX_MESSAGE_BYTES))
    }

    /// Opens a connection for people and their tools.
    pub(crate) async fn job_client(&self) -> Result<JobServiceClient<Authorized>, Error> {
        let client = JobServiceClient::new(self.connect().await?);
        Ok(client.max_decoding_message_size(MAX_MESSAGE_BYTES).max_encoding_message_size(MAX_MESSAGE_BYTES))
    }

    /// How long one coordinator may take to answer: one that hangs leaves time for the others.
    #[must_use]
    pub fn share(&self) -> Duration {
        self.deadline / self.url.urls().len() as u32
    }

    /// A request that ends with an error when its share of the deadline passes.
    pub fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.share());
        request
    }

    fn bearer(&self) -> Bearer {
        let header = |token: &Token| {
            let mut value = MetadataValue::try_from(token.header()).ok()?;
            value.set_sensitive(true);
            Some(value)
        };
        Bearer(self.token.as_ref().and_then(header))
    }
}

fn endpoint(url: &str) -> Result<Endpoint, Error> {
    let bad_url = || Error::BadUrl { url: url.to_owned() };
    if !url.starts_with("http://") {
        return Err(bad_url());
    }
    let endpoint = Endpoint::from_shared(url.to_owned()).map_err(|_| bad_url())?;
    if endpoint.uri().port().is_none() || endpoint.uri().path() != "/" {
        return Err(bad_url());
    }
    Ok(endpoint)
}

/// The innermost of an error's sources: what the system says, without the layers in between.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_that_cannot_be_one_is_refused_before_anything_is_sent() {
        for url in
            ["", "127.0.0.1:7400", "https://host:1", "http://host", "http://host:1/path", "http://a:1,b:1"]
        {
            let target = Target { url: url.into(), token: None, deadline: Duration::from_secs(1) };
            assert!(matches!(target.connect().await, Err(Error::BadUrl { .. })), "{url} was taken");
        }
    }

    #[tokio::test]
    async fn a_port_where_nobody_listens_is_an_error_that_names_the_address() {
        // A port that was free a moment ago: bound and let go.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let url = format!("http://127.0.0.1:{port}");
        let target = Target { url: url.as_str().into(), token: None, deadline: Duration::from_secs(5) };
        let error = target.connect().await.unwrap_err();
        assert!(error.to_string().contains(&url), "{error}");
        assert!(error.is_retryable());
    }
}

//! Who may come in, how many at a time, and for how long.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use muster_proto::auth::Token;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_stream::StreamExt as _;
use tonic::Status;

/// Paths that are open to everybody: probes must work without a secret, and the schema is no secret.
const OPEN: [&str; 3] = ["/healthz", "/grpc.health.v1.Health/", "/grpc.reflection.v1.ServerReflection/"];

/// How long a request may take that is not a stream, its body included.
const REQUEST_DEADLINE: Duration = Duration::from_secs(60);
/// Bytes of a body that are passed over for who may not come in.
const PASSED_OVER: usize = 1 << 20;

/// What is asked of each request.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    pub(crate) token: Option<Token>,
    pub(crate) requests: Arc<Semaphore>,
}

/// Lets a request pass if it shows the token, where there is one, and there are not too many.
pub(crate) async fn check(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if OPEN.iter().any(|open| path.starts_with(open)) {
        return next.run(request).await;
    }
    let is_grpc = request
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    let refuse = |status: Status, code: StatusCode| {
        if is_grpc {
            return status.into_http();
        }
        let retry = (code == StatusCode::TOO_MANY_REQUESTS).then_some([(header::RETRY_AFTER, "1")]);
        (code, retry, status.message().to_owned()).into_response()
    };
    let shown = request.headers().get(header::AUTHORIZATION).map(header::HeaderValue::as_bytes);
    if !gate.token.is_none_or(|token| token.admits(shown)) {
        pass_over(request.into_body(), PASSED_OVER);
        let message = "a valid token is required: pass the token of this process";
        return refuse(Status::unauthenticated(message), StatusCode::UNAUTHORIZED);
    }
    let Ok(_permit) = gate.requests.try_acquire_owned() else {
        pass_over(request.into_body(), PASSED_OVER);
        let message = "too many requests are under way: send the same again in a second";
        return refuse(Status::resource_exhausted(message), StatusCode::TOO_MANY_REQUESTS);
    };
    if path.ends_with("/CollectStream") {
        return next.run(request).await;
    }
    match timeout(REQUEST_DEADLINE, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let message = "the request took too long: what of it was taken is not known, send the same again";
            refuse(Status::deadline_exceeded(message), StatusCode::REQUEST_TIMEOUT)
        }
    }
}

/// Reads the body of a request that is refused and drops it, beside the answer, if it is no longer than `most`: a connection
/// with unread bytes is closed, and who was told to come again would find that out by a broken one.
pub(crate) fn pass_over(body: Body, most: usize) {
    tokio::spawn(async move {
        let (mut parts, mut left) = (body.into_data_stream(), most);
        let read = async {
            while let Some(Ok(part)) = parts.next().await {
                let Some(rest) = left.checked_sub(part.len()) else { break };
                left = rest;
            }
        };
        // A body that does not come to its end in time is as good as one that is too long.
        let _ = timeout(REQUEST_DEADLINE, read).await;
    });
}

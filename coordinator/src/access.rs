//! Who may come in: every path asks for the token, but for the few that say whether the server lives and what it
//! speaks.

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use muster_proto::auth::Token;
use tonic::Status;

/// Paths that are open to everybody: probes must work without a secret, and the schema is no secret.
const OPEN: [&str; 3] = ["/healthz", "/grpc.health.v1.Health/", "/grpc.reflection.v1.ServerReflection/"];

/// Lets a request pass if it shows the token, where there is one.
pub(crate) async fn check(State(token): State<Option<Token>>, request: Request, next: Next) -> Response {
    let open = OPEN.iter().any(|path| request.uri().path().starts_with(path));
    let shown = request.headers().get(header::AUTHORIZATION).map(header::HeaderValue::as_bytes);
    if open || token.is_none_or(|token| token.admits(shown)) {
        return next.run(request).await;
    }
    let message = "a valid token is required: pass the cluster's token file";
    let is_grpc = request
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    if is_grpc {
        Status::unauthenticated(message).into_http()
    } else {
        (StatusCode::UNAUTHORIZED, message).into_response()
    }
}

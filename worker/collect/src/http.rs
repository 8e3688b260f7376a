//! Events over HTTP: `POST /v1/events`; and the pages for machines that watch, `/healthz` and `/metrics`.
//!
//! A body is one JSON object, an array of them, or with `content-type: application/x-ndjson` one a line. The answer is 200
//! where anything was kept, 422 where all was refused; 400, 413 and 415 are for the body as a whole; 429 and 503 with
//! `retry-after` mean that nothing was taken.

use std::sync::atomic::Ordering;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::json;
use tokio_stream::StreamExt as _;

use crate::access::pass_over;
use crate::event;
use crate::event::Fields;
use crate::intake::{Answer, Intake};
use crate::queue::Refused;

/// The pages.
pub(crate) fn routes(intake: Intake) -> Router {
    Router::new()
        .route("/v1/events", post(collect))
        .route("/healthz", get(healthz))
        .route("/metrics", get(metrics))
        .with_state(intake)
}

/// What is wrong with a request as a whole.
struct Problem {
    status: StatusCode,
    message: String,
}

impl Problem {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let status = match &refused {
            Refused::Full => StatusCode::TOO_MANY_REQUESTS,
            Refused::Unwritable { .. } | Refused::Ending => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, refused.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let comes_again =
            matches!(self.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
        let retry = if comes_again { Some([(header::RETRY_AFTER, "1")]) } else { None };
        (self.status, retry, json_body(&json!({"error": {"message": self.message}}))).into_response()
    }
}

fn json_body(value: &serde_json::Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

async fn collect(State(intake): State<Intake>, headers: HeaderMap, body: Body) -> Response {
    let mut body = Some(body);
    let taken = take(&intake, &headers, &mut body).await;
    if let Some(unread) = body {
        pass_over(unread, intake.limits.max_body.bytes() as usize);
    }
    match taken {
        Ok(answer) => {
            let is_refused = answer.rejected > 0 && answer.accepted + answer.duplicates == 0;
            let status = if is_refused { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
            (status, json_body(&json!(answer))).into_response()
        }
        Err(problem) => problem.into_response(),
    }
}

/// Takes a request; a body that is refused before it is read stays where it is.
async fn take(intake: &Intake, headers: &HeaderMap, body: &mut Option<Body>) -> Result<Answer, Problem> {
    let is_lines = is_ndjson(headers)?;
    let most = intake.limits.max_body.bytes() as usize;
    let too_large = || {
        let message = format!("the body is over {most} bytes (`limits.max_body`): send less at a time");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    };
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    // A body whose length is not told may have any that is allowed.
    let length: usize = length.unwrap_or(most);
    if length > most {
        return Err(too_large());
    }
    let turned_away = |refused| {
        intake.turned_away(&refused);
        Problem::from(refused)
    };
    let room = intake.queue.try_room(length).map_err(turned_away)?;
    let bytes = read(body.take().unwrap_or_default(), most).await?.ok_or_else(too_large)?;
    let events = if is_lines { lines(&bytes) } else { whole(&bytes)? };
    let limit = intake.limits.max_batch as usize;
    if events.len() > limit {
        let message = format!("{} events, over {limit} (`limits.max_batch`): send fewer", events.len());
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, message));
    }
    drop(bytes);
    let (good, mut answer) = intake.sift(events, 0);
    if !good.is_empty() {
        let pending = intake.queue.submit(room, good).map_err(turned_away)?;
        answer.keep(pending.kept().await.map_err(turned_away)?);
    }
    Ok(answer)
}

/// All of a body; none where it goes on after `most` bytes.
async fn read(body: Body, most: usize) -> Result<Option<Vec<u8>>, Problem> {
    let mut bytes = Vec::new();
    let mut parts = body.into_data_stream();
    while let Some(part) = parts.next().await {
        let ended = |error| Problem::new(StatusCode::BAD_REQUEST, format!("the body ended early: {error}"));
        let part = part.map_err(ended)?;
        if bytes.len() + part.len() > most {
            return Ok(None);
        }
        bytes.extend_from_slice(&part);
    }
    Ok(Some(bytes))
}

/// Whether the body has an event a line; a type that is not JSON is refused.
fn is_ndjson(headers: &HeaderMap) -> Result<bool, Problem> {
    let Some(kind) = headers.get(header::CONTENT_TYPE) else { return Ok(false) };
    let kind = kind.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    match kind.to_ascii_lowercase().as_str() {
        "application/json" | "text/json" => Ok(false),
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" | "application/x-jsonlines" => {
            Ok(true)
        }
        _ => {
            let message = "send application/json, or application/x-ndjson for an event a line";
            Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message))
        }
    }
}

fn lines(bytes: &[u8]) -> Vec<Result<Fields, String>> {
    let is_filled = |line: &&[u8]| !line.trim_ascii().is_empty();
    let read =
        |line: &[u8]| serde_json::from_slice(line).map_err(|error| format!("is not an event: {error}"));
    bytes.split(|byte| *byte == b'\n').filter(is_filled).map(read).collect()
}

fn whole(bytes: &[u8]) -> Result<Vec<Result<Fields, String>>, Problem> {
    let body: Result<event::Body, _> = serde_json::from_slice(bytes);
    body.map(|body| body.0).map_err(|error| {
        let message = format!("the body is no event and no array of events: {error}");
        Problem::new(StatusCode::BAD_REQUEST, message)
    })
}

/// Healthy is a process that takes events.
async fn healthz(State(intake): State<Intake>) -> Response {
    let problem = if *intake.ending.borrow() {
        "the process is ending\n"
    } else if intake.metrics.is_unwritable.load(Ordering::Relaxed) {
        "events cannot be written\n"
    } else {
        return "ok\n".into_response();
    };
    (StatusCode::SERVICE_UNAVAILABLE, problem).into_response()
}

async fn metrics(State(intake): State<Intake>) -> Response {
    let capacity = intake.limits.queue.bytes() as usize;
    let page = intake.metrics.page((intake.queue.used(), capacity));
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], page).into_response()
}

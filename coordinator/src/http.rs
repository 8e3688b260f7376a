//! The pages for machines that watch: `/healthz` and `/metrics`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::handle::Handle;
use crate::metrics::{Counters, Page};

#[derive(Clone)]
struct Pages {
    handle: Handle,
    counters: Arc<Counters>,
}

/// The pages.
pub(crate) fn routes(handle: Handle, counters: Arc<Counters>) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/metrics", get(metrics))
        .with_state(Pages { handle, counters })
}

/// Healthy is a coordinator whose core answers.
async fn healthz(State(pages): State<Pages>) -> Response {
    match pages.handle.jobs().await {
        Ok(_) => "ok\n".into_response(),
        Err(gone) => (StatusCode::SERVICE_UNAVAILABLE, gone.to_string()).into_response(),
    }
}

async fn metrics(State(pages): State<Pages>) -> Response {
    let (Ok(jobs), Ok(workers)) = (pages.handle.jobs().await, pages.handle.workers().await) else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let page = Page { counters: &pages.counters, jobs: &jobs, workers: &workers }.render();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], page).into_response()
}

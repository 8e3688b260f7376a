//! The pages for machines that watch: `/healthz` and `/metrics`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use muster_core::retrain::command::Question;
use muster_core::retrain::view::FleetView;

use crate::handle::{Away, Handle};
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

/// Healthy is a coordinator whose core answers, and one that follows.
async fn healthz(State(pages): State<Pages>) -> Response {
    match pages.handle.jobs().await {
        Ok(_) => "ok\n".into_response(),
        Err(away @ (Away::Follows { .. } | Away::NoLeader)) => format!("ok: {away}\n").into_response(),
        Err(gone @ Away::Gone) => (StatusCode::SERVICE_UNAVAILABLE, gone.to_string()).into_response(),
    }
}

/// One that follows has no cluster to show, only itself.
async fn metrics(State(pages): State<Pages>) -> Response {
    let (jobs, workers) = match (pages.handle.jobs().await, pages.handle.workers().await) {
        (Ok(jobs), Ok(workers)) => (jobs, workers),
        (Err(Away::Gone), _) | (_, Err(Away::Gone)) => {
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
        _ => (Vec::new(), Vec::new()),
    };
    let fleet = match pages.handle.tell(Question::Fleet).await {
        // The answer is the view that was made of it a moment ago.
        Ok(told) => told.ok().and_then(|told| serde_json::from_value(told).ok()).unwrap_or_default(),
        Err(Away::Gone) => return StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Err(_) => FleetView::default(),
    };
    let page = Page { counters: &pages.counters, jobs: &jobs, workers: &workers, fleet: &fleet }.render();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], page).into_response()
}

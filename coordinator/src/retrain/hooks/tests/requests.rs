//! Requests to a server that says yes, no, nothing, or is not there.

use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse as _;
use axum::routing::post;
use serde_json::Value;
use tokio::net::TcpListener;

use super::*;

/// What a server was sent: headers and body.
type Heard = Arc<Mutex<Vec<(HeaderMap, String)>>>;

/// A server that takes calls at `/live`, refuses them at `/no`, sends them elsewhere at `/away`, and says nothing at `/mute`.
async fn server(heard: Heard) -> String {
    let take = async |State(heard): State<Heard>, headers: HeaderMap, body: String| {
        heard.lock().unwrap().push((headers, body));
        StatusCode::NO_CONTENT
    };
    let refuse = async || (StatusCode::SERVICE_UNAVAILABLE, format!("no room{}", "!".repeat(100_000)));
    let away = async || (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, "/live")]).into_response();
    let router = Router::new()
        .route("/live", post(take))
        .route("/no", post(refuse))
        .route("/away", post(away))
        .route("/mute", post(async || std::future::pending::<()>().await))
        .with_state(heard);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

fn webhook(url: &str, more: &str) -> Hooks {
    hooks(&format!("[hooks.it]\nkind = \"webhook\"\nurl = \"{url}\"\n{more}\n"))
}

#[tokio::test]
async fn a_server_is_sent_the_call_with_the_token_and_the_key_that_makes_it_one() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    fs::write(&token, "0123456789abcdef\n").unwrap();
    let heard = Heard::default();
    let url = server(Arc::clone(&heard)).await;
    let hooks = webhook(&format!("{url}/live"), &format!("token_file = \"{}\"", token.display()));
    hooks.call("it", &call(7, "s3://bucket/model")).await.unwrap();
    let heard = heard.lock().unwrap();
    let [(headers, body)] = &heard[..] else { panic!("{heard:?}") };
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!((body["version"].as_u64(), body["checkpoint"].as_str()), (Some(7), Some("s3://bucket/model")));
    assert_eq!(headers["idempotency-key"], "00ff:promote");
    assert_eq!(headers["authorization"], "Bearer 0123456789abcdef");
    assert_eq!(headers["content-type"], "application/json");
}

#[tokio::test]
async fn an_answer_that_is_no_yes_is_told_with_what_it_says_and_redirects_are_not_followed() {
    let heard = Heard::default();
    let url = server(Arc::clone(&heard)).await;
    let error = webhook(&format!("{url}/no"), "").call("it", &call(1, "/c")).await.unwrap_err();
    let HookError::Refused { status: 503, body, .. } = &error else { panic!("{error}") };
    assert!(body.starts_with("no room") && body.len() == KEPT, "{}", body.len());
    let error = webhook(&format!("{url}/away"), "").call("it", &call(1, "/c")).await.unwrap_err();
    assert!(matches!(error, HookError::Refused { status: 307, .. }), "{error}");
    assert!(heard.lock().unwrap().is_empty(), "a redirect was followed");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    // A port that was free a moment ago: bound and let go.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}/live");
    let error = webhook(&url, "").call("it", &call(1, "/c")).await.unwrap_err();
    assert!(matches!(&error, HookError::Unreachable { .. }) && error.to_string().contains(&url), "{error}");
}

#[tokio::test]
async fn a_server_that_says_nothing_has_its_deadline() {
    let url = server(Heard::default()).await;
    let hooks = webhook(&format!("{url}/mute"), "deadline = \"200ms\"");
    let error = hooks.call("it", &call(1, "/c")).await.unwrap_err();
    assert!(matches!(error, HookError::Deadline { deadline, .. } if deadline == Duration::from_millis(200)));
}

#[test]
fn a_token_that_is_of_no_use_is_found_before_anything_is_called() {
    let text = "[hooks.it]\nkind = \"webhook\"\nurl = \"http://x\"\ntoken_file = \"/does/not/exist\"\n";
    let spec = config::parse::<HooksSpec>(text, "hooks.toml", &[]).unwrap();
    let error = Hooks::open(&spec).unwrap_err();
    assert_eq!(error.to_string(), "hooks.it.token_file");
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("/does/not/exist"));
}

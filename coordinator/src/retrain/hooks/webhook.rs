//! A request that has somebody else put a model into service.

use std::time::Duration;

use muster_core::retrain::machine::HookCall;
use muster_proto::auth::Token;
use muster_proto::hooks::HookSpec;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use tokio::time::timeout;

use super::{HookError, KEPT, SetupError, json_of, text_of};

/// The header by which a server knows a call that it has carried out already.
const IDEMPOTENCY: &str = "idempotency-key";

/// Where the request goes.
#[derive(Debug, Clone)]
pub(super) struct Webhook {
    url: String,
    token: Option<HeaderValue>,
    client: Client,
}

impl Webhook {
    pub(super) fn open(hook: &str, spec: &HookSpec) -> Result<Self, SetupError> {
        let no_client = |problem: String| SetupError::Client { hook: hook.to_owned(), problem };
        // It fails where another part of the process has chosen one before, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // What is meant for one server, the token above all, is not carried on to another.
        let client = Client::builder().redirect(Policy::none()).no_proxy().build();
        let client = client.map_err(|error| no_client(root_cause(&error)))?;
        let token = spec.token_file.as_deref().map(Token::from_file).transpose();
        let token = token.map_err(|source| SetupError::Token { hook: hook.to_owned(), source })?;
        let token = token.map(|token| HeaderValue::try_from(token.header())).transpose();
        let mut token = token.map_err(|error| no_client(error.to_string()))?;
        token.iter_mut().for_each(|token| token.set_sensitive(true));
        Ok(Self { url: spec.url.clone().unwrap_or_default(), token, client })
    }

    /// Sends the call; any answer but a 2xx is a failure.
    pub(super) async fn call(
        &self,
        hook: &str,
        call: &HookCall,
        deadline: Duration,
    ) -> Result<(), HookError> {
        let mut request = self
            .client
            .post(&self.url)
            .header(CONTENT_TYPE, "application/json")
            .header(IDEMPOTENCY, &call.idempotency)
            .body(json_of(call));
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token.clone());
        }
        let answer = async {
            let response = request.send().await?;
            let status = response.status();
            let body = if status.is_success() { Vec::new() } else { beginning(response).await };
            Ok::<_, reqwest::Error>((status, body))
        };
        let (hook, url) = (hook.to_owned(), self.url.clone());
        match timeout(deadline, answer).await {
            Err(_) => Err(HookError::Deadline { hook, deadline, output: String::new() }),
            Ok(Err(error)) => Err(HookError::Unreachable { hook, url, problem: root_cause(&error) }),
            Ok(Ok((status, _))) if status.is_success() => Ok(()),
            Ok(Ok((status, body))) => {
                Err(HookError::Refused { hook, url, status: status.as_u16(), body: text_of(&body) })
            }
        }
    }
}

/// The first bytes of an answer.
async fn beginning(mut response: Response) -> Vec<u8> {
    let mut body = Vec::new();
    while body.len() < KEPT
        && let Ok(Some(chunk)) = response.chunk().await
    {
        body.extend_from_slice(&chunk);
    }
    body.truncate(KEPT);
    body
}

/// The innermost of an error's sources: what the system says, without the layers in between.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

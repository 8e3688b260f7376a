//! Who is let in, and what outsiders can see.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use muster_coordinator::{Error, Settings};
use muster_proto::auth::Token;
use muster_proto::rpc::{self, JobClient};
use muster_worker::agent::{self, Assignment, Control, JobRunner, Outcome, RunError};
use tokio::net::TcpListener;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use super::cluster::{
    agent_config, client, coordinator, coordinator_on, settings, submission, target, within, worker_with,
    workers_are,
};

struct Idle;

impl JobRunner for Idle {
    fn run(&self, _: Assignment, _: Control) -> Result<Outcome, RunError> {
        Err(RunError::own(&"no job is expected"))
    }
}

async fn get(address: SocketAddr, path: &'static str, header: String) -> String {
    let request = move || {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{header}\r\n").unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        response
    };
    within(tokio::task::spawn_blocking(request)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn health_reflection_and_metrics_answer_on_the_one_port() {
    let coordinator = coordinator(settings()).await;
    let channel =
        tonic::transport::Endpoint::from_shared(coordinator.url.clone()).unwrap().connect().await.unwrap();
    let mut health = HealthClient::new(channel.clone());
    for service in ["", "muster.v1.WorkerService", "muster.v1.JobService"] {
        let response = health.check(HealthCheckRequest { service: service.into() }).await.unwrap();
        assert_eq!(response.into_inner().status, 1, "{service} does not serve");
    }
    let list = MessageRequest::ListServices(String::new());
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(list) };
    let requests = tokio_stream::once(request);
    let mut answers =
        ServerReflectionClient::new(channel).server_reflection_info(requests).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response;
    let Some(MessageResponse::ListServicesResponse(list)) = answer else { panic!("{answer:?}") };
    let services: Vec<&str> = list.service.iter().map(|service| service.name.as_str()).collect();
    assert!(services.contains(&"muster.v1.JobService"), "{services:?}");
    assert!(services.contains(&"muster.v1.WorkerService"), "{services:?}");

    let jobs = client(&coordinator.url).await;
    jobs.submit(&submission("waits", 1)).await.unwrap();
    let metrics = get(coordinator.address, "/metrics", String::new()).await;
    assert!(metrics.contains("muster_jobs{phase=\"gathering\"} 1"), "{metrics}");
    let healthz = get(coordinator.address, "/healthz", String::new()).await;
    assert!(healthz.starts_with("HTTP/1.1 200"), "{healthz}");
    drop((health, answers, jobs));
    coordinator.running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_token_file_nothing_but_probes_works_without_the_token() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, "correct-horse-battery\n").unwrap();
    let token = Token::from_file(&file).unwrap();
    let coordinator = coordinator(Settings { token_file: Some(file), ..settings() }).await;

    let stranger = JobClient::connect(target(&coordinator.url, None)).await.unwrap();
    let error = stranger.jobs().await.unwrap_err();
    assert!(matches!(error, rpc::Error::Refused { code: Code::Unauthenticated, .. }), "{error}");
    let refused =
        worker_with(agent_config(&coordinator.url, "stranger"), Arc::new(Idle)).ended().await.unwrap_err();
    assert!(matches!(refused, agent::Error::Refused(_)), "{refused}");
    assert!(get(coordinator.address, "/metrics", String::new()).await.starts_with("HTTP/1.1 401"));
    assert!(get(coordinator.address, "/healthz", String::new()).await.starts_with("HTTP/1.1 200"));

    let friend = JobClient::connect(target(&coordinator.url, Some(token.clone()))).await.unwrap();
    let mut config = agent_config(&coordinator.url, "friend");
    config.token = Some(token.clone());
    let worker = worker_with(config, Arc::new(Idle));
    workers_are(&friend, |workers| workers.iter().any(|worker| worker.connected)).await;
    let header = format!("Authorization: {}\r\n", token.header());
    assert!(get(coordinator.address, "/metrics", header).await.starts_with("HTTP/1.1 200"));
    worker.stop().await.unwrap();
    coordinator.running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_others_can_reach_is_refused_without_a_token() {
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let coordinator = coordinator_on(settings().check().unwrap(), listener);
    let error = coordinator.running.ended().await.unwrap_err();
    assert!(matches!(error, Error::Exposed(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_too_large_for_a_message_is_refused_and_the_coordinator_lives() {
    let coordinator = coordinator(settings()).await;
    let client = client(&coordinator.url).await;
    let mut large = submission("large", 1);
    large.spec_toml = "#".repeat(8 << 20);
    client.submit(&large).await.unwrap_err();
    large.spec_toml = "#".repeat(2 << 20);
    let error = client.submit(&large).await.unwrap_err();
    assert!(error.to_string().contains("spec_toml"), "{error}");
    assert!(client.jobs().await.unwrap().is_empty());
    drop(client);
    coordinator.running.stop().await.unwrap();
}

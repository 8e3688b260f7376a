//! Hooks as they are called, with real programs, sockets and links.

mod links;
mod programs;
mod requests;

use muster_core::retrain::machine::HookStage;
use muster_proto::config;
use muster_proto::hooks::HooksSpec;

use super::*;

fn hooks(text: &str) -> Hooks {
    Hooks::open(&config::parse::<HooksSpec>(text, "hooks.toml", &[]).unwrap()).unwrap()
}

fn call(version: u64, checkpoint: &str) -> HookCall {
    HookCall {
        stage: HookStage::Promote,
        model: "shop".into(),
        version,
        checkpoint: checkpoint.into(),
        dataset: "/data/shop".into(),
        model_digest: "d1".into(),
        run: Some("00ff".into()),
        idempotency: "00ff:promote".into(),
    }
}

#[tokio::test]
async fn a_hook_that_is_not_there_is_refused_with_those_that_are() {
    let hooks = hooks("[hooks.live]\nkind = \"link\"\npath = \"/models/live\"\n");
    hooks.check("live").unwrap();
    for error in [hooks.check("lvie").unwrap_err(), hooks.call("lvie", &call(1, "/c")).await.unwrap_err()] {
        let message = error.to_string();
        assert!(message.contains("did you mean `live`?") && message.contains("--hooks"), "{message}");
    }
    assert!(Hooks::default().check("live").unwrap_err().to_string().contains("unknown hook `live`"));
}

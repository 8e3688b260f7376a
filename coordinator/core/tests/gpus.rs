//! What a worker says of its GPU is kept, over a restart too, and bounded.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use std::collections::BTreeMap;

use muster_core::{Action, Answer, Config, Core, Event, Refusal, RequestId, Time, Write};
use muster_proto::control::{Capabilities, DeviceKind, Gpu};

fn gpu() -> Gpu {
    Gpu {
        name: "NVIDIA H100 80GB HBM3".into(),
        memory_bytes: 80 << 30,
        compute_major: 9,
        compute_minor: 0,
        pci_bus_id: "0000:1b:00.0".into(),
        ordinal: 1,
        visible: 2,
        direct_peers: vec!["0000:19:00.0".into()],
    }
}

fn register(core: &mut Core, gpu: Gpu) -> Vec<Action> {
    let capabilities = Capabilities {
        name: "a".into(),
        host: "node-1".into(),
        cpu_threads: 1,
        memory_bytes: 1,
        device: DeviceKind::Cuda,
        data_plane_address: "host:1".into(),
        numerics: "cuda".into(),
        muster_version: String::new(),
        gpu: Some(gpu),
    };
    core.step(Time::default(), Event::Register { request: RequestId(1), capabilities })
}

fn restored(store: BTreeMap<String, Vec<u8>>) -> Core {
    Core::restore(Time::default(), Config::default(), [3; 32], store).unwrap()
}

#[test]
fn the_gpu_of_a_worker_is_known_to_the_coordinator_and_to_its_successor() {
    let mut core = restored(BTreeMap::new());
    let mut store = BTreeMap::new();
    for action in register(&mut core, gpu()) {
        let Action::Persist(writes) = action else { continue };
        for write in writes {
            if let Write::Put { key, value } = write {
                store.insert(key, value);
            }
        }
    }
    for core in [core, restored(store)] {
        let workers = core.workers();
        let known = workers[0].capabilities.gpu.as_ref();
        assert_eq!((workers.len(), known), (1, Some(&gpu())));
    }
}

#[test]
fn a_gpu_with_more_words_than_are_taken_is_refused_by_its_field() {
    let many = Gpu { direct_peers: vec!["0000:19:00.0".into(); 65], ..gpu() };
    let long = Gpu { name: "x".repeat(257), ..gpu() };
    let nowhere = Gpu { pci_bus_id: String::new(), ..gpu() };
    for (gpu, refused) in [(many, "gpu.direct_peers"), (long, "gpu.name"), (nowhere, "gpu.pci_bus_id")] {
        let actions = register(&mut restored(BTreeMap::new()), gpu);
        let field = actions.iter().find_map(|action| match action {
            Action::Reply { answer: Err(Refusal::Invalid { field, .. }), .. } => Some(*field),
            Action::Reply { answer: Ok(Answer::Registered(_)), .. } => Some("none"),
            _ => None,
        });
        assert_eq!(field, Some(refused));
    }
}

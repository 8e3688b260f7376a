//! Compiles the `.proto` files with `protox`, so that no `protoc` has to be installed.

use std::error::Error;
use std::path::PathBuf;

use prost::Message as _;

const FILES: [&str; 7] = [
    "muster/v1/state.proto",
    "muster/v1/plan.proto",
    "muster/v1/task.proto",
    "muster/v1/worker.proto",
    "muster/v1/job.proto",
    "muster/v1/collect.proto",
    "muster/v1/retrain.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    for file in FILES {
        println!("cargo::rerun-if-changed={file}");
    }
    let descriptors = protox::compile(FILES, ["."])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("muster.bin"), descriptors.encode_to_vec())?;
    // Feature `rpc` adds clients and servers; without it only messages are made and tonic is not compiled.
    let rpc = std::env::var_os("CARGO_FEATURE_RPC").is_some();
    tonic_prost_build::configure()
        .build_client(rpc)
        .build_server(rpc)
        .btree_map(".")
        // Shared by the messages of all ranks, not copied for each.
        .bytes(".muster.v1.Prepare")
        .compile_fds(descriptors)?;
    Ok(())
}

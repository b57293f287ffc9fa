//! Compiles the protobuf file with `protox`, so that no `protoc` is needed.

use std::env;
use std::error::Error;
use std::path::PathBuf;

const FILE: &str = "kontiki/kmeans/v1/kmeans.proto";

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    println!("cargo::rerun-if-changed={}", root.join(FILE).display());
    let descriptors = protox::compile([FILE], [&root])?;
    tonic_prost_build::configure()
        .bytes(".")
        .compile_fds(descriptors)?;
    Ok(())
}

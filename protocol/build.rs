//! Compiles `proto/causeway/v1/*.proto` into Rust types, without a `protoc` on the machine.

use std::error::Error;

const FILES: [&str; 5] = ["ids", "op", "client", "peer", "record"];

fn main() -> Result<(), Box<dyn Error>> {
    let root = "../proto";
    println!("cargo:rerun-if-changed={root}");
    let files: Vec<String> = FILES.iter().map(|name| format!("causeway/v1/{name}.proto")).collect();
    let descriptors = protox::compile(&files, [root])?;
    prost_build::Config::new()
        .bytes(["."])
        .skip_debug(["causeway.v1.Body", "causeway.v1.Hello", "causeway.v1.Renew"])
        .compile_fds(descriptors)?;
    Ok(())
}

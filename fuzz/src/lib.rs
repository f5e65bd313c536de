//! Fuzz targets: every decoder, and the state machines that take what others send. A target is one function of bytes
//! that panics where a promise is broken; `fuzz_targets/` hands them to libFuzzer.

#![forbid(unsafe_code)]

mod client_machine;
mod client_store;
mod decoders;
mod files;
mod forge;
pub mod seeds;
mod session;
mod shard;
mod site;

pub use client_machine::client_machine;
pub use client_store::client_store;
pub use decoders::{
    client_frame, datagrams, event_frame, frames, keys, op, peer_frame, queries, request, rows, server_frame,
    shard_frame, vectors,
};
pub use files::{config_file, jwks, pem, token};
pub use session::session;
pub use shard::shard;

// The relay's own sources, which name each other by these paths: its crate would bring RocksDB and its C++ along.
#[allow(dead_code, reason = "the relay uses all of it")]
#[path = "../../relay/src/config.rs"]
mod config;
#[allow(dead_code, reason = "the relay uses all of it")]
#[path = "../../relay/src/limits.rs"]
mod limits;
#[allow(dead_code, reason = "the relay uses all of it")]
#[path = "../../relay/src/settings.rs"]
mod settings;
#[allow(dead_code, reason = "the relay uses all of it")]
#[path = "../../relay/src/tls.rs"]
mod tls;
#[allow(dead_code, reason = "the relay uses all of it")]
#[path = "../../relay/src/tokens.rs"]
mod tokens;

//! The Causeway relay as a library: [`Relay::start`] runs one in the caller's tokio runtime. The binary
//! `causeway-relay` is [`cli::run`].
//!
//! Threads: N shard threads own the replicas and write to the store; one commit thread syncs for all of them (or,
//! while it is idle, a shard thread with nothing else to do); sessions and links are tokio tasks; reads that may
//! touch the disk run on blocking threads. Shard threads never wait for a session or a link: their queues are
//! bounded and drop, each in its own way. Sessions and links wait for shard threads.
//!
//! What is absent: the meaning of requests (`causeway-replica`), rows and their keys (`causeway-store`), accounts: who
//! gets a token is not decided here.

#![forbid(unsafe_code)]

mod admin;
mod admin_server;
mod api;
mod asking;
mod certificates;
pub mod certs;
pub mod cli;
mod clock;
mod clock_guard;
pub mod config;
mod core;
mod datagrams;
pub mod dev_tokens;
mod erasures;
mod handshakes;
mod http;
mod limits;
mod link;
mod link_queue;
mod link_run;
mod mail;
mod metric_definitions;
mod out_queue;
mod presence;
mod process;
mod published;
mod queries;
mod rates;
mod relay;
mod session;
pub mod settings;
mod shard_input;
mod shard_thread;
mod status;
pub mod tls;
mod token_bucket;
mod tokens;
mod transport;

pub use config::Config;
pub use relay::{Relay, RelayHandle, StartError};
pub use settings::Settings;

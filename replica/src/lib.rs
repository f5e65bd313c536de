//! The sans-IO shard replica: rooms, requests, replication, rejoin; deterministic.

#![forbid(unsafe_code)]

pub mod crdt;
pub mod io;
pub mod key;
pub mod read;
pub mod request;
pub mod rights;
mod sabotage;
pub mod session;
pub mod shard;
pub mod view;

pub use sabotage::Sabotage;
pub use shard::{PeerStatus, Shard, ShardStatus};

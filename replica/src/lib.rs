//! The sans-IO shard replica: rooms, requests, replication, rejoin; deterministic.

#![forbid(unsafe_code)]

pub mod io;
pub mod key;
pub mod read;
pub mod session;
pub mod view;

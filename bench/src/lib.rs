//! Micro-benchmarks with budgets.
//!
//! `make bench`, which is
//! `cargo bench --profile release --workspace --locked --bench micro --bench budget --bench large_room`, runs three programs.
//! The workspace's one profile and one set of features keep it from building RocksDB a second time.
//! `micro` (divan) measures codec, apply, commit and fan-out. `budget` measures
//! the commit against the bare disk in the same run, and a few costs against a fixed limit, and fails where
//! a budget is exceeded. `large_room` compares what a room of 100,000 members costs with what a small one does. This
//! library makes what they measure: requests, events, shards, rooms.

#![forbid(unsafe_code)]

mod chat;
mod host;
pub mod large_room;

pub use chat::{Chat, event_frame, op};
pub use host::{Host, replicated_frames, row};

/// Bytes of a message's content: what the comparison with other systems uses.
pub const CONTENT_BYTES: usize = 256;

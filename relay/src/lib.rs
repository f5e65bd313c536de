//! The Causeway relay: shard threads, sessions, peer links, admin.

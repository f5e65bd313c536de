//! The hand-off between shard threads and sessions: bounded queues, the room registry.

//! RocksDB behind the replica's view and batches, with group commit.

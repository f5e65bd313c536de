//! RocksDB behind the replica's view and batches, with group commit.
//!
//! [`Store`] is one node's database. It is a [`View`](causeway_replica::view::View): whatever was written is
//! read back at once, synced or not. [`Store::write`] applies a batch and returns a [`Ticket`]; the write is
//! in the log's buffer then, and a power failure may still undo it. A [`CommitThread`] syncs the log for
//! everybody and reports the highest ticket that is durable. Nothing may leave the node before that.
//!
//! Two promises, which everything above relies on:
//!
//! 1. When `durable(t)` is reported, every write with a ticket up to `t` survives a power failure, whole.
//! 2. After a failed sync (or a failed write) nothing is reported durable any more, ever, by this process:
//!    the kernel may have dropped the pages that it could not write, so a retry that succeeds proves nothing.
//!
//! ```
//! use causeway_replica::view::{Batch, Cf, View};
//! use causeway_store::{Identity, Store, StoreConfig, abort_on_failure};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! let identity = Identity { cluster: [7; 16], site: 1, node: 0, shard_count: 256 };
//! let store = Store::open(&folder.path().join("db"), &StoreConfig::new(identity))?;
//! let commits = store.start_commits(|ticket| println!("durable: {ticket:?}"), abort_on_failure)?;
//!
//! let mut batch = Batch::default();
//! batch.put(Cf::Meta, "key".into(), "value".into());
//! let ticket = store.write(&batch)?;
//! assert_eq!(store.get(Cf::Meta, b"key")?.as_deref(), Some(&b"value"[..]));
//! assert!(store.durable() <= ticket);
//! commits.stop()?;
//! assert_eq!(store.durable(), ticket);
//! # Ok(())
//! # }
//! ```
//!
//! What is absent: threads other than the one that commits (and RocksDB's own), async, the meaning of any row
//! but the identity. RocksDB's types do not appear in the interface.

#![forbid(unsafe_code)]

mod backup;
mod commit;
mod config;
mod error;
mod identity;
mod stats;
mod store;

pub use causeway_replica::io::Ticket;
pub use commit::{CommitThread, SyncLead, abort_on_failure};
pub use config::StoreConfig;
pub use error::StoreError;
pub use identity::{FORMAT, Identity, Provenance};
pub use stats::Stats;
pub use store::Store;

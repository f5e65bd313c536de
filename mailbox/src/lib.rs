//! The hand-off between shard threads and sessions: bounded queues, the room registry.
//!
//! A session owns a [`Receiver`]; shard threads push into its [`Sender`]s, which a [`Registry`] finds by room
//! (or by user, or by session: the key is generic). The queue is bounded in bytes and in items. A reader that
//! is too slow loses what is queued and is *told* so, once; from then on it costs no memory until it has
//! acknowledged, and reads what it missed from storage. Nothing is ever lost silently.
//!
//! ```no_run
//! use bytes::Bytes;
//! use causeway_mailbox::{Limits, Popped, Registry, Wakes, queue};
//!
//! let registry: Registry<&str, Bytes> = Registry::new();
//! let (sender, mut receiver) = queue(Limits { items_max: 16, bytes_max: 4096 });
//! let mut subscriber = registry.subscriber(sender);
//! subscriber.subscribe("room");
//!
//! let mut wakes = Wakes::default();
//! assert_eq!(registry.deliver(&"room", &Bytes::from_static(b"event"), &mut wakes), 1);
//! wakes.wake();
//! assert_eq!(receiver.try_pop(), Some(Popped::Item(Bytes::from_static(b"event"))));
//! ```
//!
//! What is absent: async runtimes (any executor's waker will do), rooms, frames, sockets. Locks are short: no
//! lock is held while a waker is called or an item is dropped, and the longest critical section is one
//! delivery to one key's subscribers, during which only that key is locked.

#![forbid(unsafe_code)]

mod queue;
mod registry;
mod sync;
mod wakes;

pub use queue::{Drained, Limits, Popped, Push, Receiver, Sender, Weight, queue};
pub use registry::{Registry, Subscriber};
pub use wakes::Wakes;

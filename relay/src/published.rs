//! What the shards have published for readers: durable vectors, and whether they serve.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use causeway_protocol::{ShardId, Vector};
use causeway_replica::read::Durables;

struct Slot {
    // Held for one clone of the Arc; never while anything else is done.
    durable: Mutex<Arc<Vector>>,
    ready: AtomicBool,
}

/// One slot a shard.
pub struct Published {
    slots: Box<[Slot]>,
}

impl Published {
    /// Nothing is durable, nobody serves.
    pub fn new(shards: u16) -> Self {
        let slot = |_| Slot { durable: Mutex::default(), ready: AtomicBool::new(false) };
        Self { slots: (0..shards).map(slot).collect() }
    }

    /// Publishes a vector. Before the deliveries that it covers are queued.
    pub fn publish(&self, shard: ShardId, vector: Vector) {
        let vector = Arc::new(vector);
        let mut slot = self.slots[usize::from(shard.0)].durable.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *slot, vector);
        drop(slot);
        drop(before);
    }

    /// Says whether a shard serves.
    pub fn set_ready(&self, shard: ShardId, ready: bool) {
        self.slots[usize::from(shard.0)].ready.store(ready, Ordering::Release);
    }

    /// How many shards serve.
    pub fn ready_count(&self) -> usize {
        self.slots.iter().filter(|slot| slot.ready.load(Ordering::Acquire)).count()
    }

    /// Whether all do.
    pub fn all_ready(&self) -> bool {
        self.ready_count() == self.slots.len()
    }
}

impl Durables for Published {
    fn durable(&self, shard: ShardId) -> Arc<Vector> {
        self.slots[usize::from(shard.0)].durable.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn ready(&self, shard: ShardId) -> bool {
        self.slots[usize::from(shard.0)].ready.load(Ordering::Acquire)
    }
}

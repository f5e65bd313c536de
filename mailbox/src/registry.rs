//! Who listens to what: key -> queues.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::sync::{Arc, Mutex, lock};
use crate::{Push, Sender, Wakes, Weight};

/// Locks that the keys are spread over. Each guards a look-up, never a delivery, so a few times the number
/// of threads is plenty.
#[cfg(not(loom))]
const PARTS: usize = 64;
/// Every lock is a state to explore.
#[cfg(loom)]
const PARTS: usize = 1;

/// The subscribers of one key.
struct Group<T> {
    /// By the subscriber's number. Ordered, so that deliveries do not depend on hash seeds.
    queues: BTreeMap<u64, Sender<T>>,
    /// The last subscriber has left and the group is being taken out of the map: nobody may enter.
    closed: bool,
}

type SharedGroup<T> = Arc<Mutex<Group<T>>>;
type Part<K, T> = Mutex<HashMap<K, SharedGroup<T>>>;

struct Shared<K, T> {
    parts: Vec<Part<K, T>>,
    next: AtomicU64,
}

/// Key -> subscribed queues. Cheap to clone; all clones are one registry.
///
/// A delivery sees every subscription that was complete before it began, and none that was ended before it
/// began; one that changes meanwhile may or may not be in it. Subscribers therefore subscribe *first* and
/// read storage *then*.
pub struct Registry<K, T> {
    shared: Arc<Shared<K, T>>,
}

impl<K, T> Clone for Registry<K, T> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<K, T> Default for Registry<K, T> {
    fn default() -> Self {
        let parts = (0..PARTS).map(|_| Mutex::new(HashMap::new())).collect();
        Self { shared: Arc::new(Shared { parts, next: AtomicU64::new(0) }) }
    }
}

impl<K, T> fmt::Debug for Registry<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Registry")
    }
}

impl<K: Hash + Ord + Clone, T> Registry<K, T> {
    /// An empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// A subscriber without subscriptions, for one queue.
    pub fn subscriber(&self, queue: Sender<T>) -> Subscriber<K, T> {
        let number = self.shared.next.fetch_add(1, Ordering::Relaxed);
        Subscriber { registry: self.clone(), number, queue, keys: BTreeSet::new() }
    }

    /// Calls `visit` with the queue of each subscriber of a key, while that key is locked: it must not
    /// subscribe, unsubscribe or block.
    pub fn for_each(&self, key: &K, mut visit: impl FnMut(&Sender<T>)) {
        if let Some(group) = self.find(key) {
            lock(&group).queues.values().for_each(&mut visit);
        }
    }

    /// How many subscribers a key has.
    pub fn subscribers(&self, key: &K) -> usize {
        self.find(key).map_or(0, |group| lock(&group).queues.len())
    }

    /// Keys that have subscribers. Locks one part after the other: a figure for metrics.
    pub fn keys(&self) -> usize {
        self.shared.parts.iter().map(|part| lock(part).len()).sum()
    }

    fn part(&self, key: &K) -> &Part<K, T> {
        // Fixed keys: which part a key falls into decides nothing but who waits for whom.
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(key);
        &self.shared.parts[(hash as usize) % PARTS]
    }

    fn find(&self, key: &K) -> Option<SharedGroup<T>> {
        lock(self.part(key)).get(key).cloned()
    }

    fn enter(&self, key: &K, number: u64, queue: &Sender<T>) {
        // Each turn after the first means that another thread has just emptied and closed a group.
        loop {
            let group = lock(self.part(key))
                .entry(key.clone())
                .or_insert_with(|| Arc::new(Mutex::new(Group { queues: BTreeMap::new(), closed: false })))
                .clone();
            let mut members = lock(&group);
            if !members.closed {
                members.queues.insert(number, queue.clone());
                return;
            }
            drop(members);
            self.forget(key, &group);
        }
    }

    fn leave(&self, key: &K, number: u64) {
        let Some(group) = self.find(key) else { return };
        let mut members = lock(&group);
        let left = members.queues.remove(&number);
        let last = members.queues.is_empty() && !members.closed;
        members.closed |= last;
        drop(members);
        drop(left);
        if last {
            self.forget(key, &group);
        }
    }

    /// Takes a closed group out of the map, unless another has taken its place already.
    fn forget(&self, key: &K, group: &SharedGroup<T>) {
        let mut part = lock(self.part(key));
        if part.get(key).is_some_and(|current| Arc::ptr_eq(current, group)) {
            part.remove(key);
        }
    }
}

impl<K: Hash + Ord + Clone, T: Weight + Clone> Registry<K, T> {
    /// Pushes a clone of `item` to every subscriber of a key and returns how many queues took it. Nothing is
    /// allocated per receiver but the slot in its queue; those who wait are woken through `wakes`, at the
    /// latest when it is dropped.
    pub fn deliver(&self, key: &K, item: &T, wakes: &mut Wakes) -> usize {
        let mut queued = 0;
        self.for_each(key, |queue| {
            queued += usize::from(queue.push_deferred(item.clone(), wakes) == Push::Queued);
        });
        wakes.relieve();
        queued
    }
}

impl<K: Hash + Ord + Clone, T: Weight + Clone> Registry<K, T> {
    /// As [`Registry::deliver`], of an item that nobody misses: see [`Sender::push_expendable`].
    pub fn deliver_expendable(&self, key: &K, item: &T, wakes: &mut Wakes) -> usize {
        let mut queued = 0;
        self.for_each(key, |queue| {
            queued += usize::from(queue.push_expendable(item.clone(), wakes) == Push::Queued);
        });
        wakes.relieve();
        queued
    }
}

/// One queue's subscriptions. Dropping it ends them all.
pub struct Subscriber<K: Hash + Ord + Clone, T> {
    registry: Registry<K, T>,
    number: u64,
    queue: Sender<T>,
    keys: BTreeSet<K>,
}

impl<K: Hash + Ord + Clone, T> Subscriber<K, T> {
    /// Deliveries to `key` that begin after this call reach the queue. `false` if they did already.
    pub fn subscribe(&mut self, key: K) -> bool {
        if self.keys.contains(&key) {
            return false;
        }
        self.registry.enter(&key, self.number, &self.queue);
        self.keys.insert(key)
    }

    /// Deliveries to `key` that begin after this call do not reach the queue. `false` if they did not before.
    pub fn unsubscribe(&mut self, key: &K) -> bool {
        let subscribed = self.keys.remove(key);
        if subscribed {
            self.registry.leave(key, self.number);
        }
        subscribed
    }

    /// The keys subscribed to, in order.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.keys.iter()
    }

    /// The queue.
    pub fn queue(&self) -> &Sender<T> {
        &self.queue
    }
}

impl<K: Hash + Ord + Clone, T> Drop for Subscriber<K, T> {
    fn drop(&mut self) {
        for key in std::mem::take(&mut self.keys) {
            self.registry.leave(&key, self.number);
        }
    }
}

impl<K: Hash + Ord + Clone, T> fmt::Debug for Subscriber<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscriber").field("number", &self.number).field("keys", &self.keys.len()).finish()
    }
}

#[cfg(all(test, not(loom)))]
#[path = "registry_tests.rs"]
mod tests;

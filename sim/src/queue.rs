//! Virtual time: an event happens when the queue says so, and nothing happens in between.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Microseconds since the start of the run.
pub type Micros = u64;

/// One millisecond.
pub const MS: Micros = 1_000;
/// One second.
pub const SECOND: Micros = 1_000_000;

/// Events that may wait at once: a run that needs more is running away.
const EVENTS_MAX: usize = 1_000_000;

struct Entry<E> {
    at: Micros,
    number: u64,
    event: E,
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl<E> Eq for Entry<E> {}
impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl<E> Ord for Entry<E> {
    /// The heap gives the greatest: the earliest, and of one moment the first that was pushed.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

/// What will happen, by time; what was pushed first happens first within one moment.
pub struct Queue<E> {
    now: Micros,
    pushed: u64,
    heap: BinaryHeap<Entry<E>>,
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Self { now: 0, pushed: 0, heap: BinaryHeap::new() }
    }
}

impl<E> Queue<E> {
    /// The present moment.
    pub fn now(&self) -> Micros {
        self.now
    }

    /// Events taken so far.
    pub fn pushed(&self) -> u64 {
        self.pushed
    }

    /// Lets an event happen after a delay.
    ///
    /// # Panics
    /// If a million events wait: the simulation runs away.
    pub fn after(&mut self, delay: Micros, event: E) {
        assert!(self.heap.len() < EVENTS_MAX, "the event queue runs away");
        self.pushed += 1;
        self.heap.push(Entry { at: self.now + delay, number: self.pushed, event });
    }

    /// When the next event happens.
    pub fn next_at(&self) -> Option<Micros> {
        self.heap.peek().map(|entry| entry.at)
    }

    /// The next event; time moves to it.
    pub fn pop(&mut self) -> Option<E> {
        let entry = self.heap.pop()?;
        self.now = entry.at;
        Some(entry.event)
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;

//! A bounded queue from many producers to one consumer, which drops its content rather than grow.

use std::collections::VecDeque;
use std::fmt;
use std::task::{Context, Poll, Waker};

use crate::Wakes;
use crate::sync::{Arc, Mutex, lock};

/// Slots that an empty queue may keep allocated. Above it the allocation is given back, so that an idle
/// session does not pay for its last burst.
const SLOTS_KEPT_MAX: usize = 64;

/// What an item costs a queue.
pub trait Weight {
    /// Bytes that the item keeps alive. Shared bytes count in full in each queue that holds them.
    fn weight_bytes(&self) -> usize;
}

impl Weight for bytes::Bytes {
    fn weight_bytes(&self) -> usize {
        self.len()
    }
}

/// A queue's bounds. It overflows when either would be exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Items.
    pub items_max: usize,
    /// Sum of [`Weight::weight_bytes`]. Not below the weight of the heaviest item: such an item could
    /// never be pushed.
    pub bytes_max: usize,
}

/// What became of a pushed item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Push {
    /// It is in the queue.
    Queued,
    /// It did not fit: it is dropped with all that was queued, and the consumer will be told.
    Overflowed,
    /// The consumer has not acknowledged an earlier overflow yet, or the item was expendable and the queue was more than
    /// half full: the item is dropped.
    Dropped,
    /// The queue is closed: the item is dropped.
    Closed,
}

/// What a consumer that takes one item at a time gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Popped<T> {
    /// The oldest item.
    Item(T),
    /// See [`Drained::Overflowed`].
    Overflowed,
    /// See [`Drained::Closed`].
    Closed,
}

/// What a consumer that takes everything at once gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// At least one item.
    Items,
    /// Items were dropped. Said once for each overflow; the queue takes nothing before the consumer calls
    /// [`Receiver::acknowledge_overflow`].
    Overflowed,
    /// Closed, everything that was queued has been taken, and no overflow is untold. It stays so.
    Closed,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Overflow {
    No,
    /// Items were dropped; the consumer does not know yet.
    Untold,
    /// The consumer knows and has not acknowledged.
    Told,
}

struct State<T> {
    items: VecDeque<T>,
    bytes: usize,
    overflow: Overflow,
    closed: bool,
    /// Of a consumer that found nothing. Taken by whoever has news for it, so each wait costs one wake.
    waker: Option<Waker>,
}

struct Shared<T> {
    limits: Limits,
    state: Mutex<State<T>>,
}

/// A new queue.
pub fn queue<T: Weight>(limits: Limits) -> (Sender<T>, Receiver<T>) {
    let state = State { items: VecDeque::new(), bytes: 0, overflow: Overflow::No, closed: false, waker: None };
    let shared = Arc::new(Shared { limits, state: Mutex::new(state) });
    (Sender { shared: shared.clone() }, Receiver { shared })
}

/// The producers' end: cheap to clone. It holds no item back and never blocks beyond a short lock.
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sender")
    }
}

impl<T: Weight> Sender<T> {
    /// Pushes an item and wakes the consumer if it waits.
    pub fn push(&self, item: T) -> Push {
        let (push, waker) = self.push_quietly(item);
        if let Some(waker) = waker {
            waker.wake();
        }
        push
    }

    /// Pushes an item; if the consumer waits, `wakes` wakes it later.
    pub fn push_deferred(&self, item: T, wakes: &mut Wakes) -> Push {
        let (push, waker) = self.push_quietly(item);
        wakes.add(waker);
        push
    }

    /// Pushes an item that nobody misses, if the queue is at most half full: it takes no other item's place for long, and
    /// never makes the queue overflow. Otherwise it is dropped, and the consumer is not told.
    pub fn push_expendable(&self, item: T, wakes: &mut Wakes) -> Push {
        let weight = item.weight_bytes();
        let limits = self.shared.limits;
        let mut state = lock(&self.shared.state);
        if state.closed {
            return Push::Closed;
        }
        let is_roomy = 2 * state.items.len() < limits.items_max
            && 2 * state.bytes.saturating_add(weight) <= limits.bytes_max
            && state.overflow == Overflow::No;
        if !is_roomy {
            return Push::Dropped;
        }
        state.bytes += weight;
        state.items.push_back(item);
        let waker = state.waker.take();
        drop(state);
        wakes.add(waker);
        Push::Queued
    }

    fn push_quietly(&self, item: T) -> (Push, Option<Waker>) {
        let weight = item.weight_bytes();
        let limits = self.shared.limits;
        let mut state = lock(&self.shared.state);
        if state.closed {
            return (Push::Closed, None);
        }
        if state.overflow != Overflow::No {
            return (Push::Dropped, None);
        }
        if state.items.len() >= limits.items_max || state.bytes.saturating_add(weight) > limits.bytes_max {
            let dropped = std::mem::take(&mut state.items);
            state.bytes = 0;
            state.overflow = Overflow::Untold;
            let waker = state.waker.take();
            drop(state);
            drop(dropped);
            return (Push::Overflowed, waker);
        }
        state.bytes += weight;
        state.items.push_back(item);
        (Push::Queued, state.waker.take())
    }

    /// Closes the queue: what is in it can still be taken, nothing more gets in.
    pub fn close(&self) {
        close(&self.shared);
    }

    /// Whether either end has closed the queue.
    pub fn is_closed(&self) -> bool {
        lock(&self.shared.state).closed
    }
}

fn close<T>(shared: &Shared<T>) {
    let mut state = lock(&shared.state);
    state.closed = true;
    let waker = state.waker.take();
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// The consumer's end. Dropping it closes the queue and frees what is in it.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Receiver")
    }
}

impl<T> Receiver<T> {
    /// Another producers' end.
    pub fn sender(&self) -> Sender<T> {
        Sender { shared: self.shared.clone() }
    }

    /// Takes everything that is queued with one short lock; `Pending` if there is nothing to say, and `cx` is
    /// woken when there is. Appends to `into`, which the caller reuses: when it is empty the two buffers
    /// trade places, so nothing is copied. A consumer thus keeps at most one queue's limits alive itself.
    pub fn poll_drain(&mut self, cx: &mut Context<'_>, into: &mut VecDeque<T>) -> Poll<Drained> {
        let mut state = lock(&self.shared.state);
        match drain(&mut state, into) {
            Some(drained) => Poll::Ready(drained),
            None => wait(&mut state, cx),
        }
    }

    /// [`Receiver::poll_drain`] for a single item.
    pub fn poll_pop(&mut self, cx: &mut Context<'_>) -> Poll<Popped<T>>
    where
        T: Weight,
    {
        let mut state = lock(&self.shared.state);
        match pop(&mut state) {
            Some(popped) => Poll::Ready(popped),
            None => wait(&mut state, cx),
        }
    }

    /// [`Receiver::poll_drain`] as a future. Cancelling it loses nothing.
    pub async fn drain(&mut self, into: &mut VecDeque<T>) -> Drained {
        std::future::poll_fn(|cx| self.poll_drain(cx, into)).await
    }

    /// [`Receiver::poll_drain`] without waiting: `None` where it would be pending.
    pub fn try_drain(&mut self, into: &mut VecDeque<T>) -> Option<Drained> {
        drain(&mut lock(&self.shared.state), into)
    }

    /// [`Receiver::poll_pop`] without waiting: `None` where it would be pending.
    pub fn try_pop(&mut self) -> Option<Popped<T>>
    where
        T: Weight,
    {
        pop(&mut lock(&self.shared.state))
    }

    /// From now on the queue takes items again. What was pushed before this call and not taken is lost, so
    /// whoever calls must *then* read it elsewhere. Does nothing where no overflow has been told.
    pub fn acknowledge_overflow(&mut self) {
        let mut state = lock(&self.shared.state);
        if state.overflow == Overflow::Told {
            state.overflow = Overflow::No;
        }
    }

    /// Closes the queue: what is in it can still be taken, nothing more gets in.
    pub fn close(&mut self) {
        close(&self.shared);
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut state = lock(&self.shared.state);
        state.closed = true;
        state.bytes = 0;
        let freed = (std::mem::take(&mut state.items), state.waker.take());
        drop(state);
        drop(freed);
    }
}

fn drain<T>(state: &mut State<T>, into: &mut VecDeque<T>) -> Option<Drained> {
    if state.items.is_empty() {
        return news(state);
    }
    if into.is_empty() {
        if into.capacity() > SLOTS_KEPT_MAX {
            *into = VecDeque::new();
        }
        std::mem::swap(into, &mut state.items);
    } else {
        into.append(&mut state.items);
    }
    state.bytes = 0;
    Some(Drained::Items)
}

fn pop<T: Weight>(state: &mut State<T>) -> Option<Popped<T>> {
    let Some(item) = state.items.pop_front() else {
        return news(state).map(|drained| match drained {
            Drained::Closed => Popped::Closed,
            _ => Popped::Overflowed,
        });
    };
    state.bytes -= item.weight_bytes();
    if state.items.is_empty() && state.items.capacity() > SLOTS_KEPT_MAX {
        state.items = VecDeque::new();
    }
    Some(Popped::Item(item))
}

/// What an empty queue has to say.
fn news<T>(state: &mut State<T>) -> Option<Drained> {
    if state.overflow == Overflow::Untold {
        state.overflow = Overflow::Told;
        return Some(Drained::Overflowed);
    }
    state.closed.then_some(Drained::Closed)
}

fn wait<T, R>(state: &mut State<T>, cx: &Context<'_>) -> Poll<R> {
    match &mut state.waker {
        Some(waker) => waker.clone_from(cx.waker()),
        slot => *slot = Some(cx.waker().clone()),
    }
    Poll::Pending
}

#[cfg(all(test, not(loom)))]
#[path = "queue_tests.rs"]
mod tests;

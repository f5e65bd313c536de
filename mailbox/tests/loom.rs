//! Loom models of the hand-off: every interleaving of a few threads over a few operations.
//!
//! A lost wake shows as a deadlock, which loom reports; everything else is asserted. Arcs that are never
//! dropped are reported too.
//!
//! What no model here covers: more threads and operations than a model names (the interleavings explode);
//! the number that tells subscribers apart, a std atomic that loom does not permute; wakers, whose reference
//! counts are std's; any executor's own way from a wake to a poll; queues of more than a few items, so the
//! trading of buffers at real sizes is left to the unit tests.
//!
//! `make loom`, or `RUSTFLAGS="--cfg loom" cargo test --release -p causeway-mailbox --test loom`. Without `--cfg loom`
//! this file is empty.
#![cfg(loom)]

use std::collections::VecDeque;
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use causeway_mailbox::{Drained, Limits, Popped, Push, Receiver, Registry, Wakes, queue};
use loom::sync::Notify;
use loom::thread;

const ROOMY: Limits = Limits { items_max: 8, bytes_max: 100 };
/// One item fits.
const TIGHT: Limits = Limits { items_max: 1, bytes_max: 100 };

/// Parks the loom thread that waits, as an executor parks a task.
struct Park(Notify);

impl Wake for Park {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.notify();
    }
}

/// Polls until it is ready. The last wake may be missing only if a wake was lost.
fn block_on<R>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<R>) -> R {
    let park = std::sync::Arc::new(Park(Notify::new()));
    let waker = Waker::from(park.clone());
    loop {
        match poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(result) => return result,
            Poll::Pending => park.0.wait(),
        }
    }
}

fn pop(receiver: &mut Receiver<Bytes>) -> Popped<Bytes> {
    block_on(|cx| receiver.poll_pop(cx))
}

fn item(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

/// Two producers against a consumer that parks between items: it gets both, whatever the order of pushes,
/// polls and wakes. Not covered: that producers which never stop leave the consumer time to run.
#[test]
fn no_wake_is_lost() {
    loom::model(|| {
        let (sender, mut receiver) = queue(ROOMY);
        let other = sender.clone();
        let first = thread::spawn(move || assert_eq!(sender.push(item("a")), Push::Queued));
        let second = thread::spawn(move || assert_eq!(other.push(item("b")), Push::Queued));
        let mut got = [pop(&mut receiver), pop(&mut receiver)].map(|popped| match popped {
            Popped::Item(item) => item,
            other => panic!("{other:?}"),
        });
        got.sort();
        assert_eq!(got, [item("a"), item("b")]);
        first.join().unwrap();
        second.join().unwrap();
    });
}

/// The same with wakes that come after a batch of pushes, and a consumer that drains: nothing is missing and
/// one producer's items stay in order. Not covered: a producer that keeps its `Wakes` forever.
#[test]
fn no_deferred_wake_is_lost() {
    loom::model(|| {
        let (sender, mut receiver) = queue(ROOMY);
        let producer = thread::spawn(move || {
            let mut wakes = Wakes::default();
            for text in ["a", "b"] {
                assert_eq!(sender.push_deferred(item(text), &mut wakes), Push::Queued);
            }
        });
        let (mut got, mut batch) = (Vec::new(), VecDeque::new());
        while got.len() < 2 {
            assert_eq!(block_on(|cx| receiver.poll_drain(cx, &mut batch)), Drained::Items);
            got.extend(batch.drain(..));
        }
        assert_eq!(got, [item("a"), item("b")]);
        producer.join().unwrap();
    });
}

/// More is pushed than fits: each item either reaches the consumer, or was dropped before an overflow that
/// the consumer is told of, so a consumer that was told nothing has everything. Not covered: what the
/// consumer then reads from storage.
#[test]
fn nothing_is_dropped_silently() {
    loom::model(|| {
        let (sender, mut receiver) = queue(TIGHT);
        let producer = thread::spawn(move || {
            let dropped = ["a", "b", "c"].map(|text| match sender.push(item(text)) {
                Push::Queued => 0,
                Push::Overflowed | Push::Dropped => 1,
                Push::Closed => panic!("nobody closed it"),
            });
            sender.close();
            dropped.iter().sum::<usize>()
        });
        let (mut items, mut overflows) = (0, 0);
        loop {
            match pop(&mut receiver) {
                Popped::Item(_) => items += 1,
                Popped::Overflowed => {
                    overflows += 1;
                    receiver.acknowledge_overflow();
                }
                Popped::Closed => break,
            }
        }
        let dropped = producer.join().unwrap();
        // An overflow also drops what was queued and reported as such: one item here.
        assert!(items + dropped <= 3 && items + dropped + overflows >= 3);
        assert_eq!(overflows == 0, items == 3, "{items} items, {overflows} overflows");
    });
}

/// An item pushed after the consumer acknowledged an overflow arrives, or another overflow is told: this is
/// the moment in which a session goes over from storage to the queue. Storage is modelled by a lock that the
/// producer writes before it pushes; the consumer reads it after acknowledging. Not covered: that a real
/// host publishes what is durable before it delivers.
#[test]
fn acknowledging_then_reading_storage_misses_nothing() {
    loom::model(|| {
        let storage = loom::sync::Arc::new(loom::sync::Mutex::new(0_u8));
        let (sender, mut receiver) = queue(TIGHT);
        assert_eq!(sender.push(item("a")), Push::Queued);
        assert_eq!(sender.push(item("b")), Push::Overflowed);
        let written = storage.clone();
        let producer = thread::spawn(move || {
            *written.lock().unwrap() = 1;
            let _ = sender.push(item("c"));
        });
        assert_eq!(receiver.try_pop(), Some(Popped::Overflowed));
        receiver.acknowledge_overflow();
        let read = *storage.lock().unwrap() == 1;
        if !read {
            assert_eq!(pop(&mut receiver), Popped::Item(item("c")));
        }
        producer.join().unwrap();
    });
}

/// Closing against pushing against waiting: the consumer wakes, gets what was queued, and then hears that the
/// queue is closed; what was not queued was reported to its producer. Not covered: two consumers, which the
/// types rule out.
#[test]
fn closing_wakes_and_loses_nothing_that_was_queued() {
    loom::model(|| {
        let (sender, mut receiver) = queue(ROOMY);
        let closer = sender.clone();
        let producer = thread::spawn(move || sender.push(item("a")) == Push::Queued);
        let closing = thread::spawn(move || closer.close());
        let mut items = 0;
        loop {
            match pop(&mut receiver) {
                Popped::Item(_) => items += 1,
                Popped::Closed => break,
                Popped::Overflowed => panic!("it fits"),
            }
        }
        closing.join().unwrap();
        assert_eq!(usize::from(producer.join().unwrap()), items);
    });
}

/// The receiver goes away while somebody pushes: the item is freed whichever comes first (loom reports a
/// leaked Arc; the item is shared, so a kept one shows). Not covered: wakers that leak.
#[test]
fn a_dropped_receiver_frees_what_is_pushed_meanwhile() {
    loom::model(|| {
        let shared = Bytes::from(vec![1; 10]);
        let (sender, receiver) = queue(ROOMY);
        let pushed = shared.clone();
        let producer = thread::spawn(move || {
            let _ = sender.push(pushed);
            sender
        });
        drop(receiver);
        let sender = producer.join().unwrap();
        assert!(shared.is_unique());
        assert_eq!(sender.push(shared), Push::Closed);
    });
}

/// Subscribing first and reading storage then misses nothing of a delivery that writes storage first. Not
/// covered: two deliveries at once to one key; a room has one shard thread.
#[test]
fn subscribing_then_reading_storage_misses_nothing() {
    loom::model(|| {
        let storage = loom::sync::Arc::new(loom::sync::Mutex::new(0_u8));
        let registry: Registry<u8, Bytes> = Registry::new();
        let (shard, written) = (registry.clone(), storage.clone());
        let delivery = thread::spawn(move || {
            *written.lock().unwrap() = 1;
            shard.deliver(&1, &item("a"), &mut Wakes::default())
        });
        let (sender, mut receiver) = queue(ROOMY);
        let mut subscriber = registry.subscriber(sender);
        subscriber.subscribe(1);
        let read = *storage.lock().unwrap() == 1;
        if !read {
            assert_eq!(pop(&mut receiver), Popped::Item(item("a")));
        }
        delivery.join().unwrap();
    });
}

/// One subscriber leaves a key as the last while another enters it: the one that stays is reached, and the
/// one that left is not. Not covered: more than two at once, each of which takes one more turn of the same
/// loop.
#[test]
fn entering_while_the_last_leaves_is_not_lost() {
    loom::model(|| {
        let registry: Registry<u8, Bytes> = Registry::new();
        let ((a_queue, mut a_items), (b_queue, mut b_items)) = (queue(ROOMY), queue(ROOMY));
        let mut leaving = registry.subscriber(a_queue);
        leaving.subscribe(1);
        let other = registry.clone();
        let entering = thread::spawn(move || {
            let mut subscriber = other.subscriber(b_queue);
            subscriber.subscribe(1);
            subscriber
        });
        drop(leaving);
        let subscriber = entering.join().unwrap();
        assert_eq!((registry.keys(), registry.subscribers(&1)), (1, 1));
        assert_eq!(registry.deliver(&1, &item("a"), &mut Wakes::default()), 1);
        assert_eq!(b_items.try_pop(), Some(Popped::Item(item("a"))));
        assert_eq!(a_items.try_pop(), None);
        drop(subscriber);
        assert_eq!(registry.keys(), 0);
    });
}

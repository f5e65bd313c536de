use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;

use super::{Drained, Limits, Popped, Push, queue};
use crate::Wakes;

const LIMITS: Limits = Limits { items_max: 4, bytes_max: 100 };

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn waker() -> (Arc<Count>, Waker) {
    let count = Arc::new(Count::default());
    (count.clone(), count.into())
}

fn item(len: usize) -> Bytes {
    Bytes::from(vec![7; len])
}

#[test]
fn items_come_in_the_order_they_were_pushed() {
    let (sender, mut receiver) = queue(LIMITS);
    for len in 1..=3 {
        assert_eq!(sender.push(item(len)), Push::Queued);
    }
    assert_eq!(receiver.try_pop(), Some(Popped::Item(item(1))));
    let mut batch = VecDeque::from([item(9)]);
    assert_eq!(receiver.try_drain(&mut batch), Some(Drained::Items));
    assert_eq!(batch, [item(9), item(2), item(3)]);
    assert_eq!(receiver.try_pop(), None);
}

#[test]
fn each_bound_is_exact() {
    let (sender, mut receiver) = queue(LIMITS);
    assert_eq!(sender.push(item(100)), Push::Queued);
    assert_eq!(receiver.try_pop(), Some(Popped::Item(item(100))));
    for _ in 0..4 {
        assert_eq!(sender.push(item(25)), Push::Queued);
    }
    assert_eq!(sender.push(item(0)), Push::Overflowed, "a fifth item");

    let (sender, _receiver) = queue(LIMITS);
    assert_eq!(sender.push(item(60)), Push::Queued);
    assert_eq!(sender.push(item(41)), Push::Overflowed, "101 bytes");
}

#[test]
fn taking_items_makes_room_again() {
    let (sender, mut receiver) = queue(LIMITS);
    let mut batch = VecDeque::new();
    for _ in 0..10 {
        assert_eq!(sender.push(item(50)), Push::Queued);
        assert_eq!(sender.push(item(50)), Push::Queued);
        assert_eq!(receiver.try_drain(&mut batch), Some(Drained::Items));
        batch.clear();
        assert_eq!(sender.push(item(100)), Push::Queued);
        assert_eq!(receiver.try_pop(), Some(Popped::Item(item(100))));
    }
}

#[test]
fn an_overflow_frees_everything_is_told_once_and_ends_when_acknowledged() {
    let (sender, mut receiver) = queue(LIMITS);
    let shared = item(40);
    assert_eq!(sender.push(shared.clone()), Push::Queued);
    assert_eq!(sender.push(shared.clone()), Push::Queued);
    assert_eq!(sender.push(shared.clone()), Push::Overflowed);
    assert!(shared.is_unique(), "the queue keeps nothing alive");
    assert_eq!(sender.push(item(1)), Push::Dropped);

    receiver.acknowledge_overflow();
    assert_eq!(sender.push(item(1)), Push::Dropped, "it was not told yet");
    assert_eq!(receiver.try_pop(), Some(Popped::Overflowed));
    assert_eq!(receiver.try_pop(), None, "told once");
    assert_eq!(sender.push(item(1)), Push::Dropped, "told, not acknowledged");
    receiver.acknowledge_overflow();
    assert_eq!(sender.push(item(2)), Push::Queued);
    assert_eq!(receiver.try_pop(), Some(Popped::Item(item(2))));
}

#[test]
fn a_closed_queue_gives_what_it_holds_then_says_so() {
    let (sender, mut receiver) = queue(LIMITS);
    assert_eq!(sender.push(item(1)), Push::Queued);
    sender.close();
    assert_eq!(sender.push(item(2)), Push::Closed);
    assert_eq!(receiver.try_pop(), Some(Popped::Item(item(1))));
    assert_eq!(receiver.try_pop(), Some(Popped::Closed));
    assert_eq!(receiver.try_drain(&mut VecDeque::new()), Some(Drained::Closed), "it stays so");
}

#[test]
fn an_overflow_is_told_even_after_closing() {
    let (sender, mut receiver) = queue(LIMITS);
    assert_eq!(sender.push(item(101)), Push::Overflowed);
    receiver.close();
    assert_eq!(receiver.try_pop(), Some(Popped::Overflowed));
    assert_eq!(receiver.try_pop(), Some(Popped::Closed));
}

#[test]
fn dropping_the_receiver_closes_and_frees() {
    let (sender, receiver) = queue(LIMITS);
    let shared = item(40);
    assert_eq!(sender.push(shared.clone()), Push::Queued);
    drop(receiver);
    assert!(shared.is_unique());
    assert!(sender.is_closed());
    assert_eq!(sender.push(shared), Push::Closed);
}

#[test]
fn a_wait_costs_one_wake_however_many_items_follow() {
    let (sender, mut receiver) = queue(LIMITS);
    let (count, waker) = waker();
    let mut cx = Context::from_waker(&waker);
    let mut batch = VecDeque::new();
    assert_eq!(receiver.poll_drain(&mut cx, &mut batch), Poll::Pending);
    for _ in 0..3 {
        assert_eq!(sender.push(item(1)), Push::Queued);
    }
    assert_eq!(count.0.load(Ordering::Relaxed), 1);
    assert_eq!(receiver.poll_drain(&mut cx, &mut batch), Poll::Ready(Drained::Items));
    assert_eq!(sender.push(item(1)), Push::Queued);
    assert_eq!(count.0.load(Ordering::Relaxed), 1, "the consumer was not waiting");
}

#[test]
fn overflow_and_closing_wake_a_waiting_consumer() {
    let (sender, mut receiver) = queue(LIMITS);
    let (count, waker) = waker();
    let mut cx = Context::from_waker(&waker);
    assert_eq!(receiver.poll_pop(&mut cx), Poll::Pending);
    assert_eq!(sender.push(item(101)), Push::Overflowed);
    assert_eq!(count.0.load(Ordering::Relaxed), 1);
    assert_eq!(receiver.poll_pop(&mut cx), Poll::Ready(Popped::Overflowed));
    assert_eq!(receiver.poll_pop(&mut cx), Poll::Pending);
    sender.close();
    assert_eq!(count.0.load(Ordering::Relaxed), 2);
    assert_eq!(receiver.poll_pop(&mut cx), Poll::Ready(Popped::Closed));
}

#[test]
fn the_last_waker_counts() {
    let (sender, mut receiver) = queue(LIMITS);
    let ((first, first_waker), (second, second_waker)) = (waker(), waker());
    assert!(receiver.poll_pop(&mut Context::from_waker(&first_waker)).is_pending());
    assert!(receiver.poll_pop(&mut Context::from_waker(&second_waker)).is_pending());
    assert_eq!(sender.push(item(1)), Push::Queued);
    assert_eq!((first.0.load(Ordering::Relaxed), second.0.load(Ordering::Relaxed)), (0, 1));
}

#[test]
fn deferred_wakes_come_together_and_none_is_forgotten() {
    let (sender, mut receiver) = queue(LIMITS);
    let (count, waker) = waker();
    let mut cx = Context::from_waker(&waker);
    assert!(receiver.poll_pop(&mut cx).is_pending());
    let mut wakes = Wakes::default();
    assert_eq!(sender.push_deferred(item(1), &mut wakes), Push::Queued);
    assert_eq!(sender.push_deferred(item(2), &mut wakes), Push::Queued);
    assert_eq!((count.0.load(Ordering::Relaxed), wakes.len()), (0, 1));
    drop(wakes);
    assert_eq!(count.0.load(Ordering::Relaxed), 1);
}

#[test]
fn an_idle_queue_gives_its_burst_s_memory_back() {
    let (sender, mut receiver) = queue(Limits { items_max: 10_000, bytes_max: usize::MAX });
    let mut batch = VecDeque::new();
    for _ in 0..2 {
        for _ in 0..5_000 {
            assert_eq!(sender.push(item(0)), Push::Queued);
        }
        assert_eq!(receiver.try_drain(&mut batch), Some(Drained::Items));
        assert_eq!(batch.len(), 5_000);
        batch.clear();
    }
    assert_eq!(sender.push(item(0)), Push::Queued);
    assert_eq!(receiver.try_drain(&mut batch), Some(Drained::Items));
    assert_eq!(receiver.try_drain(&mut batch), None);
    assert!(batch.capacity() <= super::SLOTS_KEPT_MAX, "{}", batch.capacity());
}

#[test]
fn an_expendable_item_takes_the_first_half_only_and_never_overflows_a_queue() {
    let mut wakes = Wakes::default();
    let (sender, mut receiver) = queue(LIMITS);
    assert_eq!(sender.push_expendable(item(51), &mut wakes), Push::Dropped, "51 of 100 bytes");
    assert_eq!(sender.push_expendable(item(50), &mut wakes), Push::Queued);
    assert_eq!(sender.push_expendable(item(1), &mut wakes), Push::Dropped);
    assert_eq!(sender.push(item(50)), Push::Queued, "the other half is left");
    assert_eq!(receiver.try_pop(), Some(Popped::Item(item(50))));
    assert_eq!(receiver.try_pop(), Some(Popped::Item(item(50))));
    assert_eq!(sender.push_expendable(item(0), &mut wakes), Push::Queued);
    assert_eq!(sender.push_expendable(item(0), &mut wakes), Push::Queued);
    assert_eq!(sender.push_expendable(item(0), &mut wakes), Push::Dropped, "a third of four items");
    assert_eq!(sender.push(item(101)), Push::Overflowed);
    assert_eq!(sender.push_expendable(item(0), &mut wakes), Push::Dropped, "what was dropped is told first");
    drop(receiver);
    assert_eq!(sender.push_expendable(item(0), &mut wakes), Push::Closed);
}

#[test]
fn an_expendable_item_wakes_who_waits() {
    let (sender, mut receiver) = queue(LIMITS);
    let (count, waker) = waker();
    let mut batch = VecDeque::new();
    assert!(receiver.poll_drain(&mut Context::from_waker(&waker), &mut batch).is_pending());
    let mut wakes = Wakes::default();
    assert_eq!(sender.push_expendable(item(1), &mut wakes), Push::Queued);
    assert_eq!(count.0.load(Ordering::Relaxed), 0, "not before the whole batch");
    wakes.wake();
    assert_eq!(count.0.load(Ordering::Relaxed), 1);
    assert_eq!(receiver.poll_drain(&mut Context::from_waker(&waker), &mut batch), Poll::Ready(Drained::Items));
}

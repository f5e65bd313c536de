use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake};

use bytes::Bytes;

use super::Registry;
use crate::{Limits, Popped, Receiver, Wakes, queue};

const LIMITS: Limits = Limits { items_max: 8, bytes_max: 1000 };

fn event(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn deliver(registry: &Registry<u32, Bytes>, key: u32, text: &'static str) -> usize {
    registry.deliver(&key, &event(text), &mut Wakes::default())
}

fn all(receiver: &mut Receiver<Bytes>) -> Vec<Bytes> {
    std::iter::from_fn(|| match receiver.try_pop() {
        Some(Popped::Item(item)) => Some(item),
        _ => None,
    })
    .collect()
}

#[test]
fn a_delivery_reaches_the_key_s_subscribers_only() {
    let registry = Registry::new();
    let ((a_queue, mut a_items), (b_queue, mut b_items)) = (queue(LIMITS), queue(LIMITS));
    let (mut a, mut b) = (registry.subscriber(a_queue), registry.subscriber(b_queue));
    assert!(a.subscribe(1));
    assert!(!a.subscribe(1), "once is enough");
    assert!(b.subscribe(1));
    assert!(b.subscribe(2));
    assert_eq!((registry.keys(), registry.subscribers(&1), registry.subscribers(&3)), (2, 2, 0));

    assert_eq!(deliver(&registry, 1, "one"), 2);
    assert_eq!(deliver(&registry, 2, "two"), 1);
    assert_eq!(deliver(&registry, 3, "nobody"), 0);
    assert_eq!(all(&mut a_items), [event("one")]);
    assert_eq!(all(&mut b_items), [event("one"), event("two")]);
    assert_eq!(b.keys().collect::<Vec<_>>(), [&1, &2]);
}

#[test]
fn after_unsubscribing_nothing_arrives_and_nothing_is_left_behind() {
    let registry = Registry::new();
    let (sender, mut items) = queue(LIMITS);
    let mut subscriber = registry.subscriber(sender);
    assert!(!subscriber.unsubscribe(&1));
    subscriber.subscribe(1);
    assert!(subscriber.unsubscribe(&1));
    assert_eq!(deliver(&registry, 1, "late"), 0);
    assert!(all(&mut items).is_empty());
    assert_eq!(registry.keys(), 0);
    assert!(subscriber.subscribe(1), "and it can come back");
    assert_eq!(deliver(&registry, 1, "again"), 1);
}

#[test]
fn dropping_a_subscriber_ends_its_subscriptions_alone() {
    let registry = Registry::new();
    let ((a_queue, _a_items), (b_queue, mut b_items)) = (queue(LIMITS), queue(LIMITS));
    let (mut a, mut b) = (registry.subscriber(a_queue), registry.subscriber(b_queue));
    for key in 0..100 {
        a.subscribe(key);
    }
    b.subscribe(7);
    drop(a);
    assert_eq!(registry.keys(), 1);
    assert_eq!(deliver(&registry, 7, "still"), 1);
    assert_eq!(all(&mut b_items), [event("still")]);
}

#[test]
fn two_subscribers_may_share_a_queue() {
    let registry = Registry::new();
    let (sender, mut items) = queue(LIMITS);
    let (mut a, mut b) = (registry.subscriber(sender.clone()), registry.subscriber(sender));
    a.subscribe(1);
    b.subscribe(1);
    drop(a);
    assert_eq!(deliver(&registry, 1, "once"), 1);
    assert_eq!(all(&mut items), [event("once")]);
}

#[test]
fn closed_and_overflowed_queues_do_not_count_as_reached() {
    let registry = Registry::new();
    let (sender, receiver) = queue(LIMITS);
    let mut subscriber = registry.subscriber(sender.clone());
    subscriber.subscribe(1);
    assert_eq!(registry.deliver(&1, &Bytes::from(vec![0; 1001]), &mut Wakes::default()), 0);
    drop(receiver);
    assert_eq!(deliver(&registry, 1, "gone"), 0);
    assert!(subscriber.queue().is_closed());
}

struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_large_delivery_shares_its_bytes_and_wakes_everybody_once() {
    const RECEIVERS: usize = 5_000;
    let registry = Registry::new();
    let count = Arc::new(Count(AtomicUsize::new(0)));
    let waker = count.clone().into();
    let mut sessions: Vec<_> = (0..RECEIVERS)
        .map(|_| {
            let (sender, mut items) = queue(LIMITS);
            let mut subscriber = registry.subscriber(sender);
            subscriber.subscribe(1);
            assert!(items.poll_pop(&mut Context::from_waker(&waker)).is_pending());
            (subscriber, items)
        })
        .collect();
    let frame = Bytes::from(vec![1; 100]);
    let mut wakes = Wakes::default();
    assert_eq!(registry.deliver(&1, &frame, &mut wakes), RECEIVERS);
    assert_eq!(registry.deliver(&1, &frame, &mut wakes), RECEIVERS);
    drop(wakes);
    assert_eq!(count.0.load(Ordering::Relaxed), RECEIVERS);
    for (_, items) in &mut sessions {
        let Some(Popped::Item(item)) = items.try_pop() else { panic!("nothing arrived") };
        assert_eq!(item.as_ptr(), frame.as_ptr(), "the same bytes, not a copy");
    }
}

#[test]
fn threads_that_come_and_go_leave_an_empty_registry_and_get_what_they_stayed_for() {
    const ROUNDS: usize = 2_000;
    let registry: Registry<u32, Bytes> = Registry::new();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..ROUNDS {
                    let (sender, mut items) = queue(Limits { items_max: usize::MAX, bytes_max: usize::MAX });
                    let mut subscriber = registry.subscriber(sender);
                    subscriber.subscribe(1);
                    assert!(deliver(&registry, 1, "mine") >= 1);
                    assert!(!all(&mut items).is_empty());
                }
            });
        }
    });
    assert_eq!(registry.keys(), 0);
}

//! The mailbox: one event to a room's members, and the members taking it.

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use causeway_bench::op;
use causeway_mailbox::{Drained, Limits, Receiver, Registry, Subscriber, Wakes, queue};
use causeway_protocol::Bytes;
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};

const MEMBERS: [usize; 3] = [10, 1_000, 100_000];
const LIMITS: Limits = Limits { items_max: 1_024, bytes_max: 1 << 20 };
/// Events that a member takes at once.
const EVENTS: usize = 64;

type Member = (Subscriber<u64, Bytes>, Receiver<Bytes>);

fn room(registry: &Registry<u64, Bytes>, members: usize) -> Vec<Member> {
    let member = |_| {
        let (sender, receiver) = queue(LIMITS);
        let mut subscriber = registry.subscriber(sender);
        subscriber.subscribe(1);
        (subscriber, receiver)
    };
    (0..members).map(member).collect()
}

fn take(members: &mut [Member], batch: &mut VecDeque<Bytes>) {
    let mut cx = Context::from_waker(Waker::noop());
    for (_, receiver) in members {
        while receiver.poll_drain(&mut cx, batch) == Poll::Ready(Drained::Items) {
            batch.clear();
        }
    }
}

/// Deliveries to members that all wait, and their waking.
#[divan::bench(args = MEMBERS)]
fn deliver_to_waiting(bencher: Bencher, members: usize) {
    let registry = Registry::new();
    let mut all = room(&registry, members);
    let (frame, _) = op();
    let mut batch = VecDeque::new();
    take(&mut all, &mut batch);
    bencher.counter(ItemsCount::new(members)).bench_local(|| {
        registry.deliver(&1, black_box(&frame), &mut Wakes::default());
        take(&mut all, &mut batch);
    });
}

/// A batch of events to members that are busy, taken all at once.
#[divan::bench(args = MEMBERS)]
fn deliver_a_batch(bencher: Bencher, members: usize) {
    let registry = Registry::new();
    let mut all = room(&registry, members);
    let (frame, _) = op();
    let mut batch = VecDeque::new();
    bencher.counter(ItemsCount::new(members * EVENTS)).bench_local(|| {
        let mut wakes = Wakes::default();
        for _ in 0..EVENTS {
            registry.deliver(&1, black_box(&frame), &mut wakes);
        }
        drop(wakes);
        take(&mut all, &mut batch);
    });
}

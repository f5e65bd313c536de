use std::time::Duration;

use super::*;

fn tick(shard: u16) -> ThreadInput {
    ThreadInput::Shard(ShardId(shard), Input::Tick)
}

fn shards_of(taken: &[ThreadInput]) -> Vec<u16> {
    let shard = |input: &ThreadInput| match input {
        ThreadInput::Shard(shard, _) => Some(shard.0),
        _ => None,
    };
    taken.iter().filter_map(shard).collect()
}

#[test]
fn inputs_come_out_in_order_and_in_bounded_portions() {
    let inbox = ShardInbox::new();
    (0..5).for_each(|n| inbox.push_now(tick(n)));
    let mut taken = Vec::new();
    inbox.take(3, None, &mut taken);
    assert_eq!(shards_of(&taken), [0, 1, 2]);
    inbox.take(3, None, &mut taken);
    assert_eq!(shards_of(&taken), [0, 1, 2, 3, 4]);
}

#[test]
fn an_empty_inbox_waits_no_longer_than_asked() {
    let inbox = ShardInbox::new();
    let mut taken = Vec::new();
    inbox.take(3, Some(Instant::now()), &mut taken);
    assert!(taken.is_empty());
}

#[test]
fn a_ticket_wakes_the_thread_and_is_kept() {
    let inbox = ShardInbox::new();
    let waiting = std::thread::spawn({
        let inbox = inbox.clone();
        move || inbox.take(1, None, &mut Vec::new())
    });
    inbox.durable(Ticket(7));
    inbox.durable(Ticket(6));
    waiting.join().expect("the thread ends");
    assert_eq!(inbox.durable_ticket(), Ticket(7));
}

#[tokio::test]
async fn a_full_inbox_makes_pushers_wait_until_something_is_taken() {
    let inbox = ShardInbox::new();
    for _ in 0..INPUTS_MAX {
        inbox.push(tick(0)).await;
    }
    let full = tokio::time::timeout(Duration::ZERO, inbox.push(tick(1))).await;
    assert!(full.is_err(), "the queue is full");
    inbox.push_now(tick(2));
    inbox.take(1, None, &mut Vec::new());
    inbox.push(tick(3)).await;
    let mut taken = Vec::new();
    inbox.take(usize::MAX, None, &mut taken);
    assert_eq!(shards_of(&taken[taken.len() - 2..]), [2, 3]);
}

#[test]
fn a_large_input_counts_as_several() {
    let entries = vec![wire::Dot::default(); 1_000];
    let ack = wire::PeerAck { vector: Some(wire::Vector { entries }) };
    let frame = |frame| wire::ShardFrame { shard: 0, frame: Some(frame) };
    let peer = |f| ThreadInput::Shard(ShardId(0), Input::Peer(causeway_protocol::SiteId(2), frame(f)));
    use wire::shard_frame::Frame;
    assert_eq!(weight(&tick(0)), 1);
    assert_eq!(weight(&peer(Frame::Ack(wire::PeerAck::default()))), 1);
    // Two bytes an entry on the wire, and far more in memory.
    assert!(weight(&peer(Frame::Ack(ack))) > 10);
    let rows = vec![wire::Row { value: vec![0; 80 << 20].into(), ..Default::default() }];
    let huge = peer(Frame::SnapshotPage(wire::SnapshotPage { rows, ..Default::default() }));
    assert_eq!(weight(&huge) as usize, INPUTS_MAX, "it never waits for more permits than there are");
}

#[tokio::test]
async fn what_was_taken_makes_room_for_as_much() {
    let inbox = ShardInbox::new();
    let large = || {
        let op = wire::Op { header: vec![0; 32 << 20].into(), body: None };
        let frame = wire::shard_frame::Frame::Ops(wire::Ops { ops: vec![op] });
        let frame = wire::ShardFrame { shard: 0, frame: Some(frame) };
        ThreadInput::Shard(ShardId(0), Input::Peer(causeway_protocol::SiteId(2), frame))
    };
    inbox.push(large()).await;
    // A second one does not fit beside it.
    let mut second = Box::pin(inbox.push(large()));
    assert!(poll_once(&mut second).await.is_pending());
    let mut taken = Vec::new();
    inbox.take(1, None, &mut taken);
    second.await;
    inbox.take(1, None, &mut taken);
    assert_eq!(taken.len(), 2);
}

/// Polls once.
async fn poll_once<F: Future + Unpin>(future: &mut F) -> std::task::Poll<F::Output> {
    std::future::poll_fn(|cx| std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(cx))).await
}

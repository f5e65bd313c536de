use std::time::Duration;

use causeway_protocol::Bytes;
use causeway_protocol::wire::peer_frame::Frame;

use super::*;

fn frame(bytes: usize) -> wire::ShardFrame {
    let ops = wire::Ops { ops: vec![wire::Op { header: Bytes::from(vec![0; bytes]), body: None }] };
    wire::ShardFrame { shard: 0, frame: Some(wire::shard_frame::Frame::Ops(ops)) }
}

fn ping() -> Frame {
    Frame::Ping(wire::PeerPing { token: 1 })
}

#[tokio::test]
async fn frames_come_out_in_order_with_pings_apart() {
    let queue = LinkQueue::default();
    queue.open(LinkEpoch(1));
    (1..4).for_each(|bytes| queue.push(LinkEpoch(1), frame(bytes)));
    queue.push_control(ping());
    let batch = queue.take().await.expect("no overflow");
    assert_eq!(batch.frames, [frame(1), frame(2), frame(3)]);
    assert_eq!(batch.control.len(), 1);
    assert_eq!(queue.bytes(), 0);
}

#[tokio::test]
async fn frames_of_an_earlier_link_or_of_none_are_dropped() {
    let queue = LinkQueue::default();
    queue.push(LinkEpoch(1), frame(1));
    queue.push_control(ping());
    queue.open(LinkEpoch(2));
    queue.push(LinkEpoch(1), frame(1));
    let taken = tokio::time::timeout(Duration::ZERO, queue.take()).await;
    assert!(taken.is_err(), "nothing is queued");
    queue.push(LinkEpoch(2), frame(2));
    queue.close();
    queue.open(LinkEpoch(3));
    assert_eq!(queue.bytes(), 0, "what waited went with its link");
}

#[tokio::test]
async fn a_full_queue_ends_the_link_and_holds_nothing() {
    let queue = LinkQueue::default();
    queue.open(LinkEpoch(1));
    let half = LINK_QUEUE_BYTES_MAX / 2 + 1;
    queue.push(LinkEpoch(1), frame(half));
    queue.push(LinkEpoch(1), frame(half));
    assert!(queue.take().await.is_err());
    queue.open(LinkEpoch(2));
    queue.push(LinkEpoch(2), frame(1));
    assert_eq!(queue.take().await.expect("a new link starts afresh").frames, [frame(1)]);
}

#[tokio::test]
async fn a_flood_of_pings_is_answered_only_so_often() {
    let queue = LinkQueue::default();
    queue.open(LinkEpoch(1));
    (0..2 * CONTROL_MAX).for_each(|_| queue.push_control(ping()));
    assert_eq!(queue.take().await.expect("no overflow").control.len(), CONTROL_MAX);
}

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

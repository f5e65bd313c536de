//! Steps of the shard replica over rows in memory: the cost of the state machine without a disk.

use causeway_bench::{Chat, Host, replicated_frames};
use causeway_protocol::SiteId;
use causeway_replica::io::{Input, Submission};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};

/// Requests in one commit.
const BATCH: [usize; 2] = [1, 64];
/// Requests that a measured run applies.
const RUN: usize = 1_024;

fn room_and_messages() -> (Host, Vec<Submission>) {
    let mut chat = Chat::new();
    let host = Host::alone(&mut chat);
    (host, (0..RUN).map(|_| chat.message()).collect())
}

/// New requests, until their acknowledgements and deliveries are out.
#[divan::bench(args = BATCH)]
fn accept(bencher: Bencher, batch: usize) {
    bencher.counter(ItemsCount::new(RUN)).with_inputs(room_and_messages).bench_local_values(|(mut host, messages)| {
        run(&mut host, messages, batch);
        host
    });
}

/// Requests that are there already.
#[divan::bench(args = BATCH)]
fn resend(bencher: Bencher, batch: usize) {
    let inputs = || {
        let (mut host, messages) = room_and_messages();
        run(&mut host, messages.clone(), batch);
        (host, messages)
    };
    bencher.counter(ItemsCount::new(RUN)).with_inputs(inputs).bench_local_values(|(mut host, messages)| {
        run(&mut host, messages, batch);
        host
    });
}

/// Ops of another site, from its frames.
#[divan::bench]
fn replicate(bencher: Bencher) {
    let frames = replicated_frames(RUN);
    let inputs = || {
        let mut host = Host::new(SiteId(2), &[SiteId(1), SiteId(2)]);
        host.step(Input::PeerUp(SiteId(1)));
        (host, frames.clone())
    };
    bencher.counter(ItemsCount::new(RUN)).with_inputs(inputs).bench_local_values(|(mut host, frames)| {
        for frame in frames {
            host.step(Input::Peer(SiteId(1), frame));
            black_box(host.commit());
        }
        host
    });
}

fn run(host: &mut Host, messages: Vec<Submission>, batch: usize) {
    for (number, message) in messages.into_iter().enumerate() {
        host.step(Input::Submit(message));
        if (number + 1) % batch == 0 {
            black_box(host.commit());
        }
    }
}

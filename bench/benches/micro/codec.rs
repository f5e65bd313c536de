//! Frames and requests: what each message costs on its way in and out.

use causeway_bench::{Chat, event_frame, op};
use causeway_protocol::{FrameDecoder, Message, encode_frame, wire};
use causeway_replica::request::{Request, body_hash, request_hash};
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};

#[divan::bench]
fn encode_event(bencher: Bencher) {
    let event = event_frame();
    bencher
        .counter(ItemsCount::new(1_u32))
        .counter(BytesCount::new(event.encoded_len()))
        .bench(|| encode_frame(black_box(&event)));
}

#[divan::bench]
fn decode_event(bencher: Bencher) {
    let (frame, _) = op();
    let mut decoder = FrameDecoder::default();
    bencher.counter(ItemsCount::new(1_u32)).counter(BytesCount::new(frame.len())).bench_local(|| {
        decoder.push(black_box(&frame));
        decoder.next::<wire::EventFrame>("EventFrame").expect("own frame").expect("a whole frame")
    });
}

#[divan::bench]
fn decode_request(bencher: Bencher) {
    let request = Chat::new().message().request;
    bencher.counter(ItemsCount::new(1_u32)).bench(|| Request::decode(black_box(&request)).expect("own request"));
}

#[divan::bench]
fn hash_request_and_body(bencher: Bencher) {
    let message = Chat::new().message();
    let body = message.body.expect("a message has one");
    bencher
        .counter(ItemsCount::new(1_u32))
        .bench(|| (request_hash(&message.user, black_box(&message.request)), body_hash(black_box(&body))));
}

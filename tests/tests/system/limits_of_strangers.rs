//! Limits of those whom the site does not know yet: handshakes, time, bytes.

use std::time::{Duration, Instant};

use causeway_protocol::{Code, Vector, limits, wire};
use wire::{client_frame::Frame, server_frame::Frame as Answer};

use crate::limits::{counted, serves_ann, session};
use crate::raw;
use crate::system::{System, in_time};

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_shakes_hands_too_often_is_refused_and_who_is_in_goes_on() {
    let system = System::start_with(1, false, &["source_handshakes_per_s = 1"]).await;
    let ann = system.person("ann", 0).await;
    let room = ann.create_room().await;
    let (listen, ca) = (system.cluster.sites[0].listen, &system.cluster.ca);
    let started = Instant::now();
    let mut served = 0;
    // Ten at once, and one a second.
    let refused = loop {
        match raw::client(listen, ca).await {
            Ok(_) => served += 1,
            Err(e) => break e,
        }
    };
    assert!(served <= 10 + started.elapsed().as_secs(), "{served}");
    assert!(matches!(refused, quinn::ConnectionError::ConnectionClosed(_)), "{refused}");
    ann.say_all(room, crate::system::texts(0..3)).await;
    assert!(counted(&system, "causeway_limited_source_handshakes_total").await >= 1.0);
    // What an address has to prove first leaves half of them to those who prove it.
    assert!(counted(&system, "causeway_handshakes_retried_total").await >= 1.0);
    let again = async { while raw::client(listen, ca).await.is_err() {} };
    in_time("served again", again).await;
    system.cluster.stop_all().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn all_together_have_a_rate_of_handshakes() {
    let system = System::start_with(1, false, &["handshakes_per_s = 1"]).await;
    let (listen, ca) = (system.cluster.sites[0].listen, &system.cluster.ca);
    while raw::client(listen, ca).await.is_ok() {}
    assert!(counted(&system, "causeway_limited_handshakes_total").await >= 1.0);
    let again = async { while raw::client(listen, ca).await.is_err() {} };
    in_time("served again", again).await;
    system.cluster.stop_all().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn under_many_handshakes_addresses_are_validated_and_clients_notice_nothing() {
    let system = System::start_with(1, false, &["handshakes_retry_above = 0"]).await;
    serves_ann(&system).await;
    assert!(counted(&system, "causeway_handshakes_retried_total").await >= 1.0);
    system.cluster.stop_all().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_nothing_or_not_enough_is_gone_in_five_seconds_and_had_no_more_than_64_kib() {
    let system = System::start(1, false).await;
    let (listen, ca) = (system.cluster.sites[0].listen, &system.cluster.ca);
    let started = Instant::now();
    let silent = raw::client(listen, ca).await.unwrap();
    let slow = raw::client(listen, ca).await.unwrap();
    // A hello that never ends, and streams that nobody reads.
    let (mut control, _recv) = slow.open_bi().await.unwrap();
    let promised = limits::HELLO_BYTES_MAX as u32;
    control.write_all(&promised.to_be_bytes()).await.unwrap();
    let mut taken = 4;
    let mut streams = vec![control];
    for _ in 0..4 {
        streams.push(slow.open_bi().await.unwrap().0);
    }
    let mut left = promised as usize - 1;
    while left > 0 {
        let Ok(count) = streams[0].write(&vec![0; left]).await else { break };
        (left, taken) = (left - count, taken + count);
    }
    for stream in &mut streams[1..] {
        // Ends when the connection does: there is no room for more.
        while let Ok(count) = stream.write(&[0; 4_096]).await {
            taken += count;
        }
    }
    let (code, reason) = raw::closed(&slow).await;
    assert!(code == Code::Unauthenticated.number() && reason.contains("no hello"), "{code} {reason}");
    assert_eq!(raw::closed(&silent).await.0, Code::Unauthenticated.number());
    assert!(started.elapsed() < Duration::from_secs(7), "{:?}", started.elapsed());
    assert!((20 << 10..=64 << 10).contains(&taken), "{taken} bytes were taken");
    serves_ann(&system).await;
    system.cluster.stop_all().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_hello_is_short_and_a_later_one_may_be_long() {
    let system = System::start(1, false).await;
    let room = |n: u32| [&n.to_be_bytes()[..], &[7; 12]].concat();
    let cursors = (0..3_000).map(|n| wire::RoomCursor {
        room: room(n).into(),
        vector: Some(Vector::new().to_wire()),
        summary: 0,
    });
    let long = wire::Hello { cursors: cursors.collect(), standby: false, ..raw::hello("eve", 1, "") };
    let connection = raw::client(system.cluster.sites[0].listen, &system.cluster.ca).await.unwrap();
    let (mut send, _recv) = connection.open_bi().await.unwrap();
    let frame = raw::frame(Frame::Hello(long.clone()));
    assert!(frame.len() > limits::HELLO_BYTES_MAX);
    // The site may close before it has taken all of it.
    let _ = send.write_all(&frame).await;
    let (code, reason) = raw::closed(&connection).await;
    assert!(code == Code::ProtocolError.number() && reason.contains("as a standby first"), "{code} {reason}");
    let mut eve = session(&system, "eve", 1).await;
    eve.say(Frame::Hello(long)).await;
    assert!(matches!(eve.answer().await, Answer::Welcome(_)));
    system.cluster.stop_all().await.unwrap();
}

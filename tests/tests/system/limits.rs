//! Limits of those who are let in: each is reached over a real socket, says its name and when to try again, and is
//! counted; meanwhile somebody else is served.

use std::time::Duration;

use causeway_loadtest::site::metrics;
use causeway_protocol::{Code, FrameDecoder, Message, RequestId, RoomId, wire};
use wire::{client_frame::Frame, event_frame::Frame as Event, request::Kind, server_frame::Frame as Answer};

use crate::raw::{self, Raw, Refused};
use crate::system::{System, in_time, texts};

pub async fn session(system: &System, user: &str, nonce: u64) -> Raw {
    let connection = raw::client(system.cluster.sites[0].listen, &system.cluster.ca).await.unwrap();
    Raw::welcomed(connection, raw::hello(user, nonce, "")).await
}

/// What the site has counted.
pub async fn counted(system: &System, name: &str) -> f64 {
    let metrics = metrics(system.cluster.sites[0].admin).await.expect("metrics");
    metrics.get(name).copied().unwrap_or_default()
}

/// Somebody who keeps within the limits is served.
pub async fn serves_ann(system: &System) {
    let ann = system.person("ann", 0).await;
    let room = ann.create_room().await;
    let sent = ann.say_all(room, texts(0..3)).await;
    assert_eq!(sent.len(), 3);
    ann.session.close().await;
}

fn message() -> Kind {
    Kind::Message(wire::Message::default())
}

/// Sends so many pings at once; returns how many were answered, and the refusals.
async fn pings(raw: &mut Raw, count: usize) -> (usize, Vec<Refused>) {
    let ping = raw::frame(Frame::Ping(wire::Ping { token: 1 }));
    raw.put(&ping.repeat(count)).await;
    let (mut pongs, mut refusals) = (0, Vec::new());
    for _ in 0..count {
        match raw.answer().await {
            Answer::Pong(_) => pongs += 1,
            Answer::Refused(wire::Refused { code, detail, retry_after_ms, .. }) => {
                refusals.push(Refused { code, detail, retry_after_ms });
            }
            other => panic!("{other:?}"),
        }
    }
    (pongs, refusals)
}

fn names(refusals: &[Refused], setting: &str) {
    assert!(!refusals.is_empty());
    for refused in refusals {
        assert_eq!(refused.code, Code::Busy.number());
        assert!(refused.detail.contains(&format!("`{setting}`")), "{}", refused.detail);
        let when = format!("try again in {} ms", refused.retry_after_ms);
        assert!(refused.retry_after_ms > 0 && refused.detail.contains(&when), "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_asks_too_often_is_told_when_to_try_again() {
    let system = System::start_with(1, false, &["connection_requests_per_s = 30"]).await;
    let mut eve = session(&system, "eve", 1).await;
    let (pongs, refusals) = pings(&mut eve, 300).await;
    assert!((30..150).contains(&pongs), "{pongs}");
    names(&refusals, "connection_requests_per_s");
    // History counts, too. On a slow machine the next request may come when the time has come.
    let counted_too = async {
        loop {
            let page = eve.history(RoomId([1; 16]), 1).await;
            if page.code == Code::Busy.number() {
                return page.detail;
            }
            pings(&mut eve, 300).await;
        }
    };
    assert!(in_time("history is refused", counted_too).await.contains("`connection_requests_per_s`"));
    // A submit is refused by its id, so that an outbox finds it. In one write with what exhausts the rate.
    let (id, submit) = eve.device.submit(RoomId([1; 16]), message(), "words");
    let ping = raw::frame(Frame::Ping(wire::Ping { token: 1 }));
    eve.put(&[ping.repeat(300), raw::frame(Frame::Submit(submit)).to_vec()].concat()).await;
    let mut answers = Vec::new();
    for _ in 0..=300 {
        answers.push(eve.answer().await);
    }
    let Some(Answer::Refused(refused)) = answers.pop() else { panic!("no refusal") };
    assert_eq!((refused.id, refused.code), (Some(id.to_wire()), Code::Busy.number()));
    serves_ann(&system).await;
    // And when the time has come, it is served again.
    let again = async {
        while let Some(refused) = pings(&mut eve, 1).await.1.pop() {
            tokio::time::sleep(Duration::from_millis(refused.retry_after_ms)).await;
        }
    };
    in_time("served again", again).await;
    assert!(counted(&system, "causeway_limited_connection_requests_total").await >= refusals.len() as f64);
    system.cluster.stop_all().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_connections_of_a_user_share_the_users_rate_and_are_counted() {
    let system = System::start_with(1, false, &["user_requests_per_s = 30", "user_connections_max = 2"]).await;
    let (mut one, mut two) = (session(&system, "eve", 1).await, session(&system, "eve", 2).await);
    let connection = raw::client(system.cluster.sites[0].listen, &system.cluster.ca).await.unwrap();
    let (mut send, _recv) = connection.open_bi().await.unwrap();
    send.write_all(&raw::frame(Frame::Hello(raw::hello("eve", 3, "")))).await.unwrap();
    let (code, reason) = raw::closed(&connection).await;
    assert_eq!(code, Code::Overloaded.number());
    assert!(reason.contains("`user_connections_max`") && reason.contains("try again in 1000 ms"), "{reason}");

    let ((first, some), (second, more)) = tokio::join!(pings(&mut one, 150), pings(&mut two, 150));
    assert!((30..150).contains(&(first + second)), "{first} and {second}");
    names(&[some, more].concat(), "user_requests_per_s");
    serves_ann(&system).await;
    assert_eq!(counted(&system, "causeway_limited_user_connections_total").await, 1.0);
    assert!(counted(&system, "causeway_limited_user_requests_total").await > 0.0);
    // With the last connection everything of the user's is forgotten.
    drop((one, two));
    let again = async {
        loop {
            let connection = raw::client(system.cluster.sites[0].listen, &system.cluster.ca).await.unwrap();
            let (mut send, mut recv) = connection.open_bi().await.unwrap();
            send.write_all(&raw::frame(Frame::Hello(raw::hello("eve", 4, "")))).await.unwrap();
            if matches!(recv.read_chunk(1, true).await, Ok(Some(_))) {
                return;
            }
        }
    };
    in_time("eve may come again", again).await;
    system.cluster.stop_all().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_a_second_and_bytes_in_flight_are_bounded() {
    for (settings, setting) in [
        (&["connection_bytes_per_s = 1048576"][..], "connection_bytes_per_s"),
        (&["user_bytes_per_s = 1048576"][..], "user_bytes_per_s"),
        (&["connection_in_flight_bytes_max = 1024"][..], "connection_in_flight_bytes_max"),
    ] {
        let system = System::start_with(1, false, settings).await;
        let mut eve = session(&system, "eve", 1).await;
        let room = eve.create(true, false).await;
        let (count, words) = if setting.ends_with("_max") { (40, "x".repeat(300)) } else { (40, "x".repeat(60_000)) };
        let submits: Vec<_> = (0..count).map(|_| eve.device.submit(room, message(), &words).1).collect();
        let frames: Vec<_> = submits.into_iter().map(|submit| raw::frame(Frame::Submit(submit))).collect();
        eve.put(&frames.concat()).await;
        let mut refusals = Vec::new();
        for _ in 0..count {
            match eve.answer().await {
                Answer::Accepted(_) => {}
                Answer::Refused(refused) => refusals.push(refused),
                other => panic!("{other:?}"),
            }
        }
        assert!((1..count).contains(&refusals.len()), "{setting}: {}", refusals.len());
        for refused in &refusals {
            assert_eq!(refused.code, Code::Busy.number());
            let named = refused.detail.contains(&format!("`{setting}`")) && refused.detail.contains("try again");
            assert!(named && refused.id.is_some(), "{refused:?}");
            assert_eq!(refused.retry_after_ms > 0, setting.ends_with("_per_s"), "{refused:?}");
        }
        serves_ann(&system).await;
        let name = setting.replace("_max", "").replace("_per_s", "").replace("connection_in", "in");
        assert_eq!(counted(&system, &format!("causeway_limited_{name}_total")).await, refusals.len() as f64, "{name}");
        system.cluster.stop_all().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rooms_of_a_user_and_sizes_are_bounded() {
    let settings = [
        "user_rooms_max = 2",
        "room_members_max = 2",
        "body_bytes_max = 1024",
        "frame_bytes_max = 131072",
        "history_page_max = 10",
    ];
    let system = System::start_with(1, false, &settings).await;
    let mut eve = session(&system, "eve", 1).await;
    let mut bob = session(&system, "bob", 1).await;
    let bobs = bob.create(true, false).await;
    let room = eve.create(true, false).await;
    eve.does(bobs, Kind::Join(wire::Join {})).await.unwrap();
    let (_, third) = eve.device.create(true, false);
    let bobs_other = bob.create(true, false).await;
    for refused in [eve.ask(third).await, eve.does(bobs_other, Kind::Join(wire::Join {})).await] {
        let refused = refused.unwrap_err();
        assert_eq!(refused.code, Code::NotPermitted.number());
        assert!(
            refused.detail.contains("the limit is 2 (`user_rooms_max`)") && refused.detail.contains("try again"),
            "{refused:?}"
        );
    }
    eve.does(bobs, Kind::Join(wire::Join {})).await.expect("who is in already may join again");
    eve.does(bobs, Kind::Leave(wire::Leave {})).await.unwrap();
    eve.does(bobs_other, Kind::Join(wire::Join {})).await.expect("there is room again");

    let mut cat = session(&system, "cat", 1).await;
    let refused = cat.does(bobs_other, Kind::Join(wire::Join {})).await.unwrap_err();
    assert_eq!(refused.code, Code::NotPermitted.number());
    assert!(refused.detail.contains("2 (`room_members_max`)"), "{refused:?}");
    cat.does(bobs, Kind::Join(wire::Join {})).await.expect("eve has left it");

    let large = eve.device.submit(room, message(), &"x".repeat(4_000)).1;
    let refused = eve.ask(large).await.unwrap_err();
    assert_eq!(refused.code, Code::TooLarge.number());
    assert!(refused.detail.contains("`body_bytes_max`"), "{refused:?}");
    let page = eve.history(room, 11).await;
    assert_eq!(page.code, Code::TooLarge.number());
    assert!(page.detail.contains("`history_page_max`"), "{}", page.detail);
    assert_eq!(eve.history(room, 10).await.code, 0);
    eve.put(&200_000_u32.to_be_bytes()).await;
    let (code, reason) = raw::closed(&eve.connection).await;
    assert_eq!(code, Code::ProtocolError.number());
    assert!(reason.contains("`frame_bytes_max`") && reason.contains("131072"), "{reason}");
    serves_ann(&system).await;
    for name in ["body_bytes_total", "history_page_total", "frame_bytes_total"] {
        assert_eq!(counted(&system, &format!("causeway_limited_{name}")).await, 1.0, "{name}");
    }
    assert_eq!(counted(&system, "causeway_limited_user_rooms").await, 2.0);
    assert_eq!(counted(&system, "causeway_limited_room_members").await, 1.0);
    system.cluster.stop_all().await.unwrap();
}

/// A ban stops delivery where it is applied, also what waits already in queues behind it.
#[tokio::test(flavor = "multi_thread")]
async fn a_banned_member_is_sent_nothing_that_was_accepted_after_the_ban() {
    let system = System::start(1, false).await;
    let mut ann = session(&system, "ann", 1).await;
    let room = ann.create(true, false).await;
    let mut eve = session(&system, "eve", 1).await;
    eve.does(room, Kind::Join(wire::Join {})).await.unwrap();
    // From now on eve takes no event: all of it waits in the session's queue and in storage.
    eve.say(Frame::Hello(wire::Hello { standby: false, ..raw::hello("eve", 1, "") })).await;
    assert!(matches!(eve.answer().await, Answer::Welcome(_)));
    let words = "x".repeat(30_000);
    let mut before = Vec::new();
    for _ in 0..60 {
        let (id, submit) = ann.device.submit(room, message(), &words);
        ann.ask(submit).await.unwrap();
        before.push(id);
    }
    let ban = wire::Ban { user: "eve".into(), reason: String::new(), until_ms: 0 };
    ann.does(room, Kind::Ban(ban)).await.unwrap();
    let mut after = Vec::new();
    for _ in 0..60 {
        let (id, submit) = ann.device.submit(room, message(), &words);
        ann.ask(submit).await.unwrap();
        after.push(id);
    }
    let mut events = in_time("events", eve.connection.accept_uni()).await.unwrap();
    let mut decoder = FrameDecoder::default();
    let mut shown = Vec::new();
    let closed = async {
        loop {
            while let Some(frame) = decoder.next::<wire::EventFrame>("EventFrame").unwrap() {
                match frame.frame.unwrap() {
                    Event::Event(event) => {
                        let request = wire::Request::decode(event.request).unwrap();
                        shown.push(RequestId::from_wire(&request.id.unwrap()));
                    }
                    Event::RoomClosed(_) => return,
                    _ => {}
                }
            }
            let chunk = events.read_chunk(1 << 16, true).await.unwrap().expect("the session lives");
            decoder.push(&chunk.bytes);
        }
    };
    in_time("the room closes", closed).await;
    assert!(shown.iter().any(|id| before.contains(id)), "some came before");
    assert!(!shown.iter().any(|id| after.contains(id)), "nothing of what was accepted after the ban");
    // And nothing comes later: what is accepted now is in storage before the pong, and no event is on its way then.
    ann.does(room, message()).await.unwrap();
    eve.ping().await;
    eve.say(Frame::Hello(raw::hello("eve", 1, ""))).await;
    assert!(matches!(eve.answer().await, Answer::Welcome(_)));
    assert!(decoder.next_payload().unwrap().is_none());
    system.cluster.stop_all().await.unwrap();
}

//! Hello, submits, pings, markers, and what breaks a connection.

use causeway_protocol::{
    Code, DeviceId, Dot, Message, RequestId, RoomId, ShardId, Stamp, UnreadFlag, Vector, limits, wire,
};
use wire::{client_frame::Frame, server_frame::Frame as Answer};

use super::test_host::{Host, WALL_MS, config};
use super::*;
use crate::read::fixture::{Fixture, NONCE, SHARDS, origin, user};

fn greeted() -> Host {
    let mut host = Host::new(Fixture::default(), "ann");
    host.settle(&[]);
    host.control.clear();
    host.others.clear();
    host
}

fn id(device: DeviceId, stamp: u64) -> RequestId {
    RequestId { stamp: Stamp(stamp), device }
}

fn own_id(stamp: u64) -> RequestId {
    id(DeviceId::derive(&user("ann"), NONCE), stamp)
}

fn submit(id: RequestId, room: &[u8]) -> wire::Submit {
    let room = Bytes::copy_from_slice(room);
    let request = wire::Request { id: Some(id.to_wire()), room, ..Default::default() };
    wire::Submit { request: request.encode_to_vec().into(), body: None, nonce: 0 }
}

fn refusal(host: &mut Host, submit: wire::Submit) -> (Option<RequestId>, u32) {
    host.frame(Frame::Submit(submit));
    host.others.retain(|output| !matches!(output, SessionOutput::Limited(_)));
    assert!(host.others.is_empty(), "{:?}", host.others);
    match host.control.pop() {
        Some(Answer::Refused(refused)) => (refused.id.as_ref().map(RequestId::from_wire), refused.code),
        other => panic!("{other:?}"),
    }
}

fn closed_with(host: &mut Host) -> Code {
    let Some(SessionOutput::Close(code, detail)) = host.others.pop() else { panic!("not closed") };
    assert!(!detail.is_empty());
    // Nothing comes after.
    host.frame(Frame::Ping(wire::Ping { token: 1 }));
    host.read(1_000);
    assert!(host.others.is_empty() && host.control.is_empty() && host.events.is_empty());
    assert!(!host.session.wants_read() && !host.session.is_active());
    code
}

#[test]
fn a_hello_is_answered_with_everything_that_a_client_needs() {
    let mut host = Host::new(Fixture::default(), "ann");
    assert_eq!(host.session.user(), None);
    host.say_hello(&[]);
    let [Answer::Welcome(welcome)] = &host.control[..] else { panic!("{:?}", host.control) };
    let wanted = wire::Welcome {
        version: 1,
        site: 1,
        site_name: "one".into(),
        clock_ms: 1_234,
        shard_count: SHARDS.into(),
        sites: config().sites.to_vec(),
        session: 1,
        outbox_window_max: SessionLimits::default().submits_max,
    };
    assert_eq!(*welcome, wanted);
    assert!(matches!(&host.others[..], [SessionOutput::Bind(name)] if *name == user("ann")));
    assert_eq!(host.session.user(), Some(&user("ann")));
    host.say_hello(&[]);
    assert_eq!(host.others.len(), 1, "bound once");
}

#[test]
fn whatever_comes_before_the_hello_closes_the_connection() {
    for frame in [Frame::Submit(wire::Submit::default()), Frame::Ping(wire::Ping { token: 1 })] {
        let mut host = Host::new(Fixture::default(), "ann");
        host.frame(frame);
        assert_eq!(closed_with(&mut host), Code::ProtocolError);
    }
}

#[test]
fn a_bad_hello_closes_the_connection_and_says_why() {
    type Change = fn(&mut wire::Hello);
    let room = Bytes::from_static(&[1; 16]);
    let cases: [(Change, Code); 5] = [
        (|hello| hello.version_min = 2, Code::Version),
        (|hello| hello.user.clear(), Code::ProtocolError),
        (|hello| hello.user = "x".repeat(limits::USER_BYTES_MAX + 1), Code::ProtocolError),
        (|hello| hello.cursors = vec![wire::RoomCursor::default()], Code::ProtocolError),
        (
            |hello| {
                let bad = wire::Vector { entries: vec![wire::Dot::default()] };
                hello.cursors = vec![wire::RoomCursor { room: vec![1; 16].into(), vector: Some(bad), summary: 0 }];
            },
            Code::ProtocolError,
        ),
    ];
    for (change, code) in cases {
        let mut host = Host::new(Fixture::default(), "ann");
        let mut hello = host.hello(&[]);
        change(&mut hello);
        host.frame(Frame::Hello(hello));
        host.control.clear();
        assert_eq!(closed_with(&mut host), code);
    }
    let mut host = Host::new(Fixture::default(), "ann");
    let cursors = vec![wire::RoomCursor { room, vector: None, summary: 0 }; limits::ROOMS_PER_USER_MAX + 1];
    let hello = wire::Hello { cursors, ..host.hello(&[]) };
    host.frame(Frame::Hello(hello));
    assert_eq!(closed_with(&mut host), Code::ProtocolError);
}

#[test]
fn a_second_hello_as_somebody_else_closes_the_connection() {
    for (name, nonce) in [("bob", NONCE), ("ann", NONCE + 1)] {
        let mut host = greeted();
        let hello = wire::Hello { user: name.into(), nonce, ..host.hello(&[]) };
        host.frame(Frame::Hello(hello));
        assert_eq!(closed_with(&mut host), Code::ProtocolError);
    }
}

#[test]
fn a_frame_of_no_known_kind_closes_the_connection() {
    let mut host = greeted();
    host.handle(SessionInput::Frame(wire::ClientFrame { frame: None }));
    assert_eq!(closed_with(&mut host), Code::ProtocolError);
}

#[test]
fn a_submit_goes_to_the_shard_of_its_room() {
    for top in [0x00, 0xff] {
        let mut host = greeted();
        let (room, id) = (RoomId([top; 16]), own_id(9));
        let body = Some(Bytes::from_static(b"body"));
        let submit = wire::Submit { body: body.clone(), ..submit(id, &room.0) };
        host.frame(Frame::Submit(submit.clone()));
        let [SessionOutput::Submit(shard, submission)] = &host.others[..] else { panic!("{:?}", host.others) };
        assert_eq!(*shard, room.shard(SHARDS));
        assert_eq!((&submission.user, submission.device), (&user("ann"), id.device));
        assert_eq!((&submission.request, &submission.body), (&submit.request, &body));
        assert_eq!(submission.session, SessionId(1));
        assert!(host.control.is_empty());
    }
}

#[test]
fn a_request_of_an_older_start_of_the_sdk_brings_its_nonce() {
    let mut host = greeted();
    let older = id(DeviceId::derive(&user("ann"), 99), 5);
    let submit = submit(older, &[1; 16]);
    assert_eq!(refusal(&mut host, submit.clone()), (Some(older), Code::DeviceMismatch.number()));
    let others = wire::Submit { nonce: 98, ..submit.clone() };
    assert_eq!(refusal(&mut host, others), (Some(older), Code::DeviceMismatch.number()));
    host.frame(Frame::Submit(wire::Submit { nonce: 99, ..submit }));
    assert!(matches!(&host.others[..], [SessionOutput::Submit(_, submission)] if submission.device == older.device));
}

#[test]
fn the_device_of_another_user_is_refused() {
    let mut host = greeted();
    let theirs = id(DeviceId::derive(&user("bob"), NONCE), 5);
    let refused = refusal(&mut host, submit(theirs, &[1; 16]));
    assert_eq!(refused, (Some(theirs), Code::DeviceMismatch.number()));
}

#[test]
fn what_does_not_decode_or_is_too_large_is_refused_by_name() {
    let mut host = greeted();
    let garbage = wire::Submit { request: Bytes::from_static(b"\xff\xff"), ..Default::default() };
    assert_eq!(refusal(&mut host, garbage), (None, Code::Malformed.number()));
    assert_eq!(refusal(&mut host, wire::Submit::default()), (None, Code::Malformed.number()));
    assert_eq!(refusal(&mut host, submit(own_id(1), b"short")), (Some(own_id(1)), Code::Malformed.number()));
    let large = wire::Submit { body: Some(vec![0; limits::BODY_BYTES_MAX + 1].into()), ..submit(own_id(2), &[1; 16]) };
    assert_eq!(refusal(&mut host, large), (Some(own_id(2)), Code::TooLarge.number()));
    let create =
        wire::Create { name: "n".repeat(limits::REQUEST_BYTES_MAX), open: true, channel: false, ..Default::default() };
    let kind = Some(wire::request::Kind::Create(create));
    let room = Bytes::from_static(&[1; 16]);
    let request = wire::Request { id: Some(own_id(3).to_wire()), room, body_hash: Bytes::new(), kind };
    let long = wire::Submit { request: request.encode_to_vec().into(), ..Default::default() };
    assert_eq!(refusal(&mut host, long), (Some(own_id(3)), Code::TooLarge.number()));
}

#[test]
fn submits_beyond_the_window_are_refused_until_acks_make_room() {
    let mut host = Host::new(Fixture::default(), "ann");
    let mut small = config();
    small.limits.submits_max = 2;
    host.session = ServerSession::new(small);
    host.settle(&[]);
    host.control.clear();
    host.others.clear();
    let dot = Dot { origin: origin(1), seq: 1 };
    let fill = |host: &mut Host, stamp| {
        host.frame(Frame::Submit(submit(own_id(stamp), &[1; 16])));
        matches!(host.others.pop(), Some(SessionOutput::Submit(..)))
    };
    assert!(fill(&mut host, 1) && fill(&mut host, 2));
    assert_eq!(refusal(&mut host, submit(own_id(3), &[1; 16])), (Some(own_id(3)), Code::Busy.number()));
    host.handle(SessionInput::Accepted { shard: ShardId(0), id: own_id(1), dot, replicated: false });
    assert!(fill(&mut host, 3));
    let detail = "why".to_owned();
    host.handle(SessionInput::Refused { id: Some(own_id(2)), code: Code::StampAhead, detail });
    assert!(fill(&mut host, 4));
    host.control.clear();
    assert_eq!(refusal(&mut host, submit(own_id(5), &[1; 16])).1, Code::Busy.number());
}

#[test]
fn answers_of_shards_reach_the_client() {
    let mut host = greeted();
    let (id, dot) = (own_id(1), Dot { origin: origin(2), seq: 8 });
    host.handle(SessionInput::Accepted { shard: ShardId(1), id, dot, replicated: true });
    host.handle(SessionInput::Refused { id: None, code: Code::Busy, detail: "later".into() });
    host.handle(SessionInput::Frontier { shard: ShardId(1), dot });
    host.handle(SessionInput::GoAway(Code::ShuttingDown, "bye".into()));
    host.frame(Frame::Ping(wire::Ping { token: 77 }));
    let (id, dot) = (Some(id.to_wire()), Some(dot.to_wire()));
    let wanted = [
        Answer::Accepted(wire::Accepted { id, dot, shard: 1, replicated: true }),
        Answer::Refused(wire::Refused { id: None, code: 203, detail: "later".into(), retry_after_ms: 0 }),
        Answer::Frontier(wire::Frontier { shard: 1, dot }),
        Answer::GoAway(wire::GoAway { code: 302, detail: "bye".into() }),
        Answer::Pong(wire::Pong { token: 77, clock_ms: 1_234 }),
    ];
    assert_eq!(host.control, wanted);
    assert!(host.others.is_empty(), "a site that asks to move does not close");
}

#[test]
fn read_markers_pass_for_rooms_that_the_user_sees() {
    let mut site = Fixture::default();
    let room = site.room("ann");
    let mut host = Host::new(site, "ann");
    let vector = host.site.durable_of(room);
    let mark = |room: RoomId, vector: &Vector| {
        Frame::MarkRead(wire::MarkRead { room: room.to_wire(), vector: Some(vector.to_wire()), flag: None })
    };
    let marks = |host: &Host| -> Vec<(RoomId, Vector)> {
        let mark = |output: &SessionOutput| match output {
            SessionOutput::MarkRead(shard, name, room, marker) => {
                assert_eq!((*shard, name), (room.shard(SHARDS), &user("ann")));
                Some((*room, marker.read.clone()))
            }
            _ => None,
        };
        host.others.iter().filter_map(mark).collect()
    };
    host.say_hello(&[]);
    // Before the rooms are looked up: kept.
    host.frame(mark(room, &vector));
    host.frame(mark(RoomId([3; 16]), &vector));
    assert_eq!(marks(&host), []);
    host.read_all();
    assert_eq!(marks(&host), [(room, vector.clone())]);
    host.frame(mark(room, &vector));
    host.frame(mark(RoomId([3; 16]), &vector));
    assert_eq!(marks(&host).len(), 2);
    host.frame(Frame::MarkRead(wire::MarkRead { room: Bytes::from_static(b"short"), vector: None, flag: None }));
    host.control.clear();
    host.events.clear();
    host.others.retain(|output| matches!(output, SessionOutput::Close(..)));
    assert_eq!(closed_with(&mut host), Code::ProtocolError);
}

#[test]
fn a_flag_ahead_of_the_sites_clock_is_refused_by_its_id() {
    let mut site = Fixture::default();
    let room = site.room("ann");
    let mut host = Host::new(site, "ann");
    host.say_hello(&[]);
    host.read_all();
    host.control.clear();
    let flag = |ms: u64| UnreadFlag { id: own_id(Stamp::from_ms(ms).0), unread: true };
    let mark =
        |flag: UnreadFlag| Frame::MarkRead(wire::MarkRead { room: room.to_wire(), vector: None, flag: flag.to_wire() });
    let last = WALL_MS + limits::STAMP_AHEAD_MAX_MS;
    host.frame(mark(flag(last + 1)));
    let Some(Answer::Refused(refused)) = host.control.pop() else { panic!("no refusal") };
    assert_eq!((refused.id, refused.code), (Some(flag(last + 1).id.to_wire()), Code::StampAhead.number()));
    assert!(refused.detail.contains("mark_read.flag.id.stamp"), "{}", refused.detail);
    let passed = |output: &SessionOutput| matches!(output, SessionOutput::MarkRead(..));
    assert!(!host.others.iter().any(passed));
    host.frame(mark(flag(last)));
    assert!(host.control.is_empty() && host.others.iter().any(passed));
    let nameless = wire::UnreadFlag { id: None, unread: true };
    host.frame(Frame::MarkRead(wire::MarkRead { room: room.to_wire(), vector: None, flag: Some(nameless) }));
    host.events.clear();
    host.others.retain(|output| matches!(output, SessionOutput::Close(..)));
    assert_eq!(closed_with(&mut host), Code::ProtocolError);
}

#[test]
fn bytes_in_flight_are_bounded_and_one_request_always_fits() {
    let limits = SessionLimits { submit_bytes_max: 1_000, ..SessionLimits::default() };
    let mut host = Host::with(Fixture::default(), "ann", SessionConfig { limits, ..config() });
    host.say_hello(&[]);
    host.control.clear();
    let large = |stamp| wire::Submit { body: Some(vec![0; 5_000].into()), ..submit(own_id(stamp), &[1; 16]) };
    host.frame(Frame::Submit(large(1)));
    assert!(matches!(host.others.pop(), Some(SessionOutput::Submit(..))), "alone");
    host.frame(Frame::Submit(submit(own_id(2), &[1; 16])));
    assert_eq!(host.others.pop().map(|o| format!("{o:?}")), Some("Limited(\"connection_in_flight_bytes_max\")".into()));
    let Some(Answer::Refused(refused)) = host.control.pop() else { panic!("no refusal") };
    assert_eq!(refused.code, Code::Busy.number());
    assert!(refused.detail.contains("`connection_in_flight_bytes_max`"), "{}", refused.detail);
    let dot = Dot { origin: origin(1), seq: 1 };
    host.handle(SessionInput::Accepted { shard: ShardId(0), id: own_id(9), dot, replicated: false });
    host.handle(SessionInput::Accepted { shard: ShardId(0), id: own_id(1), dot, replicated: false });
    host.frame(Frame::Submit(submit(own_id(2), &[1; 16])));
    assert!(matches!(host.others.pop(), Some(SessionOutput::Submit(..))), "its ack made room");
}

#[test]
fn a_frame_over_a_limit_of_the_host_is_refused_by_its_id_and_with_a_time() {
    let mut host = greeted();
    let frame = wire::ClientFrame { frame: Some(Frame::Submit(submit(own_id(1), &[1; 16]))) };
    host.handle(SessionInput::Limited { frame, detail: "too fast".into(), retry_after_ms: 70 });
    let frame = wire::ClientFrame { frame: Some(Frame::Ping(wire::Ping { token: 1 })) };
    host.handle(SessionInput::Limited { frame, detail: "too fast".into(), retry_after_ms: 70 });
    let wanted = |id: Option<RequestId>| {
        let id = id.map(RequestId::to_wire);
        Answer::Refused(wire::Refused { id, code: 203, detail: "too fast".into(), retry_after_ms: 70 })
    };
    assert_eq!(host.control, [wanted(Some(own_id(1))), wanted(None)]);
    assert!(host.others.is_empty());
}

/// A client that takes nothing holds the list of its rooms up.
#[test]
fn read_markers_that_wait_for_the_list_of_rooms_are_bounded() {
    let mut site = Fixture::default();
    let room = site.room("ann");
    let mut host = Host::new(site, "ann");
    host.say_hello(&[]);
    let entries = limits::VECTOR_ENTRIES_MAX as u64;
    let large = |n: u64| -> Vector {
        let origin = |i| causeway_protocol::Origin { incarnation: n * entries + i, ..crate::read::fixture::origin(9) };
        (0..entries).map(|i| causeway_protocol::Dot { origin: origin(i), seq: 1 }).collect()
    };
    for n in 0..100 {
        host.frame(Frame::MarkRead(wire::MarkRead {
            room: room.to_wire(),
            vector: Some(large(n).to_wire()),
            flag: None,
        }));
    }
    host.read_all();
    let kept = host.others.iter().find_map(|output| match output {
        SessionOutput::MarkRead(_, _, _, marker) => Some(marker.read.len()),
        _ => None,
    });
    assert_eq!(kept, Some(64 * limits::VECTOR_ENTRIES_MAX));
}

/// What is held of a submit must not hold the frame that it came in, most of which may be fields that nobody knows.
#[test]
fn a_submit_does_not_keep_its_frame_in_memory() {
    let mut site = Fixture::default();
    let room = site.room("ann");
    let mut host = Host::new(site, "ann");
    host.say_hello(&[]);
    let device = crate::read::fixture::device(&user("ann"));
    let id = wire::RequestId { stamp: 1 << 40, device: device.0 };
    let request = wire::Request { id: Some(id), room: room.to_wire(), ..Default::default() };
    let submit =
        wire::Submit { request: request.encode_to_vec().into(), body: Some(Bytes::from_static(b"body")), nonce: 0 };
    let frame = Bytes::from(wire::ClientFrame { frame: Some(Frame::Submit(submit)) }.encode_to_vec());
    host.handle(SessionInput::Frame(wire::ClientFrame::decode(frame.clone()).unwrap()));
    let passed = host.others.iter().find_map(|output| match output {
        SessionOutput::Submit(_, submission) => Some(submission),
        _ => None,
    });
    let passed = passed.expect("it is passed on");
    let within = |part: &Bytes| frame.as_ptr_range().contains(&part.as_ptr());
    assert!(!within(&passed.request) && !passed.body.as_ref().is_some_and(within));
}

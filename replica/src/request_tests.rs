//! Requests and ops against bytes of anybody's making.

use bytes::Bytes;
use causeway_protocol::{
    Code, DeviceId, Dot, Message, Origin, RequestId, RoomId, ShardId, SiteId, Stamp, UserId, Vector,
};
use causeway_protocol::{limits, wire, wire::request::Kind};
use proptest::prelude::*;

use super::*;

fn ann() -> UserId {
    UserId::new("ann").unwrap()
}

fn request(kind: Kind, body: Option<&Bytes>) -> Bytes {
    let id = RequestId { stamp: Stamp(5), device: DeviceId(6) };
    let w = wire::Request {
        id: Some(id.to_wire()),
        room: RoomId::derive(&ann(), id).to_wire(),
        body_hash: body.map_or_else(Bytes::new, |b| Bytes::copy_from_slice(&body_hash(b))),
        kind: Some(kind),
    };
    w.encode_to_vec().into()
}

fn body(content: usize) -> Bytes {
    let body = wire::Body {
        salt: Bytes::from_static(&[1; 16]),
        content_type: "text/plain".into(),
        content: vec![7; content].into(),
    };
    body.encode_to_vec().into()
}

fn check(kind: Kind, body: Option<&Bytes>) -> Result<(), Code> {
    let decoded = Request::decode(&request(kind, body)).unwrap();
    check_content(&ann(), &decoded, body).map_err(|(code, _)| code)
}

#[test]
fn a_message_carries_the_body_that_its_hash_names() {
    let say = || Kind::Message(wire::Message::default());
    assert_eq!(check(say(), Some(&body(10))), Ok(()));
    assert_eq!(check(say(), Some(&body(limits::CONTENT_BYTES_MAX))), Ok(()));
    assert_eq!(check(say(), Some(&body(limits::CONTENT_BYTES_MAX + 1))), Err(Code::TooLarge));
    assert_eq!(check(say(), None), Err(Code::Malformed));
    assert_eq!(check(Kind::Join(wire::Join {}), Some(&body(1))), Err(Code::Malformed));
    let decoded = Request::decode(&request(say(), Some(&body(10)))).unwrap();
    let swapped = check_content(&ann(), &decoded, Some(&body(11)));
    assert_eq!(swapped.unwrap_err().1, "body_hash is not the hash of the body");
}

#[test]
fn names_and_users_have_limits() {
    let create =
        |name: &str| Kind::Create(wire::Create { name: name.into(), open: true, channel: false, ..Default::default() });
    assert_eq!(check(create("방"), None), Ok(()));
    assert_eq!(check(create(&"x".repeat(limits::NAME_BYTES_MAX + 1)), None), Err(Code::Malformed));
    assert_eq!(check(create("a\u{7}"), None), Err(Code::Malformed));
    assert_eq!(check(Kind::Invite(wire::Invite { user: String::new() }), None), Err(Code::Malformed));
}

#[test]
fn a_kind_of_a_newer_version_decodes_as_unknown() {
    let mut bytes = request(Kind::Join(wire::Join {}), None).to_vec();
    let at = bytes.iter().rposition(|b| *b == 12 << 3 | 2).unwrap();
    bytes.truncate(at);
    bytes.extend([0xfa, 0x01, 0x00]); // field 31, length-delimited, empty
    let decoded = Request::decode(&bytes.into()).unwrap();
    assert!(decoded.kind.is_none());
    assert_eq!(check_content(&ann(), &decoded, None).unwrap_err().0, Code::UnknownKind);
}

#[test]
fn an_op_survives_its_wire_form_and_loses_a_body_that_is_not_its_own() {
    let text = body(3);
    let bytes = request(Kind::Message(wire::Message::default()), Some(&text));
    let dot = Dot { origin: Origin { site: SiteId(1), node: 0, incarnation: 9 }, seq: 2 };
    let op = NewOp {
        dot,
        shard: ShardId(3),
        stamp: Stamp(77),
        deps: Vector::new(),
        prev: Some([4; 16]),
        user: &ann(),
        request: Request::decode(&bytes).unwrap(),
        request_bytes: bytes,
        saw: Vec::new(),
        aware: vec![RequestId::MIN],
        past: Some(Vector::from_iter([dot])),
        rank: 4,
        deadline_ms: 88,
        body: Some(text),
    }
    .seal();
    let w = op.to_wire();
    let back = Op::decode(ShardId(3), w.header.clone(), w.body.clone()).unwrap();
    assert_eq!((back.dot, back.stamp, back.prev, back.body), (dot, op.stamp, op.prev, op.body.clone()));
    assert_eq!((back.aware, back.past, back.rank, back.deadline_ms), (op.aware.clone(), op.past.clone(), 4, 88));
    assert_eq!(Op::decode(ShardId(3), w.header.clone(), Some(body(4))).unwrap().body, None);
    assert!(Op::decode(ShardId(4), w.header, None).is_err(), "another shard's");
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let bytes = Bytes::from(bytes);
        let _ = Request::decode(&bytes);
        let _ = Op::decode(ShardId(0), bytes.clone(), Some(bytes));
    }

    #[test]
    fn a_damaged_op_never_panics(flip in 0..200usize, to in any::<u8>()) {
        let bytes = request(Kind::Leave(wire::Leave {}), None);
        let header = wire::Header {
            origin: Some(Origin { site: SiteId(1), node: 0, incarnation: 9 }.to_wire()),
            seq: 1,
            user: "ann".into(),
            request: bytes,
            ..wire::Header::default()
        };
        let mut bytes = header.encode_to_vec();
        let at = flip % bytes.len();
        bytes[at] = to;
        let _ = Op::decode(ShardId(0), bytes.into(), None);
    }
}

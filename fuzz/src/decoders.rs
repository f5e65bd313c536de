//! Decoders: whatever the bytes, decoding ends with a value or an error, and a value has one form.

use std::fmt::Debug;

use bytes::Bytes;
use causeway_protocol::{
    DecodeError, Dot, FrameDecoder, Message, Origin, RequestId, RoomId, ShardId, UserId, Vector, decode_datagram,
    limits, wire,
};
use causeway_replica::key::{Key, Policy};
use causeway_replica::request::{Op, Request, check_content};
use causeway_replica::view::Cf;

/// Decodes; what decodes has one encoding, which decodes to the same.
fn wire_form<M: Message + Default + PartialEq + Debug>(data: &[u8]) -> Option<M> {
    let value = M::decode(Bytes::copy_from_slice(data)).ok()?;
    let bytes = value.encode_to_vec();
    assert_eq!(bytes.len(), value.encoded_len());
    let again = M::decode(&bytes[..]).expect("our own encoding decodes");
    assert_eq!(again, value);
    assert_eq!(again.encode_to_vec(), bytes);
    // Logs show it: that must not panic either.
    let _ = format!("{value:?}");
    Some(value)
}

/// A frame of a client's control stream.
pub fn client_frame(data: &[u8]) {
    wire_form::<wire::ClientFrame>(data);
}

/// A frame of a site's control stream.
pub fn server_frame(data: &[u8]) {
    wire_form::<wire::ServerFrame>(data);
}

/// A frame of a site's stream of events.
pub fn event_frame(data: &[u8]) {
    if let Some(wire::EventFrame { frame: Some(wire::event_frame::Frame::Event(event)) }) = wire_form(data) {
        wire_form::<wire::Request>(&event.request);
        event.body.iter().for_each(|body| drop(wire_form::<wire::Body>(body)));
    }
}

/// Queries, and what answers them.
pub fn queries(data: &[u8]) {
    wire_form::<wire::Query>(data);
    wire_form::<wire::HistoryPage>(data);
    wire_form::<wire::MembersPage>(data);
    wire_form::<wire::ReadersPage>(data);
    wire_form::<wire::PresencePage>(data);
}

/// A frame of a link between sites.
pub fn peer_frame(data: &[u8]) {
    wire_form::<wire::PeerFrame>(data);
}

/// Datagrams: of clients, of sites to them, of sites to each other.
pub fn datagrams(data: &[u8]) {
    wire_form::<wire::ClientDatagram>(data);
    wire_form::<wire::ServerDatagram>(data);
    wire_form::<wire::PeerDatagram>(data);
    let bytes = Bytes::copy_from_slice(data);
    if let Ok(datagram) = decode_datagram::<wire::PeerDatagram>("PeerDatagram", &bytes) {
        assert!((1..=limits::DATAGRAM_BYTES_MAX).contains(&bytes.len()));
        // What was packed as it is here fits again: unknown fields go, and packing only shortens.
        assert!(datagram.encoded_len() <= 2 * limits::DATAGRAM_BYTES_MAX);
    }
}

/// A frame for one shard.
pub fn shard_frame(data: &[u8]) {
    let Some(wire::ShardFrame { frame: Some(frame), .. }) = wire_form(data) else { return };
    match frame {
        wire::shard_frame::Frame::Ops(ops) => ops.ops.iter().for_each(|op| op_of(&op.header, op.body.clone())),
        wire::shard_frame::Frame::SnapshotPage(page) => page.rows.iter().for_each(|row| {
            if let Some(cf) = Cf::from_number(row.family) {
                key_of(cf, &row.key);
            }
        }),
        _ => {}
    }
}

/// A request and its body: a byte that says how long the request is, the request, the body.
pub fn request(data: &[u8]) {
    wire_form::<wire::Request>(data);
    wire_form::<wire::Body>(data);
    let Some((len, rest)) = data.split_first() else { return };
    let (request, body) = rest.split_at(usize::from(*len).min(rest.len()));
    let user = UserId::new("ann").expect("a user");
    for (request, body) in [(request, Some(Bytes::copy_from_slice(body))), (data, None)] {
        let Ok(request) = Request::decode(&Bytes::copy_from_slice(request)) else { continue };
        let _ = check_content(&user, &request, body.as_ref());
        // The body that the request names passes the first check, so that the later ones are reached.
        let named = body.as_ref().map(|body| causeway_replica::request::body_hash(body));
        let _ = check_content(&user, &Request { body_hash: named, ..request.clone() }, body.as_ref());
        let _ = (request.target(), request.subject(), request.symbol(), request.has_body());
    }
}

fn op_of(header: &Bytes, body: Option<Bytes>) {
    let Ok(op) = Op::decode(ShardId(255), header.clone(), body) else { return };
    assert!(op.dot.seq > 0 && op.header == *header);
    assert!(op.bytes() <= limits::FRAME_BYTES_MAX);
    assert!(op.request_bytes.len() <= limits::REQUEST_BYTES_MAX);
    let wire = op.to_wire();
    let again = Op::decode(ShardId(255), wire.header, wire.body).expect("it decoded before");
    assert_eq!((again.dot, again.stamp, again.body), (op.dot, op.stamp, op.body));
}

/// An op's header, and the op that travels.
pub fn op(data: &[u8]) {
    wire_form::<wire::Header>(data);
    op_of(&Bytes::copy_from_slice(data), Some(Bytes::from_static(b"body")));
    if let Some(op) = wire_form::<wire::Op>(data) {
        op_of(&op.header, op.body);
    }
}

fn same<T: PartialEq + Debug>(first: Result<T, DecodeError>, again: impl Fn(&T) -> Result<T, DecodeError>) {
    if let Ok(value) = first {
        assert_eq!(again(&value).as_ref(), Ok(&value));
    }
}

/// Ids, dots and vectors.
pub fn vectors(data: &[u8]) {
    if let Some(wire) = wire_form::<wire::Vector>(data) {
        same(Vector::from_wire(&wire), |vector| Vector::from_wire(&vector.to_wire()));
        if let Ok(vector) = Vector::from_wire(&wire) {
            assert!(vector.len() <= limits::VECTOR_ENTRIES_MAX);
            assert!(vector.covers_all(&vector.meet(&vector)) && vector.beyond(&vector).is_empty());
            let _ = vector.hash();
        }
    }
    if let Some(wire) = wire_form::<wire::Dot>(data) {
        same(Dot::from_wire(&wire), |dot| Dot::from_wire(&dot.to_wire()));
    }
    if let Some(wire) = wire_form::<wire::Origin>(data) {
        same(Origin::from_wire(&wire), |origin| Origin::from_wire(&origin.to_wire()));
        same(Origin::from_wire(&wire), |origin| Ok(Origin::from_bytes(origin.to_bytes())));
    }
    if let Some(wire) = wire_form::<wire::RequestId>(data) {
        let id = RequestId::from_wire(&wire);
        assert_eq!((RequestId::from_wire(&id.to_wire()), RequestId::from_bytes(id.to_bytes())), (id, id));
    }
    same(RoomId::from_wire(data), |room| RoomId::from_wire(&room.to_wire()));
    if let Ok(text) = std::str::from_utf8(data) {
        same(RoomId::parse(text), |room| RoomId::parse(&room.to_string()));
        same(UserId::new(text), |user| UserId::new(user.as_str()));
    }
}

/// Values of rows, on disk and in snapshots: a byte that says which, then the value.
pub fn rows(data: &[u8]) {
    let Some((which, value)) = data.split_first() else { return };
    match which % 16 {
        0 => drop(wire_form::<wire::RequestRow>(value)),
        1 => drop(wire_form::<wire::ElementRow>(value)),
        2 => drop(wire_form::<wire::RegisterRow>(value)),
        3 => drop(wire_form::<wire::LogRow>(value)),
        4 => drop(wire_form::<wire::OrderRow>(value)),
        5 => drop(wire_form::<wire::HeadRow>(value)),
        6 => drop(wire_form::<wire::ShardRow>(value)),
        7 => drop(wire_form::<wire::OriginRow>(value)),
        8 => drop(wire_form::<wire::BucketRow>(value)),
        9 => drop(wire_form::<wire::ReadRow>(value)),
        10 => drop(wire_form::<wire::IdentityRow>(value)),
        11 => drop(wire_form::<wire::Merge>(value)),
        12 => drop(wire_form::<wire::Grant>(value)),
        13 => drop(wire_form::<wire::Revocation>(value)),
        14 => drop(wire_form::<wire::Lift>(value)),
        _ => assert!(Policy::from_value(&[Policy::from_value(value).to_byte()]) == Policy::from_value(value)),
    }
}

fn key_of(cf: Cf, data: &[u8]) {
    if let Some(key) = Key::decode(cf, data) {
        assert_eq!((&key.encode()[..], key.family()), (data, cf), "{key:?}");
        let _ = key.element_room();
    }
}

/// Keys of rows: a byte that says of which family, then the key.
pub fn keys(data: &[u8]) {
    if let Some((family, key)) = data.split_first()
        && let Some(cf) = Cf::from_number(u32::from(family % 9 + 1))
    {
        key_of(cf, key);
    }
}

/// A stream cut into frames: a byte that says how long the reads are, then the stream.
pub fn frames(data: &[u8]) {
    let Some((step, stream)) = data.split_first() else { return };
    let mut whole = FrameDecoder::default();
    whole.push(stream);
    let mut split = FrameDecoder::default();
    let mut found = Vec::new();
    let mut failed = None;
    for chunk in stream.chunks(usize::from(*step).max(1)) {
        split.push(chunk);
        // At most a frame a byte: an empty one takes four.
        for _ in 0..=chunk.len() {
            match split.next_payload() {
                Ok(Some(payload)) => found.push(payload),
                Ok(None) => break,
                Err(e) => {
                    failed = Some(e);
                    break;
                }
            }
        }
        if failed.is_some() {
            break;
        }
    }
    for payload in &found {
        assert_eq!(whole.next_payload().as_ref(), Ok(&Some(payload.clone())));
    }
    match failed {
        Some(e) => assert_eq!(whole.next_payload(), Err(e)),
        None => {
            assert_eq!(whole.next_payload(), Ok(None));
            assert_eq!(whole.finish(), split.finish());
        }
    }
}

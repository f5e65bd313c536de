//! A peer that says what no honest site says: it is refused, with an alarm, and the shard goes on.

use bytes::Bytes;
use causeway_protocol::wire::shard_frame::Frame;
use causeway_protocol::{Dot, Message, Origin, RequestId, RoomId, ShardId, Stamp, Vector, limits, wire};

use super::cluster::{A, B, user};
use crate::Shard;
use crate::io::{Alarm, Input, Now, Output, Outputs, ShardConfig, Ticket};
use crate::key::{Key, Register};
use crate::request::chain_hash;
use crate::shard::peers::ORIGINS_MAX;
use crate::view::{Cf, MemView};

/// A new shard, the first of two, with a link to B.
struct Alone {
    shard: Shard,
    rows: MemView,
    tickets: u64,
    alarms: Vec<Alarm>,
    sent: Vec<wire::ShardFrame>,
}

/// A room of the shard.
const ROOM: RoomId = RoomId([1; 16]);
/// A room of the other one.
const ELSEWHERE: RoomId = RoomId([0x81; 16]);

fn of(incarnation: u64) -> Origin {
    Origin { site: B, node: 0, incarnation }
}

fn request(room: RoomId, stamp: u64) -> Bytes {
    let id = wire::RequestId { stamp: Stamp::from_ms(stamp).0, device: 3 };
    let kind = Some(wire::request::Kind::Join(wire::Join {}));
    wire::Request { id: Some(id), room: room.to_wire(), body_hash: Bytes::new(), kind }.encode_to_vec().into()
}

fn header(room: RoomId, dot: Dot, prev: Bytes) -> wire::Header {
    wire::Header {
        origin: Some(dot.origin.to_wire()),
        seq: dot.seq,
        prev,
        user: "eve".into(),
        request: request(room, dot.seq),
        ..Default::default()
    }
}

fn op(header: &wire::Header) -> wire::Op {
    wire::Op { header: header.encode_to_vec().into(), body: None }
}

impl Alone {
    fn new() -> Self {
        let (shard_count, origin) = (2, Origin { site: A, node: 0, incarnation: 1 });
        let config = ShardConfig {
            shard: ShardId(0),
            shard_count,
            origin,
            sites: vec![A, B],
            must_catch_up: false,
            user_rooms_max: causeway_protocol::limits::ROOMS_PER_USER_MAX,
            room_members_max: u64::MAX,
            log_bytes_max: 1 << 20,
        };
        let rows = MemView::default();
        let shard = Shard::open(config, &rows, Now::default()).unwrap();
        let mut alone = Self { shard, rows, tickets: 0, alarms: Vec::new(), sent: Vec::new() };
        alone.step(Input::PeerUp(B));
        alone
    }

    fn step(&mut self, input: Input) {
        let mut out = Outputs::default();
        self.shard.step(Now::default(), input, &self.rows, &mut out).expect("the shard goes on");
        if !out.batch.is_empty() {
            self.tickets += 1;
            self.rows.apply(&out.batch);
            self.shard.seal(Ticket(self.tickets));
        }
        for effect in out.effects {
            match effect {
                Output::Alarm(alarm) => self.alarms.push(alarm),
                Output::ToPeer(_, frame) => {
                    assert!(frame.encoded_len() < limits::FRAME_BYTES_MAX, "a frame that can be sent");
                    self.sent.push(frame);
                }
                _ => {}
            }
        }
    }

    fn says(&mut self, frame: Frame) {
        self.step(Input::Peer(B, wire::ShardFrame { shard: 0, frame: Some(frame) }));
    }

    fn ops(&mut self, headers: &[wire::Header]) {
        self.says(Frame::Ops(wire::Ops { ops: headers.iter().map(op).collect() }));
    }

    fn sync(&mut self) {
        self.step(Input::Durable(Ticket(self.tickets)));
    }

    /// Whether it complained since it was asked last.
    fn complains(&mut self) -> bool {
        let bad = |alarm: Alarm| matches!(alarm, Alarm::BadOp(B, _));
        std::mem::take(&mut self.alarms).into_iter().any(bad)
    }

    /// Lets the shard ask for a snapshot; the transfer's number.
    fn asks(&mut self) -> u64 {
        let floor = Some([Dot { origin: of(1), seq: 9 }].into_iter().collect::<Vector>().to_wire());
        self.says(Frame::Hello(wire::ShardHello { vector: floor.clone(), again: true, floor }));
        let ask = self.sent.iter().rev().find_map(|frame| match &frame.frame {
            Some(Frame::SnapshotAsk(ask)) => Some(ask.transfer),
            _ => None,
        });
        ask.expect("the peer's log does not reach back")
    }
}

#[test]
fn an_op_of_another_shards_room_is_refused() {
    let mut a = Alone::new();
    a.ops(&[header(ELSEWHERE, Dot { origin: of(1), seq: 1 }, Bytes::new())]);
    assert!(a.complains() && a.shard.applied().is_empty());
    a.ops(&[header(ROOM, Dot { origin: of(1), seq: 1 }, Bytes::new())]);
    assert!(!a.complains() && a.shard.applied().len() == 1);
}

#[test]
fn more_origins_than_a_vector_may_name_are_refused() {
    let mut a = Alone::new();
    let first = |n: usize| header(ROOM, Dot { origin: of(n as u64), seq: 1 }, Bytes::new());
    for n in 0..ORIGINS_MAX {
        a.ops(&[first(n)]);
    }
    assert!(!a.complains());
    a.ops(&[first(ORIGINS_MAX)]);
    assert!(a.complains());
    assert_eq!(a.shard.applied().len(), ORIGINS_MAX);
    // Who is known may go on.
    let before = op(&first(5)).header;
    let chain = Bytes::copy_from_slice(&chain_hash(&before));
    a.ops(&[header(ROOM, Dot { origin: of(5), seq: 2 }, chain)]);
    assert_eq!(a.shard.applied().get(&of(5)), 2);
}

#[test]
fn ops_with_the_largest_headers_travel_on_in_frames_that_can_be_sent() {
    let mut a = Alone::new();
    a.says(Frame::Hello(wire::ShardHello { again: true, ..Default::default() }));
    let large = |seq, prev, ids: usize| {
        let saw = (0..ids as u64).map(|device| wire::RequestId { stamp: 1, device }).collect();
        wire::Header { saw, ..header(ROOM, Dot { origin: of(1), seq }, prev) }
    };
    // An id takes twenty bytes.
    let fits = limits::HEADER_BYTES_MAX / 20 - 10;
    let first = large(1, Bytes::new(), fits);
    let chain = |header: &wire::Header| Bytes::copy_from_slice(&chain_hash(&op(header).header));
    a.ops(std::slice::from_ref(&first));
    a.ops(&[large(2, chain(&first), fits)]);
    assert!(!a.complains());
    a.ops(&[large(3, Bytes::from_static(&[0; 16]), fits + 20)]);
    assert!(a.complains());
    assert_eq!(a.shard.applied().get(&of(1)), 2);
    a.sync();
    // It has nothing of them, it says, and asks for rows: each frame is checked as it is sent.
    a.says(Frame::SnapshotAsk(wire::SnapshotAsk { transfer: 1, ..Default::default() }));
    assert!(
        a.sent.iter().any(|frame| matches!(&frame.frame, Some(Frame::SnapshotPage(page)) if !page.rows.is_empty()))
    );
}

#[test]
fn a_snapshots_rows_that_do_not_decode_are_refused_before_they_are_kept() {
    let dot = Dot { origin: of(1), seq: 9 };
    let id = RequestId { stamp: Stamp::from_ms(9), device: causeway_protocol::DeviceId(3) };
    let member = |room| Key::Member(room, user("eve"));
    let row = |request: Bytes| wire::RequestRow {
        dots: vec![dot.to_wire()],
        user: "eve".into(),
        request,
        ..Default::default()
    };
    let revoked = |dot| {
        let by = wire::Revocation { dot, ..Default::default() };
        wire::ElementRow { revocations: vec![by], ..Default::default() }.encode_to_vec()
    };
    let far = wire::Dot { origin: Some(of(1).to_wire()), seq: u64::MAX };
    let wrong: Vec<(Key, Vec<u8>)> = vec![
        (Key::Request(ROOM, id), b"\xff".to_vec()),
        (Key::Request(ROOM, id), row(Bytes::from_static(b"\xff")).encode_to_vec()),
        (Key::Request(ROOM, RequestId::MIN), row(request(ROOM, 9)).encode_to_vec()),
        (Key::Request(ROOM, id), wire::RequestRow { user: String::new(), ..row(request(ROOM, 9)) }.encode_to_vec()),
        (Key::Op(ROOM, dot), b"\xff".to_vec()),
        (Key::Op(ROOM, dot), header(ROOM, Dot { seq: 8, ..dot }, Bytes::from_static(&[0; 16])).encode_to_vec()),
        (Key::Register(ROOM, Register::Name), b"\xff".to_vec()),
        (member(ROOM), b"\xff".to_vec()),
        (member(ROOM), revoked(None)),
        (member(ROOM), revoked(Some(far))),
        (member(ELSEWHERE), wire::ElementRow::default().encode_to_vec()),
    ];
    for (key, value) in wrong {
        let mut a = Alone::new();
        let transfer = a.asks();
        let rows = vec![wire::Row { family: key.family() as u32, key: key.encode(), value: value.into() }];
        let vector = Some([dot].into_iter().collect::<Vector>().to_wire());
        a.says(Frame::SnapshotPage(wire::SnapshotPage { transfer, vector, rows, done: true }));
        assert!(a.complains(), "{key:?} is refused");
        assert!(!a.shard.status(Now::default()).merging, "{key:?}: nothing is merged");
        assert_eq!(a.rows.family(Cf::Local).count(), 0, "{key:?}: nothing is kept");
    }
}

#[test]
fn a_snapshot_of_more_origins_than_a_vector_may_name_is_refused() {
    let mut a = Alone::new();
    let transfer = a.asks();
    let vector: Vector = (0..=ORIGINS_MAX as u64).map(|n| Dot { origin: of(n), seq: 1 }).collect();
    let page = wire::SnapshotPage { transfer, vector: Some(vector.to_wire()), rows: Vec::new(), done: true };
    a.says(Frame::SnapshotPage(page));
    assert!(a.complains());
}

#[test]
fn read_markers_stay_within_what_a_vector_may_name() {
    let mut a = Alone::new();
    let mark = |from: u64| {
        let entries = limits::VECTOR_ENTRIES_MAX as u64;
        let vector: Vector = (from..from + entries).map(|n| Dot { origin: of(n), seq: 1 }).collect();
        wire::ReadMark { room: ROOM.to_wire(), user: "eve".into(), vector: Some(vector.to_wire()), flag: None }
    };
    for from in [0, 10_000, 20_000] {
        a.says(Frame::ReadMarks(wire::ReadMarks { marks: vec![mark(from)] }));
    }
    let (_, value) = a.rows.family(Cf::Read).next().expect("the first one is kept");
    let row = wire::ReadRow::decode(value.clone()).unwrap();
    assert_eq!(row.vector.unwrap().entries.len(), limits::VECTOR_ENTRIES_MAX);
}

const _: () = assert!(ORIGINS_MAX * 2 <= limits::VECTOR_ENTRIES_MAX);

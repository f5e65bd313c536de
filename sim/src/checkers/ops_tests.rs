use bytes::Bytes;
use causeway_protocol::{DeviceId, Dot, Message, Origin, RequestId, RoomId, ShardId, SiteId, Stamp, wire};
use causeway_replica::key::Key;
use causeway_replica::view::{Batch, MemView};

use super::Ops;

const SITE: SiteId = SiteId(1);
const ROOM: RoomId = RoomId([0; 16]);

fn dot(site: u16, seq: u64) -> Dot {
    Dot { origin: Origin { site: SiteId(site), node: 0, incarnation: 7 }, seq }
}

fn op(batch: &mut Batch, dot: Dot, stamp: u64, deps: &[Dot], order: u64) {
    let id = RequestId { stamp: Stamp(stamp), device: DeviceId(dot.origin.site.0.into()) };
    let request = wire::Request { id: Some(id.to_wire()), room: ROOM.to_wire(), ..Default::default() };
    let header = wire::Header {
        origin: Some(dot.origin.to_wire()),
        seq: dot.seq,
        stamp,
        deps: deps.iter().map(|dot| dot.to_wire()).collect(),
        request: request.encode_to_vec().into(),
        ..Default::default()
    };
    let put = |batch: &mut Batch, key: Key, value: Vec<u8>| batch.put(key.family(), key.encode(), Bytes::from(value));
    put(batch, Key::Op(ROOM, dot), header.encode_to_vec());
    let row = wire::OrderRow { dot: Some(dot.to_wire()), room: ROOM.to_wire() };
    put(batch, Key::Order(ShardId(0), order), row.encode_to_vec());
    let row = wire::OriginRow { seq: dot.seq, chain: Bytes::new() };
    put(batch, Key::Origin(ShardId(0), dot.origin), row.encode_to_vec());
}

fn written(ops: &mut Ops, build: impl FnOnce(&mut Batch)) -> Result<(), &'static str> {
    let mut batch = Batch::default();
    build(&mut batch);
    let mut view = MemView::default();
    view.apply(&batch);
    ops.written(SITE, dot(1, 1).origin, 1, &batch, &view).map_err(|violation| violation.invariant)
}

#[test]
fn ops_in_order_after_their_causes_are_fine() {
    let mut ops = Ops::default();
    let result = written(&mut ops, |batch| {
        op(batch, dot(2, 1), 10, &[], 0);
        op(batch, dot(3, 1), 11, &[dot(2, 1)], 1);
    });
    assert_eq!(result, Ok(()));
}

#[test]
fn an_op_before_its_cause_is_seen() {
    let result = written(&mut Ops::default(), |batch| {
        op(batch, dot(3, 1), 11, &[dot(2, 1)], 0);
        op(batch, dot(2, 1), 10, &[], 1);
    });
    assert_eq!(result, Err("deps before the op"));
}

#[test]
fn two_ops_for_one_dot_are_seen() {
    let mut ops = Ops::default();
    assert_eq!(written(&mut ops, |batch| op(batch, dot(2, 1), 10, &[], 0)), Ok(()));
    assert_eq!(written(&mut ops, |batch| op(batch, dot(2, 1), 12, &[], 0)), Err("one op a dot, ever"));
}

#[test]
fn a_hole_and_a_clock_that_goes_back_are_seen() {
    let hole = written(&mut Ops::default(), |batch| op(batch, dot(2, 2), 10, &[], 0));
    assert_eq!(hole, Err("applied seqs are 1, 2, 3"));
    let back = written(&mut Ops::default(), |batch| {
        op(batch, dot(2, 1), 10, &[], 0);
        op(batch, dot(2, 2), 10, &[], 1);
    });
    assert_eq!(back, Err("HLC rises strictly per origin"));
}

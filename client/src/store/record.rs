//! A change as bytes: what the file store's log is made of. Tags are never reused.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use causeway_protocol::{Dot, Origin, RequestId, RoomId, Vector};

use crate::machine::{Change, Covers, Position, RequestNo, SavedRequest};

const ADDED: u8 = 1;
const REMOVED: u8 = 2;
const COMMITTED_DOT: u8 = 3;
const COMMITTED_PAGE: u8 = 4;
const COMMITTED_VECTOR: u8 = 5;

/// A record's payload, bytes: a request with the largest body, or a vector with the most entries.
pub(super) const RECORD_BYTES_MAX: usize = 256 << 10;

/// Requests are numbered from 1 on: no client gets there, and a machine can count on from below it.
const NO_MAX: u64 = 1 << 63;

const _: () = {
    use causeway_protocol::limits;
    assert!(limits::BODY_BYTES_MAX + limits::REQUEST_BYTES_MAX + 128 < RECORD_BYTES_MAX);
    assert!(limits::VECTOR_ENTRIES_MAX * (Origin::LEN + 8) + 128 < RECORD_BYTES_MAX);
};

/// Appends a change's record: length, checksum, payload.
pub(super) fn put(change: &Change, out: &mut BytesMut) {
    let start = out.len();
    out.put_u64(0);
    put_payload(change, out);
    let len = out.len() - start - 8;
    let sum = crc32fast::hash(&out[start + 8..]);
    out[start..start + 4].copy_from_slice(&(len as u32).to_be_bytes());
    out[start + 4..start + 8].copy_from_slice(&sum.to_be_bytes());
}

fn put_payload(change: &Change, out: &mut BytesMut) {
    match change {
        Change::Added(saved) => {
            out.put_u8(ADDED);
            out.put_u64(saved.no.0);
            out.put_u64(saved.nonce);
            out.put_slice(&saved.id.to_bytes());
            out.put_slice(&saved.room.0);
            out.put_u32(saved.request.len() as u32);
            out.put_slice(&saved.request);
            out.put_u8(u8::from(saved.body.is_some()));
            out.put_slice(saved.body.as_ref().map_or(&[], |body| body));
        }
        Change::Removed(no) => {
            out.put_u8(REMOVED);
            out.put_u64(no.0);
        }
        Change::Committed(position) => match &position.covers {
            Covers::Dot(dot, id) => {
                out.put_u8(COMMITTED_DOT);
                out.put_slice(&position.room.0);
                put_dot(*dot, out);
                out.put_slice(&id.to_bytes());
            }
            Covers::Page(id) => {
                out.put_u8(COMMITTED_PAGE);
                out.put_slice(&position.room.0);
                out.put_slice(&id.to_bytes());
            }
            Covers::Vector(vector) => put_vector(position.room, vector, out),
            Covers::Nothing => put_vector(position.room, &Vector::new(), out),
        },
    }
}

fn put_vector(room: RoomId, vector: &Vector, out: &mut BytesMut) {
    out.put_u8(COMMITTED_VECTOR);
    out.put_slice(&room.0);
    vector.iter().for_each(|dot| put_dot(dot, out));
}

fn put_dot(dot: Dot, out: &mut BytesMut) {
    out.put_slice(&dot.origin.to_bytes());
    out.put_u64(dot.seq);
}

/// Takes one record off the front. `None`: there is no whole, sound one.
pub(super) fn take(log: &mut Bytes) -> Option<Change> {
    let (len, sum) = (log.get(..4)?, log.get(4..8)?);
    let len = u32::from_be_bytes(len.try_into().ok()?) as usize;
    let sum = u32::from_be_bytes(sum.try_into().ok()?);
    if len > RECORD_BYTES_MAX || log.len() < 8 + len {
        return None;
    }
    let payload = log.slice(8..8 + len);
    if crc32fast::hash(&payload) != sum {
        return None;
    }
    let change = change_of(payload)?;
    log.advance(8 + len);
    Some(change)
}

fn change_of(mut b: Bytes) -> Option<Change> {
    let change = match b.try_get_u8().ok()? {
        ADDED => {
            let no = Some(RequestNo(b.try_get_u64().ok()?)).filter(|no| no.0 < NO_MAX)?;
            let nonce = b.try_get_u64().ok()?;
            let (id, room) = (id_of(&mut b)?, RoomId(array(&mut b)?));
            let len = b.try_get_u32().ok()? as usize;
            let request = (b.len() >= len).then(|| b.split_to(len))?;
            let body = (b.try_get_u8().ok()? != 0).then(|| b.split_to(b.len()));
            Change::Added(SavedRequest { no, nonce, id, room, request, body })
        }
        REMOVED => Change::Removed(RequestNo(b.try_get_u64().ok()?)),
        COMMITTED_DOT => {
            let room = RoomId(array(&mut b)?);
            let covers = Covers::Dot(dot_of(&mut b)?, id_of(&mut b)?);
            Change::Committed(Position { room, covers })
        }
        COMMITTED_PAGE => {
            let room = RoomId(array(&mut b)?);
            Change::Committed(Position { room, covers: Covers::Page(id_of(&mut b)?) })
        }
        COMMITTED_VECTOR => {
            let room = RoomId(array(&mut b)?);
            let mut vector = Vector::new();
            while !b.is_empty() {
                vector.raise(dot_of(&mut b)?);
            }
            Change::Committed(Position { room, covers: Covers::Vector(vector) })
        }
        _ => return None,
    };
    b.is_empty().then_some(change)
}

fn array<const N: usize>(b: &mut Bytes) -> Option<[u8; N]> {
    let bytes = b.get(..N)?.try_into().ok()?;
    b.advance(N);
    Some(bytes)
}

fn id_of(b: &mut Bytes) -> Option<RequestId> {
    array(b).map(RequestId::from_bytes)
}

fn dot_of(b: &mut Bytes) -> Option<Dot> {
    let origin = Origin::from_bytes(array(b)?);
    Some(Dot { origin, seq: b.try_get_u64().ok()? })
}

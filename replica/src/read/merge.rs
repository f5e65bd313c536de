//! The ops of a room beyond a vector, of all origins, merged into causal order.

use std::collections::VecDeque;
use std::ops::ControlFlow::{Break, Continue};

use causeway_protocol::{Dot, Message, Origin, RequestId, RoomId, Stamp, Vector, wire};

use super::rows::{broken, head};
use crate::key::Key;
use crate::view::{Cf, View, ViewError};

/// Ops read from one origin at a time. What a merge holds in memory is at most this many a live origin.
const OPS_PER_SCAN: usize = 64;

/// One op of the merge.
#[derive(Clone, Debug, PartialEq)]
pub struct OpAt {
    /// The accepting site's clock. An op's is above those of all ops that it depends on, so that the order by
    /// stamp is causal.
    pub stamp: Stamp,
    pub dot: Dot,
    pub id: RequestId,
    /// A revocation's.
    pub past: Option<wire::Vector>,
}

/// A k-way merge by stamp over the origins that a room's head says have something.
pub struct Merge<'a> {
    view: &'a dyn View,
    room: RoomId,
    origins: Vec<Ops>,
}

/// What is left of one origin: seqs from `next` to `last`.
struct Ops {
    origin: Origin,
    next: u64,
    last: u64,
    read: VecDeque<OpAt>,
}

impl<'a> Merge<'a> {
    /// The ops of the room that `durable` covers and `cursor` does not.
    pub fn new(view: &'a dyn View, room: &RoomId, durable: &Vector, cursor: &Vector) -> Result<Self, ViewError> {
        let origins = beyond(view, room, durable, cursor)?
            .into_iter()
            .map(|(above, last)| Ops { origin: last.origin, next: above + 1, last: last.seq, read: VecDeque::new() })
            .collect();
        Ok(Self { view, room: *room, origins })
    }

    /// The next op, by stamp.
    pub fn next(&mut self) -> Result<Option<OpAt>, ViewError> {
        for ops in &mut self.origins {
            ops.fill(self.view, &self.room)?;
        }
        self.origins.retain(|ops| !ops.read.is_empty());
        let earliest = self.origins.iter_mut().min_by_key(|ops| ops.read.front().map(|op| (op.stamp, op.dot)));
        Ok(earliest.and_then(|ops| ops.read.pop_front()))
    }
}

impl Ops {
    fn fill(&mut self, view: &dyn View, room: &RoomId) -> Result<(), ViewError> {
        if !self.read.is_empty() || self.next > self.last {
            return Ok(());
        }
        let (start, end) = range(room, self.origin, self.next, self.last);
        let mut failed = None;
        view.scan(Cf::Op, &start, &end, &mut |key, value| match op_at(key, value) {
            Ok(op) => {
                self.next = op.dot.seq.saturating_add(1);
                self.read.push_back(op);
                if self.read.len() < OPS_PER_SCAN { Continue(()) } else { Break(()) }
            }
            Err(e) => {
                failed = Some(e);
                Break(())
            }
        })?;
        if self.read.len() < OPS_PER_SCAN {
            self.next = self.last.saturating_add(1);
        }
        failed.map_or(Ok(()), Err)
    }
}

/// For each origin that has ops of the room beyond `cursor` within `durable`: the seq above which they lie, and
/// the dot up to which.
fn beyond(view: &dyn View, room: &RoomId, durable: &Vector, cursor: &Vector) -> Result<Vec<(u64, Dot)>, ViewError> {
    let Some((_, touch)) = head(view, room)? else { return Ok(Vec::new()) };
    let within = touch.meet(durable);
    Ok(within.iter().filter(|dot| !cursor.covers(dot)).map(|dot| (cursor.get(&dot.origin), dot)).collect())
}

/// How many ops of the room lie beyond `cursor`, counted no further than `ops_max`. Reads keys only.
pub fn count_beyond(
    view: &dyn View,
    room: &RoomId,
    durable: &Vector,
    cursor: &Vector,
    ops_max: usize,
) -> Result<usize, ViewError> {
    let mut count = 0;
    for (above, last) in beyond(view, room, durable, cursor)? {
        let (start, end) = range(room, last.origin, above + 1, last.seq);
        view.scan(Cf::Op, &start, &end, &mut |_, _| {
            count += 1;
            if count < ops_max { Continue(()) } else { Break(()) }
        })?;
        if count >= ops_max {
            break;
        }
    }
    Ok(count)
}

/// An op by its dot, which a request's row names, so that it must be there.
pub fn op(view: &dyn View, room: &RoomId, dot: Dot) -> Result<OpAt, ViewError> {
    let key = Key::Op(*room, dot).encode();
    match view.get(Cf::Op, &key)? {
        Some(header) => op_at(&key, &header),
        None => Err(broken(Cf::Op, format!("{dot:?} of {room:?} is in its request's row, but is not there"))),
    }
}

fn range(room: &RoomId, origin: Origin, first: u64, last: u64) -> (bytes::Bytes, bytes::Bytes) {
    let key = |seq| Key::Op(*room, Dot { origin, seq }).encode();
    (key(first), key(last.saturating_add(1)))
}

fn op_at(key: &[u8], header: &[u8]) -> Result<OpAt, ViewError> {
    let Some(Key::Op(room, dot)) = Key::decode(Cf::Op, key) else { return Err(broken(Cf::Op, "key does not decode")) };
    let named = |e: &dyn ToString| broken(Cf::Op, format!("{dot:?} of {room:?}: {}", e.to_string()));
    let header = wire::Header::decode(header).map_err(|e| named(&e))?;
    let request = wire::Request::decode(header.request).map_err(|e| named(&e))?;
    let id = request.id.as_ref().ok_or_else(|| named(&"its request has no id"))?;
    Ok(OpAt { stamp: Stamp(header.stamp), dot, id: RequestId::from_wire(id), past: header.past })
}

//! Repair (D7): where touch sums are equal and hashes are not, the rows of the bucket are computed again from
//! the ops, which are kept for good and chained. Nothing is taken from the peer, and no op is deleted.

use std::collections::BTreeMap;
use std::ops::ControlFlow::Continue;

use bytes::Bytes;
use causeway_protocol::{Message, RoomId, Vector, wire};

use super::Shard;
use super::digest::{Bucket, canonical_element, canonical_request, element_bucket, request_bucket};
use super::erase::index_was;
use super::release::Pending;
use super::revoke::member_row;
use super::tx::{Tx, corrupt, stored_op};
use crate::io::Outputs;
use crate::key::{Key, prefix_range, shard_rooms_range};
use crate::request::{Op, Request};
use crate::rights;
use crate::view::{Cf, MemView, View, ViewError};

impl Shard {
    /// Repairs one bucket that a peer's digest put in doubt.
    pub(super) fn repair(&mut self, tx: &mut Tx<'_>) -> Result<(), ViewError> {
        // What is not durable may be taken back; what is being merged is not whole.
        if self.applied != self.durable || self.merge.is_some() {
            return Ok(());
        }
        let Some(bucket) = self.repairs.pop_first() else { return Ok(()) };
        for room in self.rooms(tx)? {
            self.rebuild_room(tx, room, bucket)?;
        }
        self.recount(tx, bucket)
    }

    /// Every room of the shard that has an op.
    fn rooms(&self, tx: &Tx<'_>) -> Result<Vec<RoomId>, ViewError> {
        let (mut start, end) = shard_rooms_range(self.config.shard, self.config.shard_count);
        let mut rooms = Vec::new();
        loop {
            let mut found = None;
            tx.overlay().scan(Cf::Op, &start, &end, &mut |key, _| {
                found = key.get(..RoomId::LEN).and_then(|room| RoomId::from_wire(room).ok());
                std::ops::ControlFlow::Break(())
            })?;
            let Some(room) = found else { return Ok(rooms) };
            rooms.push(room);
            start = prefix_range(&room.0).1;
        }
    }

    /// Computes a room's rows from its ops, and writes those of the bucket that differ.
    fn rebuild_room(&mut self, tx: &mut Tx<'_>, room: RoomId, bucket: u16) -> Result<(), ViewError> {
        let rebuilt = self.replay(tx, room, None)?;
        let in_bucket = |key: &Key| match key {
            Key::Request(room, id) => request_bucket(room, *id) == bucket,
            _ => element_bucket(&room) == bucket,
        };
        for cf in [Cf::Element, Cf::Request] {
            let (start, end) = prefix_range(&room.0);
            let mut rows: BTreeMap<Bytes, (Option<Bytes>, Option<Bytes>)> = BTreeMap::new();
            tx.overlay().scan(cf, &start, &end, &mut |key, value| {
                rows.entry(Bytes::copy_from_slice(key)).or_default().0 = Some(Bytes::copy_from_slice(value));
                Continue(())
            })?;
            rebuilt.scan(cf, &start, &end, &mut |key, value| {
                rows.entry(Bytes::copy_from_slice(key)).or_default().1 = Some(Bytes::copy_from_slice(value));
                Continue(())
            })?;
            for (bytes, (stored, right)) in rows {
                let key = Key::decode(cf, &bytes).ok_or_else(|| corrupt(cf, "key does not decode"))?;
                if !in_bucket(&key) || stored == right {
                    continue;
                }
                match right {
                    Some(right) => tx.put_bytes(&key, with_body(cf, stored.as_ref(), right)),
                    None => tx.delete(&key),
                }
                match &key {
                    Key::Member(_, user) => {
                        self.index_member(tx, &room, user)?;
                        self.release.push(Pending::Invitations(user.clone()));
                        let row = member_row(tx, room, user)?;
                        if rights::erasures_of(&row).next().is_some() {
                            self.plan_erasure(tx, room, user)?;
                        }
                        if !row.grants.is_empty() {
                            tx.put_bytes(&Key::RoleHolder(room, user.clone()), Bytes::new());
                        }
                    }
                    Key::Invited(_, user) => {
                        let row = tx.get(&key)?.unwrap_or_default();
                        self.index_invited(tx, &room, user, &row);
                    }
                    Key::Redaction(_, target, user) => self.plan_purge(tx, room, *target, user),
                    Key::Register(_, register) => {
                        let row = tx.get(&key)?;
                        self.copy_register(tx, &room, *register, row.as_ref())?;
                    }
                    Key::Request(..) => {
                        if let Some(row) = tx.get::<wire::RequestRow>(&key)?
                            && let Ok(request) = Request::decode(&row.request)
                        {
                            self.plan_expiry(tx, &request, &row, 0);
                            index_was(tx, &request, &row.user)?;
                        }
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// The rows that a room's ops make, applied in the order of their sites' clocks, which respects causality.
    /// `within`: only ops that it covers.
    pub(super) fn replay(&self, tx: &Tx<'_>, room: RoomId, within: Option<&Vector>) -> Result<MemView, ViewError> {
        let (start, end) = prefix_range(&room.0);
        let mut headers = Vec::new();
        tx.overlay().scan(Cf::Op, &start, &end, &mut |_, value| {
            headers.push(Bytes::copy_from_slice(value));
            Continue(())
        })?;
        let mut ops =
            headers.into_iter().map(|header| stored_op(self.config.shard, header)).collect::<Result<Vec<Op>, _>>()?;
        ops.retain(|op| within.is_none_or(|within| within.covers(&op.dot)));
        ops.sort_by_key(|op| (op.stamp, op.dot));
        let mut scratch = Shard::open(self.config.clone(), &MemView::default(), tx.now)?;
        let mut rows = MemView::default();
        for op in ops {
            let mut out = Outputs::default();
            let mut scratch_tx = Tx::new(tx.now, &rows, &mut out);
            // A revocation looks for what was done beyond its past among the ops that are applied.
            scratch.applied.raise(op.dot);
            scratch_tx.put_bytes(&Key::Op(room, op.dot), op.header.clone());
            let member = member_row(&scratch_tx, room, &op.user)?;
            scratch.apply_request(&mut scratch_tx, &op, &member)?;
            rows.apply(&out.batch);
        }
        Ok(rows)
    }

    /// Counts a bucket's sum again from its rows.
    fn recount(&mut self, tx: &mut Tx<'_>, number: u16) -> Result<(), ViewError> {
        self.set_bucket(tx, number, Bucket { hash: 0, ..self.buckets.get(number) });
        let (start, end) = shard_rooms_range(self.config.shard, self.config.shard_count);
        for cf in [Cf::Element, Cf::Request] {
            let mut rows = Vec::new();
            tx.overlay().scan(cf, &start, &end, &mut |key, value| {
                match Key::decode(cf, key) {
                    Some(Key::Request(room, id)) if request_bucket(&room, id) == number => {
                        let row = wire::RequestRow::decode(value).unwrap_or_default();
                        rows.push((Key::Request(room, id), canonical_request(&row)));
                    }
                    Some(element) if element.element_room().is_some_and(|room| element_bucket(&room) == number) => {
                        let value = match element {
                            Key::Register(..) => Bytes::copy_from_slice(value),
                            _ => canonical_element(&wire::ElementRow::decode(value).unwrap_or_default()),
                        };
                        rows.push((element, value));
                    }
                    _ => {}
                }
                Continue(())
            })?;
            for (key, value) in rows {
                self.account(tx, number, &key, None, Some(&value));
            }
        }
        Ok(())
    }
}

/// Bodies are not in the ops: a rebuilt request keeps the stored one, where it is the right one.
fn with_body(cf: Cf, stored: Option<&Bytes>, right: Bytes) -> Bytes {
    if cf != Cf::Request {
        return right;
    }
    let stored = stored.and_then(|value| wire::RequestRow::decode(value.clone()).ok());
    let Ok(mut row) = wire::RequestRow::decode(right.clone()) else { return right };
    row.body = stored.filter(|stored| stored.hash == row.hash).and_then(|stored| stored.body);
    row.encode_to_vec().into()
}

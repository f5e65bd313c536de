//! Snapshots (D6): where a log does not reach back, a site takes a peer's rows and merges them with its own.
//!
//! The peer serves pages of rows while nothing of its shard is unsynced, so that a page shows nothing that a
//! power failure could undo. The asker stages them, trimmed to the vector of the first page; what is later
//! than that comes by the log. When all are staged it merges room by room: first the elements, by D4's rule,
//! which asks the request rows of both sides, then the request rows themselves. Each chunk and its progress
//! are one batch. The vector joins in the last one, and until then the shard serves nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow::{Break, Continue};

use bytes::{BufMut, Bytes, BytesMut};
use causeway_protocol::wire::shard_frame::Frame;
use causeway_protocol::{
    DecodeError, Dot, Message, Origin, RequestId, RoomId, SiteId, Stamp, UserId, Vector, limits, wire,
};

use super::apply::{add_dot, note_request};
use super::erase::index_was;
use super::peers::Checked;
use super::redact::keys_of;
use super::release::Pending;
use super::revoke::member_row;
use super::sound::{sound_element, sound_request};
use super::tx::{Tx, corrupt, decode_row};
use super::{Shard, timers};
use crate::crdt;
use crate::io::Output;
use crate::key::{Key, prefix_range, shard_rooms_range, staged_range};
use crate::request::{Op, Request, chain_hash};
use crate::view::{Cf, View, ViewError};

/// The families that travel, in the order of their numbers, so that a row's place compares as bytes do.
const FAMILIES: [Cf; 3] = [Cf::Op, Cf::Request, Cf::Element];

/// Bytes of a page's rows: with its vector they must fit into a frame.
const ROWS_BYTES_MAX: usize = limits::FRAME_BYTES_MAX - limits::VECTOR_ENTRIES_MAX * 32 - 1_024;

/// A page that a peer waits for.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    transfer: u64,
    after: Bytes,
    /// What the transfer is of, from its second page on.
    vector: Option<Vector>,
}

/// A snapshot that is arriving or being merged here.
pub(super) struct Merging {
    from: SiteId,
    transfer: u64,
    /// What the rows hold at least; known from the first page.
    vector: Option<Vector>,
    after: Bytes,
    asked_ms: u64,
    /// All rows are staged: the merge goes on by itself, after a restart too.
    pub complete: bool,
    /// The room that is being merged, and whether its elements are done.
    room: Option<RoomId>,
    requests: bool,
}

impl Merging {
    pub fn to_wire(&self) -> wire::Merge {
        wire::Merge {
            vector: self.vector.as_ref().map(Vector::to_wire),
            complete: self.complete,
            room: self.room.map_or_else(Bytes::new, RoomId::to_wire),
            requests: self.requests,
        }
    }

    /// After a restart. What was not complete is dropped: live rows are untouched by staging.
    pub fn from_wire(w: &wire::Merge, own: SiteId) -> Result<Option<Self>, DecodeError> {
        if !w.complete {
            return Ok(None);
        }
        Ok(Some(Self {
            from: own,
            transfer: 0,
            vector: Some(Vector::from_wire_opt(w.vector.as_ref())?),
            after: Bytes::new(),
            asked_ms: 0,
            complete: true,
            room: (!w.room.is_empty()).then(|| RoomId::from_wire(&w.room)).transpose()?,
            requests: w.requests,
        }))
    }
}

/// Serving.
impl Shard {
    pub(super) fn on_snapshot_ask(
        &mut self,
        tx: &mut Tx<'_>,
        from: SiteId,
        ask: wire::SnapshotAsk,
    ) -> Result<(), ViewError> {
        if let Some(peer) = self.peers.get_mut(&from) {
            let vector = ask.vector.as_ref().and_then(|vector| Vector::from_wire(vector).ok());
            if vector.as_ref().is_some_and(|vector| !self.durable.covers_all(vector)) {
                return Ok(()); // A transfer that an earlier life of this store began.
            }
            peer.ask = Some(Ask { transfer: ask.transfer, after: ask.after, vector });
        }
        self.serve_snapshot_asks(tx)
    }

    /// A page shows only what is durable: it waits until all is. Meanwhile new work is stalled.
    pub(super) fn serve_snapshot_asks(&mut self, tx: &mut Tx<'_>) -> Result<(), ViewError> {
        let quiet = self.applied == self.durable && self.merge.as_ref().is_none_or(|m| !m.complete);
        let asking: Vec<SiteId> = self.peers.iter().filter(|(_, p)| p.ask.is_some()).map(|(site, _)| *site).collect();
        if !quiet {
            return Ok(());
        }
        for site in asking {
            let Some(ask) = self.peers.get_mut(&site).and_then(|peer| peer.ask.take()) else { continue };
            let page = self.page(tx, &ask)?;
            self.counters.snapshot_rows_sent += page.rows.len() as u64;
            tx.emit(Output::ToPeer(site, self.config.frame(Frame::SnapshotPage(page))));
        }
        Ok(())
    }

    /// Whether somebody waits for a page: new writes must wait until it is served.
    pub(super) fn stalls(&self) -> bool {
        self.applied != self.durable && self.peers.values().any(|peer| peer.ask.is_some())
    }

    fn page(&self, tx: &Tx<'_>, ask: &Ask) -> Result<wire::SnapshotPage, ViewError> {
        let mut page = wire::SnapshotPage {
            transfer: ask.transfer,
            vector: Some(ask.vector.as_ref().unwrap_or(&self.durable).to_wire()),
            rows: Vec::new(),
            done: true,
        };
        let (start, end) = shard_rooms_range(self.config.shard, self.config.shard_count);
        let mut bytes = 0;
        for cf in FAMILIES {
            let from = match ask.after.split_first() {
                Some((family, key)) if *family == cf as u8 => after_key(key),
                Some((family, _)) if *family > cf as u8 => continue,
                _ => start.clone(),
            };
            let mut push = |key: &[u8], value: &[u8]| {
                bytes += key.len() + value.len() + 16;
                if bytes > ROWS_BYTES_MAX && !page.rows.is_empty() {
                    page.done = false;
                    return Break(());
                }
                page.rows.push(wire::Row {
                    family: cf as u32,
                    key: Bytes::copy_from_slice(key),
                    value: Bytes::copy_from_slice(value),
                });
                page.done = bytes < self.bounds.page_bytes_max;
                if page.done { Continue(()) } else { Break(()) }
            };
            if cf == Cf::Element {
                self.element_rows_of(tx, ask.vector.as_ref(), &from, &end, &mut push)?;
            } else {
                tx.overlay().scan(cf, &from, &end, &mut push)?;
            }
            if !page.done {
                break;
            }
        }
        Ok(page)
    }

    /// Element rows as a transfer's vector has them. Ops and requests name their dots, so that the asker can leave
    /// out what is later than the transfer; an element does not say what is missing from it. So a room that was
    /// written since the transfer began is computed again from the ops that the transfer has.
    fn element_rows_of(
        &self,
        tx: &Tx<'_>,
        vector: Option<&Vector>,
        from: &Bytes,
        end: &Bytes,
        push: &mut crate::view::Visit<'_>,
    ) -> Result<(), ViewError> {
        let Some(vector) = vector else { return tx.overlay().scan(Cf::Element, from, end, push) };
        let room_of = |key: &[u8]| key.get(..RoomId::LEN).and_then(|room| RoomId::from_wire(room).ok());
        let mut from = from.clone();
        // The last page may have ended in the middle of a room of which nothing further is left now.
        let mut room = room_of(&from);
        loop {
            if room.is_none() {
                tx.overlay().scan(Cf::Element, &from, end, &mut |key, _| {
                    room = room_of(key);
                    Break(())
                })?;
            }
            let Some(room) = room.take() else { return Ok(()) };
            let room_end = prefix_range(&room.0).1;
            let mut full = false;
            let mut visit = |key: &[u8], value: &[u8]| {
                let flow = push(key, value);
                full = flow.is_break();
                flow
            };
            let head: wire::HeadRow = tx.get(&Key::Head(room))?.unwrap_or_default();
            let touch = Vector::from_wire_opt(head.touch.as_ref()).unwrap_or_default();
            if vector.covers_all(&touch) {
                tx.overlay().scan(Cf::Element, &from, &room_end, &mut visit)?;
            } else {
                self.replay(tx, room, Some(vector))?.scan(Cf::Element, &from, &room_end, &mut visit)?;
            }
            if full {
                return Ok(());
            }
            from = room_end;
        }
    }
}

fn after_key(key: &[u8]) -> Bytes {
    let mut next = BytesMut::with_capacity(key.len() + 1);
    next.put_slice(key);
    next.put_u8(0);
    next.freeze()
}

/// Receiving.
impl Shard {
    /// Starts a transfer where the peer's log does not reach back to us, and no other peer's can.
    pub(super) fn maybe_ask_snapshot(&mut self, tx: &mut Tx<'_>, site: SiteId) {
        if self.merge.is_some() {
            return;
        }
        let Some(peer) = self.peers.get(&site).filter(|peer| peer.hello) else { return };
        let others_can = self.peers.iter().any(|(other, p)| {
            *other != site && p.hello && self.applied.covers_all(&p.floor) && p.acked.covers_all(&peer.floor)
        });
        if self.applied.covers_all(&peer.floor) || others_can {
            return;
        }
        self.transfers += 1;
        self.merge = Some(Merging {
            from: site,
            transfer: tx.now.wall_ms.wrapping_mul(1 << 16).wrapping_add(self.transfers),
            vector: None,
            after: Bytes::new(),
            asked_ms: tx.now.mono_ms,
            complete: false,
            room: None,
            requests: false,
        });
        self.clear_staged(tx);
        self.ask_page(tx);
    }

    /// The link to a peer ends or begins: what it was sending is no whole any more. It may have lost its disk since.
    pub(super) fn abandon_transfer(&mut self, site: SiteId) {
        self.merge.take_if(|merge| merge.from == site && !merge.complete);
    }

    fn clear_staged(&self, tx: &mut Tx<'_>) {
        for cf in Cf::ALL {
            let (start, end) = staged_range(self.config.shard, cf);
            let mut any = false;
            let seen = tx.overlay().scan(Cf::Local, &start, &end, &mut |_, _| {
                any = true;
                Break(())
            });
            if seen.is_err() || any {
                tx.delete_range(Cf::Local, start, end);
            }
        }
    }

    fn ask_page(&mut self, tx: &mut Tx<'_>) {
        let Some(merge) = &mut self.merge else { return };
        merge.asked_ms = tx.now.mono_ms;
        let vector = merge.vector.as_ref().map(Vector::to_wire);
        let ask = wire::SnapshotAsk { transfer: merge.transfer, after: merge.after.clone(), vector };
        tx.emit(Output::ToPeer(merge.from, self.config.frame(Frame::SnapshotAsk(ask))));
    }

    pub(super) fn on_snapshot_page(&mut self, tx: &mut Tx<'_>, from: SiteId, page: wire::SnapshotPage) -> Checked {
        let wanted = |m: &&mut Merging| m.from == from && m.transfer == page.transfer && !m.complete;
        let Some(merge) = self.merge.as_mut().filter(wanted) else { return Ok(Ok(())) };
        let after = merge.after.clone();
        if page.rows.first().is_some_and(|row| row_place(row) <= after) {
            return Ok(Ok(())); // A page that came twice.
        }
        let spare = super::peers::ORIGINS_MAX.saturating_sub(self.applied.len());
        let vector = match (&merge.vector, Vector::from_wire_opt(page.vector.as_ref())) {
            (Some(vector), _) => vector.clone(),
            (None, Ok(vector)) if vector.iter().filter(|dot| self.applied.get(&dot.origin) == 0).count() > spare => {
                return Ok(Err(DecodeError::TooLong { field: "origins", max: spare, got: vector.len() }));
            }
            (None, Ok(vector)) => vector,
            (None, Err(e)) => return Ok(Err(e)),
        };
        merge.vector = Some(vector.clone());
        if let Some(last) = page.rows.last() {
            merge.after = row_place(last);
        }
        merge.complete = page.done;
        for row in page.rows {
            if let Err(e) = self.stage(tx, &vector, row) {
                self.merge = None;
                return Ok(Err(e));
            }
        }
        if page.done {
            self.write_shard_row(tx);
            self.set_ready(tx, false);
            Ok(Ok(()))
        } else {
            self.ask_page(tx);
            Ok(Ok(()))
        }
    }

    /// Keeps a row of a page, trimmed to the transfer's vector. What does not decode is refused here: once it is staged,
    /// the merge must not fail on it.
    fn stage(&self, tx: &mut Tx<'_>, vector: &Vector, row: wire::Row) -> Result<(), DecodeError> {
        let shard = self.config.shard;
        let range = DecodeError::Range { field: "snapshot.row" };
        let cf = Cf::from_number(row.family).filter(|cf| FAMILIES.contains(cf)).ok_or(range.clone())?;
        let key = Key::decode(cf, &row.key).ok_or(range.clone())?;
        let got = row.key.len() + row.value.len();
        if got > ROWS_BYTES_MAX - 16 {
            return Err(DecodeError::TooLong { field: "snapshot.row", max: ROWS_BYTES_MAX - 16, got });
        }
        let (start, end) = shard_rooms_range(shard, self.config.shard_count);
        if row.key < start || row.key >= end {
            return Err(range);
        }
        let value = match &key {
            Key::Request(room, id) => {
                let mut request = sound_request(room, *id, row.value)?;
                request.dots.retain(|dot| Dot::from_wire(dot).is_ok_and(|dot| vector.covers(&dot)));
                // Decided anew here, by what both sides know.
                request.hidden_dots.clear();
                if request.dots.is_empty() {
                    return Ok(());
                }
                request.encode_to_vec().into()
            }
            Key::Op(_, dot) if !vector.covers(dot) => return Ok(()),
            Key::Op(room, dot) => {
                let op = Op::decode(shard, row.value.clone(), None)?;
                if op.dot != *dot || op.request.room != *room {
                    return Err(range);
                }
                if dot.seq == vector.get(&dot.origin) {
                    let chain = Bytes::copy_from_slice(&chain_hash(&row.value));
                    let origin = Bytes::copy_from_slice(&dot.origin.to_bytes());
                    tx.put(&Key::Staged(shard, Cf::Meta, origin), &wire::OriginRow { seq: dot.seq, chain });
                }
                row.value
            }
            Key::Register(..) => {
                let register = wire::RegisterRow::decode(row.value.clone());
                register.map_err(|e| DecodeError::malformed("register row", &e))?;
                row.value
            }
            element if element.element_room().is_some() => {
                sound_element(row.value.clone())?;
                row.value
            }
            _ => return Err(range),
        };
        tx.put_bytes(&Key::Staged(shard, cf, row.key), value);
        Ok(())
    }

    /// Asks again where a page did not come, gives up where the link is gone, merges on where all is staged.
    pub(super) fn tick_merge(&mut self, tx: &mut Tx<'_>) -> Result<(), ViewError> {
        let Some(merge) = &self.merge else {
            let sites: Vec<SiteId> = self.peers.keys().copied().collect();
            sites.into_iter().for_each(|site| self.maybe_ask_snapshot(tx, site));
            return Ok(());
        };
        if merge.complete {
            return self.merge_step(tx);
        }
        if !self.peers.get(&merge.from).is_some_and(|peer| peer.hello) {
            self.merge = None;
            self.clear_staged(tx);
        } else if tx.now.mono_ms >= merge.asked_ms + timers::PAGE_RETRY_MS {
            self.ask_page(tx);
        }
        Ok(())
    }

    /// The time of the next `tick_merge`, where one is needed.
    pub(super) fn merge_timer(&self) -> Option<u64> {
        self.merge.as_ref().map(|m| if m.complete { 0 } else { m.asked_ms + timers::PAGE_RETRY_MS })
    }

    /// One chunk: a room's elements, or some of its requests, or the end.
    fn merge_step(&mut self, tx: &mut Tx<'_>) -> Result<(), ViewError> {
        let Some(merge) = &self.merge else { return Ok(()) };
        match (merge.room, merge.requests) {
            (Some(room), true) => {
                if self.merge_requests(tx, &room)? {
                    self.enter_room(tx)?;
                }
            }
            (Some(room), false) => {
                self.merge_elements(tx, &room)?;
                if let Some(merge) = &mut self.merge {
                    merge.requests = true;
                }
            }
            (None, _) => self.enter_room(tx)?,
        }
        if self.merge.is_some() {
            self.write_shard_row(tx);
        }
        Ok(())
    }

    /// The next room with staged rows; without one the merge is done.
    fn enter_room(&mut self, tx: &mut Tx<'_>) -> Result<(), ViewError> {
        let mut next: Option<RoomId> = None;
        for cf in FAMILIES {
            let (start, end) = staged_range(self.config.shard, cf);
            tx.overlay().scan(Cf::Local, &start, &end, &mut |key, _| {
                let room = key.get(start.len()..start.len() + RoomId::LEN).and_then(|b| RoomId::from_wire(b).ok());
                next = match (next, room) {
                    (Some(a), Some(b)) => Some(a.min(b)),
                    (a, b) => a.or(b),
                };
                Break(())
            })?;
        }
        match (next, &mut self.merge) {
            (Some(_), Some(merge)) => {
                merge.room = next;
                merge.requests = false;
                Ok(())
            }
            _ => self.finish_merge(tx),
        }
    }

    fn staged_room(&self, cf: Cf, room: &RoomId) -> (Bytes, Bytes) {
        prefix_range(&Key::Staged(self.config.shard, cf, room.to_wire()).encode())
    }

    fn merge_elements(&mut self, tx: &mut Tx<'_>, room: &RoomId) -> Result<(), ViewError> {
        let staged = self.staged_room(Cf::Element, room);
        let skip = staged_range(self.config.shard, Cf::Element).0.len();
        let theirs = rows_of(tx, Cf::Local, &staged, skip)?;
        let mut keys: BTreeSet<Bytes> =
            keys_of(&tx.overlay(), Cf::Element, &prefix_range(&room.0))?.into_iter().collect();
        keys.extend(theirs.keys().cloned());
        for bytes in &keys {
            let key = Key::decode(Cf::Element, bytes).ok_or_else(|| corrupt(Cf::Element, "key does not decode"))?;
            // Read now: a revocation that came with an earlier row may have changed this one.
            let (mine, theirs) = (tx.get_bytes(&key)?, theirs.get(bytes).cloned());
            match &key {
                Key::Register(..) => self.merge_register_row(tx, room, &key, mine, theirs)?,
                _ => self.merge_element_row(tx, room, &key, mine, theirs)?,
            }
            match &key {
                Key::Member(_, user) => self.index_member(tx, room, user)?,
                Key::Redaction(_, target, user) if tx.get_bytes(&key)?.is_some() => {
                    self.plan_purge(tx, *room, *target, user);
                }
                _ => {}
            }
        }
        tx.delete_range(Cf::Local, staged.0, staged.1);
        Ok(())
    }

    fn merge_element_row(
        &mut self,
        tx: &mut Tx<'_>,
        room: &RoomId,
        key: &Key,
        mine: Option<Bytes>,
        theirs: Option<Bytes>,
    ) -> Result<(), ViewError> {
        let row = |value: Option<Bytes>| -> Result<wire::ElementRow, ViewError> {
            value.map_or(Ok(wire::ElementRow::default()), |v| decode_row(Cf::Element, v))
        };
        let (mine, theirs) = (row(mine)?, row(theirs)?);
        let shard = self.config.shard;
        let known = |id: RequestId| tx.get_bytes(&Key::Request(*room, id)).map(|row| row.is_some());
        let staged = |id: RequestId| {
            let key = Key::Request(*room, id).encode();
            tx.get_bytes(&Key::Staged(shard, Cf::Request, key)).map(|row| row.is_some())
        };
        let mut knowledge: BTreeMap<RequestId, (bool, bool)> = BTreeMap::new();
        for tag in crdt::tags(&mine).chain(crdt::tags(&theirs)) {
            knowledge.insert(tag, (known(tag)?, staged(tag)?));
        }
        let union = self.sabotaged(crate::Sabotage::UnionAtRejoin);
        let i_know = |id| !union && knowledge.get(&id).is_some_and(|(mine, _)| *mine);
        let they_know = |id| knowledge.get(&id).is_some_and(|(_, theirs)| *theirs);
        let merged = if union {
            let mut merged = mine.clone();
            crdt::tags(&theirs).filter(|id| they_know(*id)).for_each(|id| {
                crdt::add_tag(&mut merged, id, false);
            });
            merged
        } else {
            crdt::merge_element(&mine, &theirs, i_know, they_know)
        };
        if merged != mine {
            self.put_element(tx, room, key, &mine, &merged);
        }
        if let Key::Member(_, user) = key {
            for by in merged.revocations.iter().filter(|by| mine.revocations.iter().all(|known| known.dot != by.dot)) {
                self.hide_done(tx, *room, user, by)?;
                if by.erases {
                    self.plan_erasure(tx, *room, user)?;
                }
            }
        }
        Ok(())
    }

    fn merge_register_row(
        &mut self,
        tx: &mut Tx<'_>,
        room: &RoomId,
        key: &Key,
        mine: Option<Bytes>,
        theirs: Option<Bytes>,
    ) -> Result<(), ViewError> {
        let mut row: Option<wire::RegisterRow> = mine.map(|v| decode_row(Cf::Element, v)).transpose()?;
        let old = row.clone();
        let Some(theirs) = theirs else { return Ok(()) };
        if crdt::merge_register(&mut row, &decode_row(Cf::Element, theirs)?) {
            self.put_register(tx, room, key, old.as_ref(), row.as_ref())?;
        }
        Ok(())
    }

    /// Some of a room's request rows and ops; `true` when none is left.
    fn merge_requests(&mut self, tx: &mut Tx<'_>, room: &RoomId) -> Result<bool, ViewError> {
        for cf in [Cf::Request, Cf::Op] {
            let range = self.staged_room(cf, room);
            let skip = staged_range(self.config.shard, cf).0.len();
            let rows = some_rows_of(tx, Cf::Local, &range, skip, self.bounds.merge_rows_max)?;
            if rows.is_empty() {
                continue;
            }
            for (bytes, value) in rows {
                let key = Key::decode(cf, &bytes).ok_or_else(|| corrupt(cf, "key does not decode"))?;
                match &key {
                    Key::Op(..) if tx.get_bytes(&key)?.is_none() => {
                        // What we write from now on is later than what we merged.
                        let header: wire::Header = decode_row(cf, value.clone())?;
                        self.hlc.observe(Stamp(header.stamp));
                        tx.put_bytes(&key, value);
                    }
                    Key::Request(room, id) => self.merge_request_row(tx, room, *id, decode_row(cf, value)?)?,
                    _ => {}
                }
                tx.delete(&Key::Staged(self.config.shard, cf, bytes));
            }
            return Ok(false);
        }
        Ok(true)
    }

    fn merge_request_row(
        &mut self,
        tx: &mut Tx<'_>,
        room: &RoomId,
        id: RequestId,
        theirs: wire::RequestRow,
    ) -> Result<(), ViewError> {
        let key = Key::Request(*room, id);
        let old: Option<wire::RequestRow> = tx.get(&key)?;
        let old_dots = old.as_ref().map_or(&[][..], |row| &row.dots);
        let new_dots: Vec<Dot> = theirs
            .dots
            .iter()
            .filter(|dot| !old_dots.contains(dot))
            .filter_map(|dot| Dot::from_wire(dot).ok())
            .collect();
        let mut row = old.clone().unwrap_or_else(|| wire::RequestRow { dots: Vec::new(), ..theirs.clone() });
        new_dots.iter().for_each(|dot| add_dot(&mut row, *dot));
        merge_contents(&mut row, &theirs);
        let before = old.as_ref().map_or(0, |old| old.deadline_ms);
        if [row.deadline_ms, theirs.deadline_ms, before].iter().any(|deadline_ms| *deadline_ms != 0) {
            row.deadline_ms = self.least_deadline(tx, room, &row.dots)?;
        }
        let request = Request::decode(&row.request).map_err(|e| corrupt(Cf::Request, e.to_string()))?;
        let user = UserId::new(&row.user).map_err(|e| corrupt(Cf::Request, e.to_string()))?;
        let is_gone =
            self.is_redacted(tx, &request, &user)? || self.is_expired(tx, &request, &user, row.deadline_ms)?;
        let member = member_row(tx, *room, &user)?;
        if row.body.is_some() && (is_gone || self.is_erased_row(tx, &member, *room, &row)?) {
            row.body = None;
        }
        self.settle_merged(tx, &request, &user, &mut row)?;
        self.put_request(tx, &request, old.as_ref(), &row);
        let head_key = Key::Head(*room);
        let mut head: wire::HeadRow = tx.get(&head_key)?.unwrap_or_default();
        if old.is_none() {
            note_request(&mut head, &request);
            index_was(tx, &request, &row.user)?;
        }
        let mut touch = Vector::from_wire_opt(head.touch.as_ref()).unwrap_or_default();
        for dot in new_dots {
            self.touch(tx, &request, dot);
            touch.raise(dot);
        }
        head.touch = Some(touch.to_wire());
        tx.put(&head_key, &head);
        Ok(())
    }

    /// The switch: the vector joins, the log's floor rises, and the shard serves again.
    fn finish_merge(&mut self, tx: &mut Tx<'_>) -> Result<(), ViewError> {
        let shard = self.config.shard;
        let Some(vector) = self.merge.take().and_then(|merge| merge.vector) else { return Ok(()) };
        let range = staged_range(shard, Cf::Meta);
        for (bytes, value) in rows_of(tx, Cf::Local, &range, range.0.len())? {
            let row: wire::OriginRow = decode_row(Cf::Local, value)?;
            let origin = bytes[..].try_into().map(Origin::from_bytes).map_err(|_| corrupt(Cf::Local, "no origin"))?;
            if row.seq <= self.applied.get(&origin) {
                continue;
            }
            let dot = Dot { origin, seq: row.seq };
            self.applied.raise(dot);
            self.floor.raise(dot);
            if let Ok(chain) = row.chain[..].try_into() {
                self.chains.insert(origin, chain);
            }
            tx.put(&Key::Origin(shard, origin), &row);
        }
        self.counters.snapshots_merged += 1;
        self.hlc.mint(tx.now.wall_ms);
        self.clear_staged(tx);
        self.write_shard_row(tx);
        self.merge_unsynced = true;
        self.release.push(Pending::Merged(vector.meet(&self.applied)));
        self.apply_waiting(tx)?;
        self.after_merge(tx);
        Ok(())
    }
}

/// A row's place in a transfer: its family, then its key.
fn row_place(row: &wire::Row) -> Bytes {
    let mut place = BytesMut::with_capacity(1 + row.key.len());
    place.put_u8(row.family as u8);
    place.put_slice(&row.key);
    place.freeze()
}

/// Takes over what another site's copy of a row has: the least hash's content, all hashes, the body.
fn merge_contents(row: &mut wire::RequestRow, theirs: &wire::RequestRow) {
    let mut hashes: Vec<Bytes> =
        row.also.iter().chain(&theirs.also).chain([&row.hash, &theirs.hash]).cloned().collect();
    hashes.sort();
    hashes.dedup();
    if theirs.hash < row.hash {
        let dots = std::mem::take(&mut row.dots);
        *row = wire::RequestRow { dots, ..theirs.clone() };
    } else if theirs.hash == row.hash && row.body.is_none() {
        row.body = theirs.body.clone();
    }
    hashes.retain(|hash| *hash != row.hash);
    row.also = hashes;
}

type Found = BTreeMap<Bytes, Bytes>;

fn rows_of(tx: &Tx<'_>, cf: Cf, range: &(Bytes, Bytes), skip: usize) -> Result<Found, ViewError> {
    some_rows_of(tx, cf, range, skip, usize::MAX)
}

/// Rows of a range, their keys without the first `skip` bytes.
fn some_rows_of(
    tx: &Tx<'_>,
    cf: Cf,
    (start, end): &(Bytes, Bytes),
    skip: usize,
    max: usize,
) -> Result<Found, ViewError> {
    let mut rows = Found::new();
    tx.overlay().scan(cf, start, end, &mut |key, value| {
        rows.insert(Bytes::copy_from_slice(&key[skip..]), Bytes::copy_from_slice(value));
        if rows.len() < max { Continue(()) } else { Break(()) }
    })?;
    Ok(rows)
}

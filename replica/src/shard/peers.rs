//! Links to the other sites (D5): each streams, in this node's apply order, what the peer lacks.
//!
//! A link has two lanes. Ops that this site accepted go at once. Ops of other sites are held back for a
//! moment, since they usually come to the peer straight from their origin; they are forwarded for the case
//! that the origin died after reaching only us. Frames may be lost, doubled or reordered: the receiver gates,
//! and asks again; the sender rewinds to what was acknowledged.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use causeway_protocol::{DecodeError, Dot, SiteId, Vector, limits, wire, wire::shard_frame::Frame};

use super::snapshot::Ask;
use super::tx::{Tx, corrupt, stored_op};
use super::{Shard, timers};
use crate::io::{Alarm, Output};
use crate::key::Key;
use crate::request::{Op, Request, chain_hash};
use crate::view::{Cf, ViewError};

/// Origins that other sites' ops may bring: half of what a vector may name, so that our own starts always fit.
pub(super) const ORIGINS_MAX: usize = limits::VECTOR_ENTRIES_MAX / 2;

/// What we know of one peer's replica.
#[derive(Default)]
pub(super) struct Peer {
    /// The link is up.
    pub up: bool,
    /// It has told us what it holds since the link came up.
    pub hello: bool,
    /// What it holds, fsynced, by its own word. Kept while it is away; replaced when it returns.
    pub acked: Vector,
    /// What its log starts above.
    pub floor: Vector,
    /// What it held at its last hello: what we must have to have caught up with it.
    pub offered: Vector,
    /// What we sent beyond that, hoping.
    sent: Vector,
    /// Next apply number of the lane of our own site's ops.
    own_next: u64,
    /// Next apply number of the lane of forwarded ops.
    forward_next: u64,
    /// Forwarding goes below this: what was durable a while ago.
    forward_limit: u64,
    own: Flight,
    forwarded: Flight,
    /// When the in-flight ops last made progress.
    progress_ms: u64,
    /// The last pump stopped at its bounds, not at the end: it goes on with the next tick.
    has_more: bool,
    /// When it last had everything that is durable here.
    caught_up_ms: u64,
    /// When our hello is due again, while it has not said its own.
    hello_at: u64,
    /// Our durable vector, as we last told it.
    told: Vector,
    /// It sent something twice: our ack may have been lost.
    ack_again: bool,
    /// A snapshot that it asks for.
    pub ask: Option<Ask>,
    /// Buckets that it has not been told of since they changed.
    pub digest_due: BTreeSet<u16>,
}

/// Ops of one lane on their way, not acknowledged yet, in apply order.
#[derive(Default)]
struct Flight {
    ops: VecDeque<(Dot, usize)>,
    bytes: usize,
}

impl Peer {
    fn rewind(&mut self, start: u64, mono_ms: u64) {
        self.sent = Vector::new();
        self.own_next = start;
        self.forward_next = start;
        (self.own, self.forwarded) = (Flight::default(), Flight::default());
        self.progress_ms = mono_ms;
    }

    /// How long the oldest op that it lacks has been durable here, at most.
    pub fn lag_ms(&self, durable: &Vector, mono_ms: u64) -> u64 {
        if self.acked.covers_all(durable) { 0 } else { mono_ms.saturating_sub(self.caught_up_ms) }
    }

    fn nothing_in_flight(&self) -> bool {
        self.own.ops.is_empty() && self.forwarded.ops.is_empty()
    }

    fn note_acked(&mut self, mono_ms: u64) {
        for flight in [&mut self.own, &mut self.forwarded] {
            while let Some((_, bytes)) = flight.ops.pop_front_if(|(dot, _)| self.acked.covers(dot)) {
                flight.bytes -= bytes;
                self.progress_ms = mono_ms;
            }
        }
    }
}

impl Shard {
    pub(super) fn on_peer_up(&mut self, tx: &mut Tx<'_>, site: SiteId) {
        self.abandon_transfer(site);
        let buckets: BTreeSet<u16> = self.buckets.numbers().collect();
        let Some(peer) = self.peers.get_mut(&site) else { return };
        let (acked, caught_up_ms) = (std::mem::take(&mut peer.acked), peer.caught_up_ms);
        *peer = Peer { up: true, acked, caught_up_ms, digest_due: buckets, ..Peer::default() };
        self.send_hello(tx, site, true);
    }

    pub(super) fn on_peer_down(&mut self, site: SiteId) {
        self.abandon_transfer(site);
        self.miss_recent_marks();
        if let Some(peer) = self.peers.get_mut(&site) {
            let (acked, caught_up_ms) = (std::mem::take(&mut peer.acked), peer.caught_up_ms);
            *peer = Peer { acked, caught_up_ms, ..Peer::default() };
        }
    }

    pub(super) fn on_peer_frame(&mut self, tx: &mut Tx<'_>, from: SiteId, frame: Frame) -> Result<(), ViewError> {
        if !self.peers.get(&from).is_some_and(|peer| peer.up) {
            return Ok(()); // A frame that crossed the end of its link.
        }
        let checked = match frame {
            Frame::Hello(hello) => self.on_hello(tx, from, &hello),
            Frame::Ops(ops) => self.on_ops(tx, from, ops),
            Frame::Ack(ack) => self.on_ack(tx, from, &ack),
            Frame::Digest(digest) => {
                self.on_digest(tx, from, digest);
                Ok(Ok(()))
            }
            Frame::SnapshotAsk(ask) => self.on_snapshot_ask(tx, from, ask).map(Ok),
            Frame::SnapshotPage(page) => self.on_snapshot_page(tx, from, page),
            Frame::ReadMarks(marks) => self.on_read_marks(tx, marks),
        }?;
        if let Err(bad) = checked {
            tx.emit(Output::Alarm(Alarm::BadOp(from, bad.to_string())));
        }
        Ok(())
    }

    pub(super) fn send_hello(&mut self, tx: &mut Tx<'_>, site: SiteId, again: bool) {
        let hello = wire::ShardHello { vector: Some(self.durable.to_wire()), again, floor: Some(self.floor.to_wire()) };
        let Some(peer) = self.peers.get_mut(&site) else { return };
        peer.told = self.durable.clone();
        peer.hello_at = tx.now.mono_ms + timers::HELLO_RETRY_MS;
        tx.emit(Output::ToPeer(site, self.config.frame(Frame::Hello(hello))));
    }

    fn on_hello(&mut self, tx: &mut Tx<'_>, from: SiteId, hello: &wire::ShardHello) -> Checked {
        let (vector, floor) = match (decode(hello.vector.as_ref()), decode(hello.floor.as_ref())) {
            (Ok(vector), Ok(floor)) => (vector, floor),
            (Err(e), _) | (_, Err(e)) => return Ok(Err(e)),
        };
        let Some(peer) = self.peers.get_mut(&from) else { return Ok(Ok(())) };
        let first = !peer.hello;
        peer.hello = true;
        peer.offered = vector.clone();
        peer.floor = floor;
        if first || hello.again {
            // Downwards too: the peer may have been restored.
            peer.acked = vector;
            let start = self.log_start(tx, from)?;
            if let Some(peer) = self.peers.get_mut(&from) {
                peer.rewind(start, tx.now.mono_ms);
                peer.forward_limit = self.order_durable;
            }
        } else {
            peer.acked.join(&vector);
            peer.note_acked(tx.now.mono_ms);
        }
        if hello.again {
            self.send_hello(tx, from, false);
        }
        self.note_offer(from);
        self.check_ready(tx);
        self.stable_may_have_grown(tx);
        self.maybe_ask_snapshot(tx, from);
        self.pump(tx, from).map(Ok)
    }

    fn on_ack(&mut self, tx: &mut Tx<'_>, from: SiteId, ack: &wire::PeerAck) -> Checked {
        let vector = match decode(ack.vector.as_ref()) {
            Ok(vector) => vector,
            Err(e) => return Ok(Err(e)),
        };
        let Some(peer) = self.peers.get_mut(&from).filter(|peer| peer.hello) else { return Ok(Ok(())) };
        peer.acked.join(&vector);
        peer.note_acked(tx.now.mono_ms);
        self.stable_may_have_grown(tx);
        self.pump(tx, from).map(Ok)
    }

    /// The apply number of the first op that the peer lacks.
    fn log_start(&self, tx: &Tx<'_>, site: SiteId) -> Result<u64, ViewError> {
        let Some(peer) = self.peers.get(&site) else { return Ok(self.order_durable) };
        let mut start = self.order_durable;
        for dot in self.durable.beyond(&peer.acked).iter() {
            let seq = peer.acked.get(&dot.origin).max(self.floor.get(&dot.origin)) + 1;
            let log: Option<wire::LogRow> = tx.get(&Key::Log(self.config.shard, Dot { seq, ..dot }))?;
            start = start.min(log.map_or(start, |row| row.order));
        }
        Ok(start)
    }

    pub(super) fn pump_all(&mut self, tx: &mut Tx<'_>) -> Result<(), ViewError> {
        let sites: Vec<SiteId> = self.peers.keys().copied().collect();
        sites.into_iter().try_for_each(|site| self.pump(tx, site))
    }

    /// Sends what fits into the window, own ops first.
    fn pump(&mut self, tx: &mut Tx<'_>, site: SiteId) -> Result<(), ViewError> {
        let streamable = |peer: &Peer| peer.up && peer.hello && peer.acked.covers_all(&self.floor);
        if let Some(peer) = self.peers.get_mut(&site) {
            peer.has_more = false; // Also where nothing can be sent now: a tick must not be due again and again.
        }
        if self.merge.is_some() || !self.peers.get(&site).is_some_and(streamable) {
            return Ok(());
        }
        let Some(mut peer) = self.peers.remove(&site) else { return Ok(()) };
        let sent = self
            .pump_lane(tx, site, &mut peer, Lane::Own)
            .and_then(|()| self.pump_lane(tx, site, &mut peer, Lane::Forward));
        self.peers.insert(site, peer);
        sent
    }

    fn pump_lane(&self, tx: &mut Tx<'_>, site: SiteId, peer: &mut Peer, lane: Lane) -> Result<(), ViewError> {
        let mut frame = (Vec::new(), 0);
        let mut reads = 0;
        for row in 0.. {
            let (order, limit) = match lane {
                Lane::Own => (peer.own_next, self.order_durable),
                Lane::Forward => (peer.forward_next, peer.forward_limit.min(self.order_durable)),
            };
            // Each lane has a window of its own: ops of one wait for ops of the other, and of all unacknowledged
            // ones the first in apply order, which waits for none, is always within its lane's.
            let flight = if lane == Lane::Own { &peer.own } else { &peer.forwarded };
            if order >= limit || flight.bytes >= self.bounds.in_flight_bytes_max {
                break;
            }
            reads += usize::from(!self.tail.holds(order));
            if row >= self.bounds.pump_rows_max || reads > self.bounds.pump_reads_max {
                peer.has_more = true;
                break;
            }
            match lane {
                Lane::Own => peer.own_next += 1,
                Lane::Forward => peer.forward_next += 1,
            }
            let wanted = |dot: &Dot| {
                let own = dot.origin.site == self.config.origin.site;
                (own == (lane == Lane::Own)) && !peer.acked.covers(dot) && !peer.sent.covers(dot)
            };
            let Some((dot, op)) = self.op_at(tx, order, wanted)? else { continue };
            let bytes = op.header.len() + op.body.as_ref().map_or(0, Bytes::len);
            if peer.nothing_in_flight() {
                peer.progress_ms = tx.now.mono_ms;
            }
            peer.sent.raise(dot);
            let flight = if lane == Lane::Own { &mut peer.own } else { &mut peer.forwarded };
            flight.ops.push_back((dot, bytes));
            flight.bytes += bytes;
            frame.0.push(op);
            frame.1 += bytes;
            if frame.1 >= self.bounds.frame_bytes_max {
                self.send_ops(tx, site, std::mem::take(&mut frame.0));
                frame.1 = 0;
            }
        }
        self.send_ops(tx, site, frame.0);
        Ok(())
    }

    fn send_ops(&self, tx: &mut Tx<'_>, site: SiteId, ops: Vec<wire::Op>) {
        if !ops.is_empty() {
            tx.emit(Output::ToPeer(site, self.config.frame(Frame::Ops(wire::Ops { ops }))));
        }
    }

    /// The op of an apply number, from memory or from the store, where it is wanted.
    fn op_at(
        &self,
        tx: &Tx<'_>,
        order: u64,
        wanted: impl Fn(&Dot) -> bool,
    ) -> Result<Option<(Dot, wire::Op)>, ViewError> {
        if let Some(found) = self.tail.get(order) {
            return Ok(Some(found).filter(|(dot, _)| wanted(dot)));
        }
        let Some(row) = tx.get::<wire::OrderRow>(&Key::Order(self.config.shard, order))? else { return Ok(None) };
        let place = row.dot.as_ref().map(Dot::from_wire);
        let room = causeway_protocol::RoomId::from_wire(&row.room);
        let (Some(Ok(dot)), Ok(room)) = (place, room) else { return Err(corrupt(Cf::Order, "row names no dot")) };
        if !wanted(&dot) {
            return Ok(None);
        }
        let header =
            tx.get_bytes(&Key::Op(room, dot))?.ok_or_else(|| corrupt(Cf::Op, format!("{dot:?} is missing")))?;
        let body = self.body_of(tx, &header)?;
        Ok(Some((dot, wire::Op { header, body })))
    }

    fn body_of(&self, tx: &Tx<'_>, header: &Bytes) -> Result<Option<Bytes>, ViewError> {
        let op = stored_op(self.config.shard, header.clone())?;
        let Request { room, id, body_hash, .. } = op.request;
        let row: Option<wire::RequestRow> = tx.get(&Key::Request(room, id))?;
        let own = |body: &Bytes| body_hash == Some(crate::request::body_hash(body));
        Ok(row.and_then(|row| row.body).filter(own))
    }

    fn on_ops(&mut self, tx: &mut Tx<'_>, from: SiteId, ops: wire::Ops) -> Checked {
        if self.merge.is_some() {
            return Ok(Ok(())); // Asked for again when the merge is done.
        }
        let mut bad = Ok(());
        for op in ops.ops {
            // Copied, so that no op keeps the frame that brought it in memory.
            let (header, body) =
                (Bytes::copy_from_slice(&op.header), op.body.map(|body| Bytes::copy_from_slice(&body)));
            match Op::decode(self.config.shard, header, body).and_then(|op| self.check_op(op)) {
                Ok(op) => self.on_op(tx, from, op)?,
                Err(e) => {
                    bad = Err(e);
                    break; // What follows of its origin would not fit the chain.
                }
            }
        }
        self.apply_waiting(tx)?;
        self.send_acks(tx);
        Ok(bad)
    }

    /// What an op that decodes must be, whoever sends it: a room of another shard is another thread's, and more origins
    /// than a vector may name could not be told to anybody.
    pub(super) fn check_op(&self, op: Op) -> Result<Op, DecodeError> {
        if op.request.room.shard(self.config.shard_count) != self.config.shard {
            return Err(DecodeError::Range { field: "op.request.room" });
        }
        if self.applied.get(&op.dot.origin) == 0 && self.applied.len() >= ORIGINS_MAX {
            return Err(DecodeError::TooLong { field: "origins", max: ORIGINS_MAX, got: self.applied.len() + 1 });
        }
        Ok(op)
    }

    fn on_op(&mut self, tx: &mut Tx<'_>, from: SiteId, op: Op) -> Result<(), ViewError> {
        let have = self.applied.get(&op.dot.origin);
        if op.dot.seq <= have {
            self.counters.duplicates += 1;
            if let Some(peer) = self.peers.get_mut(&from) {
                peer.ack_again = true;
            }
            return self.check_fork(tx, &op);
        }
        if op.dot.seq == have + 1 && self.deps_covered(&op) {
            return self.apply_peer_op(tx, from, op);
        }
        self.counters.gated += 1;
        if !self.gate.push(op, tx.now.mono_ms, self.bounds.waiting_bytes_max) {
            self.counters.gated_dropped += 1;
        }
        Ok(())
    }

    pub(super) fn deps_covered(&self, op: &Op) -> bool {
        self.sabotaged(crate::Sabotage::ApplyWithoutDeps) || self.applied.covers_all(&op.deps)
    }

    pub(super) fn apply_waiting(&mut self, tx: &mut Tx<'_>) -> Result<(), ViewError> {
        loop {
            let skip_deps = self.sabotaged(crate::Sabotage::ApplyWithoutDeps);
            let applied = &self.applied;
            let ready = self.gate.pop_ready(applied, |op| skip_deps || applied.covers_all(&op.deps));
            let Some(op) = ready else { return Ok(()) };
            self.apply_peer_op(tx, self.config.origin.site, op)?;
        }
    }

    fn apply_peer_op(&mut self, tx: &mut Tx<'_>, from: SiteId, op: Op) -> Result<(), ViewError> {
        if op.prev != self.chains.get(&op.dot.origin).copied() {
            tx.emit(Output::Alarm(Alarm::BadOp(from, format!("{:?} does not fit its origin's chain", op.dot))));
            return Ok(());
        }
        self.counters.applied += 1;
        self.apply(tx, op)
    }

    /// A dot has one op, ever. Two say that an identity was reused.
    fn check_fork(&self, tx: &mut Tx<'_>, op: &Op) -> Result<(), ViewError> {
        let same = match tx.get_bytes(&Key::Op(op.request.room, op.dot))? {
            Some(header) => chain_hash(&header) == chain_hash(&op.header),
            None => false,
        };
        if !same {
            tx.emit(Output::Alarm(Alarm::Fork(op.dot)));
        }
        Ok(())
    }

    /// Tells every peer what has become durable here since it was told last.
    pub(super) fn send_acks(&mut self, tx: &mut Tx<'_>) {
        for (site, peer) in self.peers.iter_mut().filter(|(_, peer)| peer.hello) {
            let news = if std::mem::take(&mut peer.ack_again) {
                self.durable.clone()
            } else {
                self.durable.beyond(&peer.told)
            };
            if news.is_empty() {
                continue;
            }
            peer.told = self.durable.clone();
            let ack = wire::PeerAck { vector: Some(news.to_wire()) };
            tx.emit(Output::ToPeer(*site, self.config.frame(Frame::Ack(ack))));
        }
    }

    /// When the links need a tick.
    pub(super) fn peers_timer(&self) -> Option<u64> {
        let gap = self.gate.since_ms.map(|since| since + timers::GAP_MS);
        let of_peer = |peer: &Peer| {
            let hello = (!peer.hello).then_some(peer.hello_at);
            let lags = !peer.nothing_in_flight() || (peer.hello && !peer.acked.covers_all(&self.durable));
            let resend = lags.then_some(peer.progress_ms + timers::RETRANSMIT_MS);
            let forward = (peer.hello && peer.forward_next < self.order_durable).then_some(self.forward_at);
            [hello, resend, forward, peer.has_more.then_some(0)].into_iter().flatten().min()
        };
        self.peers.values().filter(|peer| peer.up).filter_map(of_peer).chain(gap).min()
    }

    /// Time passed: forward what was held back, rewind what was not acknowledged, ask again for what is missing.
    pub(super) fn tick_peers(&mut self, tx: &mut Tx<'_>) -> Result<(), ViewError> {
        let now = tx.now.mono_ms;
        for peer in self.peers.values_mut().filter(|peer| peer.acked.covers_all(&self.durable)) {
            peer.caught_up_ms = now;
        }
        if now >= self.forward_at {
            self.forward_at = now + timers::HOLD_BACK_MS;
            for peer in self.peers.values_mut() {
                peer.forward_limit = peer.forward_limit.max(self.order_hold_back);
            }
            self.order_hold_back = self.order_durable;
            self.pump_all(tx)?;
        } else if self.peers.values().any(|peer| peer.has_more) {
            self.pump_all(tx)?;
        }
        let stuck = self.gate.since_ms.is_some_and(|since| now >= since + timers::GAP_MS);
        if stuck {
            self.gate.since_ms = (!self.gate.is_empty()).then_some(now);
        }
        let sites: Vec<SiteId> = self.peers.iter().filter(|(_, peer)| peer.up).map(|(site, _)| *site).collect();
        for site in sites {
            let Some(peer) = self.peers.get(&site) else { continue };
            let overdue = now >= peer.progress_ms + timers::RETRANSMIT_MS;
            let stale = !peer.nothing_in_flight() && overdue;
            // It lacks something, and nothing is on its way: what it holds by our belief may be a late hello's.
            let silent = peer.hello && peer.nothing_in_flight() && overdue && !peer.acked.covers_all(&self.durable);
            if stuck || silent || (!peer.hello && now >= peer.hello_at) {
                self.send_hello(tx, site, true);
            }
            if silent && let Some(peer) = self.peers.get_mut(&site) {
                peer.progress_ms = now;
            }
            if stale {
                let start = self.log_start(tx, site)?;
                if let Some(peer) = self.peers.get_mut(&site) {
                    peer.rewind(start, now);
                }
                self.pump(tx, site)?;
            }
        }
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Lane {
    Own,
    Forward,
}

/// The outer error stops the shard, the inner one is the peer's fault.
pub(super) type Checked = Result<Result<(), DecodeError>, ViewError>;

fn decode(vector: Option<&wire::Vector>) -> Result<Vector, DecodeError> {
    Vector::from_wire_opt(vector)
}

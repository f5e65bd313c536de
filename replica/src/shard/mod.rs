//! The shard replica: a state machine without IO.
//!
//! The host passes one [`Input`] at a time to [`Shard::step`], writes the batch that the steps left, calls
//! [`Shard::seal`] with the write's ticket, carries out the effects in order, and passes
//! [`Input::Durable`] when the write is fsynced. Nothing of a write leaves before that. A step reads no clock,
//! draws no random number and iterates over ordered maps only: the same inputs give the same outputs.

mod accept;
mod apply;
mod bounds;
mod digest;
mod erase;
mod expire;
mod gate;
mod marks;
mod peers;
mod permit;
mod ready;
mod redact;
mod release;
mod repair;
mod revoke;
mod snapshot;
mod sound;
mod status;
mod truncate;
pub(crate) mod tx;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::ControlFlow::Continue;

use bytes::Bytes;
use causeway_protocol::{
    DeviceId, Dot, Hash16, Hlc, Marker, Origin, RequestId, RoomId, SiteId, Stamp, UserId, Vector, wire,
};

use crate::io::{Counters, Input, Now, Output, Outputs, ShardConfig, Ticket};
use crate::key::{Key, origins_range};
use crate::view::{Cf, View, ViewError};
use accept::Referring;
pub use bounds::Bounds;
use digest::Buckets;
use expire::Expiry;
use gate::Gate;
use peers::Peer;
use redact::Purge;
use release::{Release, Tail};
use snapshot::Merging;
pub use status::{PeerStatus, ShardStatus};
use tx::{Tx, corrupt, decode_row};

/// How often, and how long: milliseconds, each with its reason.
pub mod timers {
    /// Ops of other sites are held back on a link for one to two of these: they usually come straight from
    /// their origin.
    pub const HOLD_BACK_MS: u64 = 50;
    /// A hello that was not answered is sent again.
    pub const HELLO_RETRY_MS: u64 = 500;
    /// Ops that nobody acknowledged are sent again. Well above a round trip around the earth with a sync.
    pub const RETRANSMIT_MS: u64 = 1_500;
    /// Ops that wait this long for others make the shard ask for those again.
    pub const GAP_MS: u64 = 1_000;
    /// A page of a snapshot that did not come is asked for again.
    pub const PAGE_RETRY_MS: u64 = 2_000;
    /// How often buckets that changed are compared.
    pub const DIGEST_MS: u64 = 1_000;
    /// How long a request waits for a message that it refers to (D5).
    pub const REFERENCE_WAIT_MS: u64 = 300;
    /// Erasures go on this often: 256 rows at a time, so that a million take 40 s and nobody waits long behind them.
    pub const ERASE_MS: u64 = 10;
    /// Read markers are sent at most this often (D10).
    pub const MARKS_MS: u64 = 250;
    /// How often the log is looked over for what can go.
    pub const TRUNCATE_MS: u64 = 5_000;
    /// An intact store waits this long for a peer before it serves (D6).
    pub const READY_WAIT_MS: u64 = 2_000;
}

/// Inputs that may be held while a snapshot page waits for a sync.
const STALLED_MAX: usize = 1_024;

/// One shard's replica at one node.
pub struct Shard {
    config: ShardConfig,
    bounds: Bounds,
    hlc: Hlc,
    applied: Vector,
    durable: Vector,
    /// Hash of the last header of each origin.
    chains: BTreeMap<Origin, Hash16>,
    /// The log starts above this.
    floor: Vector,
    order_floor: u64,
    order_next: u64,
    /// Apply numbers below this are durable.
    order_durable: u64,
    /// `order_durable` as it was a hold-back ago.
    order_hold_back: u64,
    /// Roughly, the bytes of ops that the log reaches.
    log_bytes: u64,
    /// Our applied vector as our last op told it.
    deps_told: Vector,
    buckets: Buckets,
    mismatched: BTreeSet<(SiteId, u16)>,
    repairs: BTreeSet<u16>,
    gate: Gate,
    release: Release,
    tail: Tail,
    peers: BTreeMap<SiteId, Peer>,
    referring: VecDeque<Referring>,
    stalled: VecDeque<Input>,
    merge: Option<Merging>,
    /// A merge is done, and its last write is not fsynced yet.
    merge_unsynced: bool,
    transfers: u64,
    marks_due: BTreeMap<(RoomId, UserId), Marker>,
    /// Of which a site that is down was not told.
    marks_missed: BTreeSet<(RoomId, UserId)>,
    /// Those that were sent of late, and when.
    marks_recent: VecDeque<(u64, (RoomId, UserId))>,
    /// Purges that were not done before the restart.
    purges_left: VecDeque<Purge>,
    /// Users of whom bodies are being taken, in rooms.
    erasing: BTreeSet<(RoomId, UserId)>,
    erase_at: u64,
    expiry: Expiry,
    ready: bool,
    /// Until when to wait for a peer; `None`: until one comes.
    ready_at: Option<u64>,
    accepting: bool,
    forward_at: u64,
    digest_at: u64,
    marks_at: u64,
    truncate_at: u64,
    counters: Counters,
    /// For `Sabotage::DedupByWatermark` alone.
    watermarks: BTreeMap<DeviceId, RequestId>,
    #[cfg(feature = "sabotage")]
    sabotage: Option<crate::Sabotage>,
}

impl ShardConfig {
    fn frame(&self, frame: wire::shard_frame::Frame) -> wire::ShardFrame {
        wire::ShardFrame { shard: self.shard.0.into(), frame: Some(frame) }
    }
}

impl Shard {
    /// Takes a shard up from its rows; an empty view is a new shard. All rows there count as durable: the host
    /// has synced what it recovered.
    pub fn open(config: ShardConfig, view: &dyn View, now: Now) -> Result<Self, ViewError> {
        let row: wire::ShardRow = match view.get(Cf::Meta, &Key::Shard(config.shard).encode())? {
            Some(value) => decode_row(Cf::Meta, value)?,
            None => wire::ShardRow::default(),
        };
        let (applied, chains) = load_vector(&config, view)?;
        let invalid = |e: causeway_protocol::DecodeError| corrupt(Cf::Meta, e.to_string());
        let merge = match &row.merge {
            Some(merge) => Merging::from_wire(merge, config.origin.site).map_err(invalid)?,
            None => None,
        };
        let others = config.sites.iter().filter(|site| **site != config.origin.site);
        let peers: BTreeMap<SiteId, Peer> = others.map(|site| (*site, Peer::default())).collect();
        let alone = peers.is_empty();
        let purges_left = redact::purges_of(view, config.shard)?;
        let ready_at = (!config.must_catch_up).then_some(now.mono_ms + timers::READY_WAIT_MS);
        Ok(Self {
            buckets: Buckets::load(view, &config)?,
            hlc: Hlc::after(Stamp(row.hlc)),
            durable: applied.clone(),
            applied,
            chains,
            floor: Vector::from_wire_opt(row.floor.as_ref()).map_err(invalid)?,
            order_floor: row.order_floor,
            order_next: row.order_next,
            order_durable: row.order_next,
            order_hold_back: row.order_next,
            log_bytes: 0,
            deps_told: Vector::new(),
            mismatched: BTreeSet::new(),
            repairs: BTreeSet::new(),
            gate: Gate::default(),
            release: Release::default(),
            tail: Tail::default(),
            peers,
            referring: VecDeque::new(),
            stalled: VecDeque::new(),
            ready: alone && merge.is_none() && purges_left.is_empty(),
            purges_left,
            erasing: erase::erasing_of(view, config.shard)?,
            erase_at: now.mono_ms,
            expiry: Expiry::open(view, config.shard, now)?,
            merge,
            merge_unsynced: false,
            transfers: 0,
            marks_due: BTreeMap::new(),
            marks_missed: BTreeSet::new(),
            marks_recent: VecDeque::new(),
            ready_at,
            accepting: true,
            forward_at: now.mono_ms,
            digest_at: now.mono_ms,
            marks_at: now.mono_ms,
            truncate_at: now.mono_ms + timers::TRUNCATE_MS,
            counters: Counters::default(),
            watermarks: BTreeMap::new(),
            #[cfg(feature = "sabotage")]
            sabotage: None,
            bounds: Bounds::DEFAULT,
            config,
        })
    }

    /// Replaces the bounds of its buffers and steps, for the simulator.
    #[cfg(feature = "sabotage")]
    pub fn bound(&mut self, bounds: Bounds) {
        self.bounds = bounds;
    }

    /// Switches a deliberate defect on, for the simulator's proof that its checkers see it.
    #[cfg(feature = "sabotage")]
    pub fn sabotage(&mut self, which: Option<crate::Sabotage>) {
        self.sabotage = which;
    }

    #[cfg(feature = "sabotage")]
    fn sabotaged(&self, which: crate::Sabotage) -> bool {
        self.sabotage == Some(which)
    }

    #[cfg(not(feature = "sabotage"))]
    #[allow(clippy::unused_self)]
    fn sabotaged(&self, _: crate::Sabotage) -> bool {
        false
    }

    /// One step. Reads `view` with `out.batch` laid over it, and appends to `out`.
    ///
    /// # Errors
    /// A row could not be read. The shard must not be used any more: its memory and its rows may differ.
    pub fn step(&mut self, now: Now, input: Input, view: &dyn View, out: &mut Outputs) -> Result<(), ViewError> {
        let mut tx = Tx::new(now, view, out);
        if self.stalls() && matches!(input, Input::Submit(_) | Input::Peer(..)) && !is_snapshot(&input) {
            self.stall(&mut tx, input);
            return Ok(());
        }
        self.dispatch(&mut tx, input)?;
        while !self.stalls()
            && let Some(input) = self.stalled.pop_front()
        {
            self.dispatch(&mut tx, input)?;
        }
        Ok(())
    }

    fn stall(&mut self, tx: &mut Tx<'_>, input: Input) {
        if self.stalled.len() < STALLED_MAX {
            self.stalled.push_back(input);
        } else if let Input::Submit(submission) = input {
            let id = crate::request::Request::decode(&submission.request).ok().map(|request| request.id);
            let detail = "the site is serving a snapshot: send it again".to_owned();
            tx.emit(Output::Refused { session: submission.session, id, code: causeway_protocol::Code::Busy, detail });
        }
        // A peer's frame is dropped: what it brought is asked for again.
    }

    /// A frame of a link that is gone may say what is not true any more.
    fn drop_stalled(&mut self, site: SiteId) {
        self.stalled.retain(|input| !matches!(input, Input::Peer(from, _) if *from == site));
    }

    fn dispatch(&mut self, tx: &mut Tx<'_>, input: Input) -> Result<(), ViewError> {
        let vector_before = self.order_next;
        match input {
            Input::Submit(submission) => self.on_submit(tx, submission)?,
            Input::SessionEnded(session) => self.forget_session(session),
            Input::PeerUp(site) => {
                self.drop_stalled(site);
                self.on_peer_up(tx, site);
            }
            Input::PeerDown(site) => {
                self.drop_stalled(site);
                self.on_peer_down(site);
            }
            Input::Peer(site, frame) => {
                if let Some(frame) = frame.frame {
                    self.on_peer_frame(tx, site, frame)?;
                }
            }
            Input::Durable(ticket) => self.on_durable(tx, ticket)?,
            Input::Accepting(accepting) => self.set_accepting(tx.now, accepting),
            Input::ForceReady => self.force_ready(tx),
            Input::MarkRead(user, room, marker) => self.on_mark_read(tx, user, room, marker)?,
            Input::Tick => self.on_tick(tx)?,
        }
        if self.order_next != vector_before {
            // Something was applied: it may be what others wait for.
            if !self.gate.is_empty() {
                self.apply_waiting(tx)?;
            }
            if !self.referring.is_empty() {
                self.retry_referring(tx)?;
            }
        }
        Ok(())
    }

    /// The batch of the steps since the last seal has been written, unsynced, under this ticket. To be called
    /// once for each written batch, before its `Durable`; not where the batch was empty.
    pub fn seal(&mut self, ticket: Ticket) {
        self.release.seal(ticket);
    }

    fn on_tick(&mut self, tx: &mut Tx<'_>) -> Result<(), ViewError> {
        let now = tx.now.mono_ms;
        self.catch_up_with_purges(tx)?;
        if now >= self.erase_at {
            self.erase_on(tx)?;
        }
        if self.expiry.due_ms.is_some_and(|due| now >= due) {
            self.expire(tx)?;
        }
        self.tick_merge(tx)?;
        self.tick_peers(tx)?;
        self.check_ready(tx);
        if self.referring_until().is_some_and(|until| now >= until) {
            self.retry_referring(tx)?;
        }
        if now >= self.digest_at {
            self.send_digests(tx);
            self.repair(tx)?;
        }
        if now >= self.marks_at {
            self.send_marks(tx)?;
        }
        if now >= self.truncate_at {
            self.truncate(tx)?;
        }
        Ok(())
    }

    /// When `Input::Tick` is due, `mono_ms`; `None` while nothing waits for time.
    pub fn next_timer(&self) -> Option<u64> {
        let linked = self.peers.values().any(|peer| peer.up);
        let digests = !self.repairs.is_empty() || self.peers.values().any(|p| p.hello && !p.digest_due.is_empty());
        let fixed = [
            (!self.purges_left.is_empty()).then_some(0),
            (!self.erasing.is_empty()).then_some(self.erase_at),
            self.expiry.due_ms,
            self.merge_timer(),
            self.referring_until(),
            self.ready_at.filter(|_| !self.ready && !self.merge_unsynced),
            self.peers_timer(),
            digests.then_some(self.digest_at),
            linked.then_some(self.truncate_at),
            (linked && self.owes_marks()).then_some(self.marks_at),
        ];
        fixed.into_iter().flatten().min()
    }

    /// What is fsynced here.
    pub fn durable(&self) -> &Vector {
        &self.durable
    }

    /// What is applied here, fsynced or not.
    pub fn applied(&self) -> &Vector {
        &self.applied
    }

    /// What is fsynced in at least two sites, as far as this one knows.
    pub fn stable(&self) -> Vector {
        let origins = self.durable.iter().map(|dot| dot.origin);
        origins.map(|origin| Dot { origin, seq: self.stable_seq(&origin) }).collect()
    }

    /// Whether it serves.
    pub fn is_ready(&self) -> bool {
        self.ready
    }

    /// Whether bodies of erased users are still being taken.
    pub fn is_erasing(&self) -> bool {
        !self.erasing.is_empty()
    }

    /// Its counters.
    pub fn counters(&self) -> Counters {
        self.counters
    }
}

fn is_snapshot(input: &Input) -> bool {
    use wire::shard_frame::Frame;
    matches!(input, Input::Peer(_, wire::ShardFrame { frame: Some(Frame::SnapshotAsk(_) | Frame::Ack(_)), .. }))
}

fn load_vector(config: &ShardConfig, view: &dyn View) -> Result<(Vector, BTreeMap<Origin, Hash16>), ViewError> {
    let (start, end) = origins_range(config.shard);
    let mut rows = Vec::new();
    view.scan(Cf::Meta, &start, &end, &mut |key, value| {
        rows.push((Key::decode(Cf::Meta, key), Bytes::copy_from_slice(value)));
        Continue(())
    })?;
    let (mut applied, mut chains) = (Vector::new(), BTreeMap::new());
    for (key, value) in rows {
        let row: wire::OriginRow = decode_row(Cf::Meta, value)?;
        let (Some(Key::Origin(_, origin)), Ok(chain)) = (key, row.chain[..].try_into()) else {
            return Err(corrupt(Cf::Meta, "an entry of the vector does not decode"));
        };
        applied.raise(Dot { origin, seq: row.seq });
        chains.insert(origin, chain);
    }
    Ok((applied, chains))
}

#[cfg(test)]
mod tests;

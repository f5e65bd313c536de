//! One site in memory: a shard, its rows, its unsynced writes, and the promises that hold after every step.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use causeway_protocol::{Message, Origin, RoomId, ShardId, SiteId, UserId, Vector, limits, wire};
use causeway_replica::Shard;
use causeway_replica::io::{Input, Now, Output, Outputs, ShardConfig, Ticket};
use causeway_replica::key::{Key, shard_rooms_range};
use causeway_replica::read::{self, Durables};
use causeway_replica::shard::Bounds;
use causeway_replica::view::{Cf, MemView, ViewError};

/// Of two, so that rooms can be another shard's.
pub const SHARDS: u16 = 2;
/// The shard under test.
pub const SHARD: ShardId = ShardId(0);
/// This site; the others are forged.
pub const OWN: SiteId = SiteId(1);
/// All sites.
pub const SITES: [SiteId; 3] = [OWN, SiteId(2), SiteId(3)];
/// A time at which everything starts.
pub const EPOCH_MS: u64 = 1_700_000_000_000;
/// Effects of one step. A step sends a frame a peer and lane and some more.
const EFFECTS_MAX: usize = 100_000;
/// What a `PeerFrame` adds around a `ShardFrame`, bytes.
const ENVELOPE_BYTES: usize = 16;
/// Order and log rows are not looked at; these families have a room in front.
const ROOM_FAMILIES: [Cf; 3] = [Cf::Op, Cf::Request, Cf::Element];

/// Small enough that short inputs fill every buffer.
const SMALL: Bounds = Bounds {
    erase_rows_max: 2,
    page_bytes_max: 1_024,
    merge_rows_max: 2,
    waiting_bytes_max: 2_048,
    in_flight_bytes_max: 1_024,
    frame_bytes_max: 512,
    pump_rows_max: 8,
    pump_reads_max: 2,
    tail_bytes_max: 512,
};

pub struct Site {
    pub shard: Shard,
    pub rows: MemView,
    pub now: Now,
    /// What was sent to peers last: the snapshots that it asked for are answered by their numbers.
    pub sent: VecDeque<(SiteId, wire::ShardFrame)>,
    pub delivered: Vec<(RoomId, causeway_protocol::Dot, Bytes)>,
    /// A snapshot's rows were taken.
    took_rows: bool,
    synced: MemView,
    unsynced: usize,
    tickets: u64,
    incarnation: u64,
    bounds: Bounds,
}

impl Site {
    pub fn new(small: bool) -> Self {
        let now = Now { mono_ms: 1_000, wall_ms: EPOCH_MS };
        let bounds = if small { SMALL } else { Bounds::DEFAULT };
        let rows = MemView::default();
        let shard = open(&rows, 1, now, bounds, false);
        let (sent, delivered, took_rows) = (VecDeque::new(), Vec::new(), false);
        let synced = rows.clone();
        Self { shard, rows, now, sent, delivered, took_rows, synced, unsynced: 0, tickets: 0, incarnation: 1, bounds }
    }

    pub fn origin(&self) -> Origin {
        own_origin(self.incarnation)
    }

    /// One step, written and not synced; then everything that must hold is looked at.
    pub fn step(&mut self, input: Input) {
        let mut out = Outputs::default();
        self.took_rows |= self.shard.status(self.now).merging;
        if let Err(e) = self.shard.step(self.now, input, &self.rows, &mut out) {
            // A relay ends its process here.
            panic!("input from outside stopped the shard: {e}");
        }
        self.check_rows(&out);
        if !out.batch.is_empty() {
            self.tickets += 1;
            self.rows.apply(&out.batch);
            self.shard.seal(Ticket(self.tickets));
            self.unsynced += 1;
        }
        assert!(out.effects.len() <= EFFECTS_MAX, "{} effects of one step", out.effects.len());
        out.effects.into_iter().for_each(|effect| self.note(effect));
        self.check_bounds();
    }

    fn note(&mut self, effect: Output) {
        match effect {
            Output::ToPeer(to, frame) => {
                let bytes = frame.encoded_len() + ENVELOPE_BYTES;
                assert!(bytes <= limits::FRAME_BYTES_MAX, "a frame of {bytes} bytes cannot be sent: {}", kind(&frame));
                if self.sent.len() >= 64 {
                    self.sent.pop_front();
                }
                self.sent.push_back((to, frame));
            }
            Output::Deliver { room, dot, frame } => {
                assert!(frame.len() <= limits::FRAME_BYTES_MAX + 4);
                self.delivered.push((room, dot, frame));
            }
            _ => {}
        }
    }

    /// Rows of rooms lie in the shard's range: another shard's are another thread's.
    fn check_rows(&self, out: &Outputs) {
        let (start, end) = shard_rooms_range(SHARD, SHARDS);
        for (cf, key, _) in out.batch.rows().filter(|(cf, ..)| ROOM_FAMILIES.contains(cf)) {
            assert!(*key >= start && *key < end, "a row in {} of another shard's room", cf.name());
            assert!(Key::decode(cf, key).is_some(), "a key in {} that does not decode", cf.name());
        }
    }

    fn check_bounds(&self) {
        let status = self.shard.status(self.now);
        assert!(status.waiting_bytes <= self.bounds.waiting_bytes_max, "{} bytes wait", status.waiting_bytes);
        assert!(self.shard.applied().covers_all(self.shard.durable()), "durable and not applied");
        assert!(self.shard.applied().len() <= limits::VECTOR_ENTRIES_MAX, "more origins than a hello can name");
        let _ = self.shard.next_timer();
    }

    pub fn sync(&mut self) {
        if self.unsynced > 0 {
            self.unsynced = 0;
            self.synced = self.rows.clone();
            self.step(Input::Durable(Ticket(self.tickets)));
        }
    }

    pub fn pass_ms(&mut self, ms: u64) {
        self.now.mono_ms += ms;
        self.now.wall_ms += ms;
        if self.shard.next_timer().is_some_and(|at| at <= self.now.mono_ms) {
            self.step(Input::Tick);
        }
    }

    /// Power is lost, or only the process; it starts again under another incarnation.
    pub fn restart(&mut self, power: bool) {
        if power {
            self.rows = self.synced.clone();
        }
        self.synced = self.rows.clone();
        self.unsynced = 0;
        self.incarnation += 1;
        self.sent.clear();
        self.shard = open(&self.rows, self.incarnation, self.now, self.bounds, power);
    }

    /// Some of a room's requests.
    fn requests_of(&self, room: &RoomId) -> Vec<wire::RequestId> {
        let of_room = self.rows.family(Cf::Request).filter_map(|(key, _)| match Key::decode(Cf::Request, key) {
            Some(Key::Request(of, id)) if of == *room => Some(id.to_wire()),
            _ => None,
        });
        of_room.take(limits::READERS_IDS_MAX).collect()
    }

    /// Everything that reads rows goes through, whatever was written. A snapshot's rows are another site's word, and one
    /// that leaves some out is found when they are read: a relay says that it is not ready, and goes on.
    pub fn read_all(&self, users: &[UserId], rooms: &[RoomId]) {
        let read = |result: Result<(), ViewError>| match result {
            Err(e) if !self.took_rows => panic!("rows that ops made are not read: {e}"),
            _ => {}
        };
        let (durable, none) = (self.shard.durable(), Vector::new());
        for user in users {
            read(read::rooms_of(&self.rows, self, SHARDS, user, None, 64).map(drop));
            for room in rooms {
                let request = wire::HistoryRequest { room: room.to_wire(), limit: 50, ..Default::default() };
                read(read::history(&self.rows, self, SHARDS, user, &request).map(drop));
                let (limit, room_bytes) = (50, room.to_wire());
                let members = wire::MembersRequest { room: room_bytes.clone(), after: String::new(), limit };
                read(read::members(&self.rows, self, SHARDS, user, &members).map(drop));
                let ids = self.requests_of(room);
                let readers = wire::ReadersRequest { room: room_bytes, ids, names: true };
                read(read::readers(&self.rows, self, SHARDS, user, &readers).map(drop));
                let standing = read::standing(&self.rows, durable, room, user);
                read(standing.and_then(|it| read::summary(&self.rows, durable, room, user, &it)).map(drop));
                read(read::is_member(&self.rows, durable, room, user).map(drop));
            }
        }
        for room in rooms {
            read(read::room_face(&self.rows, durable, room).map(drop));
            read(read::room_since(&self.rows, room, durable, &none, 64, 1 << 20).map(drop));
            read(read::is_far_behind(&self.rows, room, durable, &none, 8).map(drop));
            read(read::newest_page(&self.rows, room, durable, &none, 8, 1 << 20).map(drop));
        }
    }
}

impl Durables for Site {
    fn durable(&self, _: ShardId) -> Arc<Vector> {
        Arc::new(self.shard.durable().clone())
    }

    fn ready(&self, shard: ShardId) -> bool {
        shard == SHARD
    }
}

fn kind(frame: &wire::ShardFrame) -> &'static str {
    use wire::shard_frame::Frame;
    match &frame.frame {
        Some(Frame::Hello(_)) => "hello",
        Some(Frame::Ops(_)) => "ops",
        Some(Frame::Ack(_)) => "ack",
        Some(Frame::Digest(_)) => "digest",
        Some(Frame::SnapshotAsk(_)) => "snapshot ask",
        Some(Frame::SnapshotPage(_)) => "snapshot page",
        Some(Frame::ReadMarks(_)) => "read marks",
        None => "nothing",
    }
}

fn own_origin(incarnation: u64) -> Origin {
    Origin { site: OWN, node: 0, incarnation }
}

fn open(rows: &MemView, incarnation: u64, now: Now, bounds: Bounds, must_catch_up: bool) -> Shard {
    let config = ShardConfig {
        shard: SHARD,
        shard_count: SHARDS,
        origin: own_origin(incarnation),
        sites: SITES.to_vec(),
        must_catch_up,
        user_rooms_max: limits::ROOMS_PER_USER_MAX,
        room_members_max: u64::MAX,
        log_bytes_max: 4_096,
    };
    let mut shard = Shard::open(config, rows, now).expect("what was written can be opened");
    shard.bound(bounds);
    shard
}
